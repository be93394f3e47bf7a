"""PaMaL: a front as a plane through the parameters of T networks (Dimitriadis et al., ICML 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.errors import Problem, UserError
from polytask.fronts.conditioned import Conditioned
from polytask.fronts.order import order_penalty
from polytask.fronts.skeleton import Skeleton, Table
from polytask.options import in_range


@final
class PaMaL(Conditioned):
    """``theta(p) = sum_t p_t theta_t``; see `pamal`.

    Args:
        networks: One per task.
        monotone: Factor of the order penalty.
        concentration: Of the preferences that are drawn.
        window: How many are drawn in each step.
        shared: Names of parameters that are the same for all preferences.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        *,
        monotone: float,
        concentration: float,
        window: int,
        shared: Sequence[str] = (),
    ) -> None:
        super().__init__(len(networks), concentration=concentration, window=window)
        problems = in_range(monotone, where="monotone", least=0)
        if problems:
            raise UserError(problems)
        skeletons = [Skeleton(network, shared) for network in networks]
        shapes = [{name: one.shape for name, one in skeleton.trained.items()} for skeleton in skeletons]
        if any(shape != shapes[0] for shape in shapes):
            what = "their parameters have different names or shapes"
            raise UserError(Problem("networks", what, "build all of the same architecture"))
        self._skeleton, self._monotone = skeletons[0], monotone
        members = {name: torch.stack([one.trained[name] for one in skeletons]) for name in shapes[0]}
        self.members, self.fixed = Table(members, trained=True), Table(self._skeleton.fixed, trained=False)
        self.common = Table(self._skeleton.shared, trained=True)

    def mixed(self, preference: Float[Tensor, "tasks"]) -> dict[str, Tensor]:
        """The parameters for a preference."""
        members = self.members.tensors()
        return {name: torch.tensordot(preference.to(stack), stack, 1) for name, stack in members.items()}

    def forward(self, preference: Float[Tensor, "tasks"], /, *inputs: Any) -> Any:
        """What the mixed network gives."""
        self._skeleton.train(self.training)
        return self._skeleton.call(self.mixed(preference), self._same(), *inputs)

    def network(self, preference: Float[Tensor, "tasks"], /) -> nn.Module:
        """The mixed network."""
        return self._skeleton.module(self.mixed(preference), self._same())

    def _same(self) -> dict[str, Tensor]:
        return {**self.fixed.tensors(), **self.common.tensors()}

    def objective(
        self, losses: Float[Tensor, "window tasks"], preferences: Float[Tensor, "window tasks"]
    ) -> Float[Tensor, ""]:
        """The weighed losses, and the order penalty."""
        return super().objective(losses, preferences) + self._monotone * order_penalty(losses, preferences)


def pamal(
    networks: Sequence[nn.Module],
    *,
    window: int = 4,
    monotone: float = 0.0,
    concentration: float = 1.0,
    shared: Sequence[str] = (),
) -> PaMaL:
    """Pareto manifold learning: T networks, whose mixtures are the front.

        theta(p) = sum_t p_t theta_t
        minimise   sum_k sum_t p_kt L_t(theta(p_k)) + monotone sum_t log mean_k exp(max(L_t(p_k) - L_t(p_(k+1)), 0))

    - ``p_k``: preferences drawn from ``Dirichlet(concentration)``, ``window`` of them in each step, for the second sum
      in falling order of ``p_kt``.
    - ``theta_t``: parameters of network t, at the corner of the front that is best for task t.

    ``at(p)`` is a network of the architecture that was given, for the cost of one.

    Paper: Dimitriadis, Frossard and Fleuret, "Pareto Manifold Learning: Tackling multiple tasks via ensembles of
    single-task models", ICML 2023, https://arxiv.org/abs/2210.09759. Its (window, monotone): MultiMNIST (4, 0), Census
    (2, 5), Cityscapes and UTKFace (3, 1). The authors mix linear, convolution and batch normalisation layers; here all
    parameters that need a gradient are mixed. Their code drops the penalty where it is greater than the losses.
    Buffers are one for all mixtures, as there: running statistics of batch normalisation are of all preferences
    together, and a network of layer normalisation is the better choice.

    Args:
        networks: One per task, of one architecture; start values are theirs, and ``[network] * T`` is allowed. Buffers
            and parameters without gradient are those of the first.
        window: Preferences in a step.
        monotone: Factor of the penalty for a wrong order, from 0.
        concentration: Above 0.
        shared: Names of parameters, such as embedding tables, that are the same for all preferences; they are trained
            as they are.

    Raises:
        UserError: If a number is out of range, or networks differ in their parameters.

    Example:
        >>> model = pamal([nn.Linear(3, 1), nn.Linear(3, 1)])
        >>> bool(torch.equal(model.at([1.0, 0.0]).weight, model.members.tensors()["weight"][0]))
        True
    """
    return PaMaL(networks, monotone=monotone, concentration=concentration, window=window, shared=shared)
