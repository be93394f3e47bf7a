"""PHN: a network that makes the network for a preference (Navon et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.balancing import backward, epo
from polytask.errors import Problem, UserError, suggest
from polytask.fronts.conditioned import Conditioned
from polytask.fronts.skeleton import Skeleton, Table
from polytask.options import in_range

Method = Literal["linear", "epo"]


class Chunks(nn.Module):
    """Parameters piece by piece, each from the preference and what has been learnt of its place.

    Args:
        width: Of what is made of the preference.
        total: How many numbers are needed.
        chunk: How many one piece has.
        place: Width of what is learnt of a place.
    """

    def __init__(self, width: int, total: int, chunk: int, place: int) -> None:
        super().__init__()
        self._total = total
        self.places = nn.Parameter(torch.randn(-(-total // chunk), place))
        self.generator = nn.Sequential(nn.Linear(width + place, width), nn.ReLU(), nn.Linear(width, chunk))

    def forward(self, features: Float[Tensor, "width"], /) -> Float[Tensor, "total"]:
        """All pieces in a row; what the last has too many is cut off."""
        beside = features.expand(len(self.places), -1)
        made: Tensor = self.generator(torch.cat([beside, self.places], 1))
        return made.flatten()[: self._total]


@final
class PHN(Conditioned):
    """``theta(p) = h(p)``; see `phn`.

    Args:
        network: The target: the code that the parameters are for.
        tasks: T.
        width: Of the network for the preference.
        chunk: Numbers made at once; None: all.
        place: Width of what is learnt of each chunk.
        method: How the losses are joined.
        concentration: Of the preferences that are drawn.
        shared: Names of parameters that are the same for all preferences.
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: int,
        *,
        width: int,
        chunk: int | None,
        place: int,
        method: Method,
        concentration: float,
        shared: Sequence[str] = (),
    ) -> None:
        super().__init__(tasks, concentration=concentration)
        problems = in_range(width, where="width", least=1) + in_range(place, where="place", least=1)
        problems += [] if chunk is None else in_range(chunk, where="chunk", least=1)
        if method not in get_args(Method):
            problems.append(Problem("method", f"'{method}' is unknown", suggest(method, get_args(Method))))
        if problems:
            raise UserError(problems)
        self._skeleton, self._method = Skeleton(network, shared), method
        first = next(iter(self._skeleton.trained.values()))
        total = sum(one.numel() for one in self._skeleton.trained.values())
        self.fixed = Table(self._skeleton.fixed, trained=False)
        self.common = Table(self._skeleton.shared, trained=True)
        self.ray = nn.Sequential(
            nn.Linear(tasks, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.parts: nn.Module
        if chunk is None:
            self.parts = nn.Linear(width, total)
            with torch.no_grad():
                self.parts.bias.copy_(torch.cat([one.flatten() for one in self._skeleton.trained.values()]))
        else:
            self.parts = Chunks(width, total, chunk, place)
        self.to(first.device, first.dtype)

    def made(self, preference: Float[Tensor, "tasks"]) -> dict[str, Tensor]:
        """The parameters for a preference."""
        row = self.parts(self.ray(preference.to(next(self.ray.parameters()))))
        targets = self._skeleton.trained
        pieces = torch.split(row, [one.numel() for one in targets.values()])
        return {name: piece.view(one.shape) for piece, (name, one) in zip(pieces, targets.items(), strict=True)}

    def forward(self, preference: Float[Tensor, "tasks"], /, *inputs: Any) -> Any:
        """What the network with these parameters gives."""
        self._skeleton.train(self.training)
        return self._skeleton.call(self.made(preference), self._same(), *inputs)

    def network(self, preference: Float[Tensor, "tasks"], /) -> nn.Module:
        """The network with these parameters."""
        return self._skeleton.module(self.made(preference), self._same())

    def _same(self) -> dict[str, Tensor]:
        return {**self.fixed.tensors(), **self.common.tensors()}

    def backward(self, losses: Float[Tensor, "window tasks"], preferences: Float[Tensor, "window tasks"]) -> None:
        """Of the weighed losses, or of what EPO search makes of them."""
        if self._method == "linear":
            super().backward(losses, preferences)
            return
        (row,), (preference,) = losses, preferences
        # drawn preferences can be too small for the losses' type; the search needs them above 0
        ray = preference.double().clamp_min(1e-6).tolist()
        balancer = epo(self.tasks, preferences=ray)
        backward(list(row), balancer, at="parameters", scale=float(self.tasks))


def phn(
    network: nn.Module,
    tasks: int,
    *,
    method: Method = "linear",
    width: int = 100,
    chunk: int | None = None,
    place: int = 64,
    concentration: float = 0.2,
    shared: Sequence[str] = (),
) -> PHN:
    """Pareto hypernetwork: a perceptron makes all parameters of a network from the preference.

        theta(p) = V ReLU-perceptron(p) + v
        minimise   sum_t p_t L_t(theta(p)),   or EPO search on the parameters of the perceptron

    One preference is drawn in each step, from ``Dirichlet(concentration)``. With ``chunk`` parameters come in pieces of
    so many numbers from one more perceptron, which reads a learnt vector of the piece's place beside what was made of
    the preference: large networks then cost little more than their places. ``at(p)`` is a network of the architecture
    that was given.

    With ``method="epo"`` a preference is a ray, ``p_s L_s = p_t L_t``, and losses must not be negative; see
    [`epo`][polytask.balancing.weightings.epo.epo]. It costs one backward pass per task.

    Paper: Navon et al., "Learning the Pareto Front with Hypernetworks", ICLR 2021, https://arxiv.org/abs/2010.04104;
    the perceptron has two hidden layers of 100, and in EPO search weights are multiplied by T, as in the authors' code.
    Where no linear program is solved it weighs by the preference there; here it always is. Their last layers start as
    torch starts them, here with the network's own parameters as their biases, so that training starts near the network
    that was given (not with ``chunk``).

    Args:
        network: Its code, and start values; copied.
        tasks: T.
        method: ``linear`` or ``epo``.
        width: Of the perceptron.
        chunk: Numbers in a piece; None: all parameters at once.
        place: Width of what is learnt of the place of a piece.
        concentration: Above 0; below 1 the corners are drawn most.
        shared: Names of parameters, such as embedding tables, that are the same for all preferences; they are trained
            as they are.

    Raises:
        UserError: If an option is unknown or out of range; in a step with EPO search, if a loss is negative.

    Example:
        >>> phn(nn.Linear(3, 1), 2, method="epo").at([0.2, 0.8])
        Linear(in_features=3, out_features=1, bias=True)
    """
    return PHN(
        network,
        tasks,
        width=width,
        chunk=chunk,
        place=place,
        method=method,
        concentration=concentration,
        shared=shared,
    )
