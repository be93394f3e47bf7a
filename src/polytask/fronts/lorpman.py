"""LORPMAN: one network and a low-rank part for each task (Chen and Kwok, ICML 2024)."""

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
class LORPMAN(Conditioned):
    """``theta(p) = theta_0 + scale sum_t p_t B_t A_t``; see `lorpman`.

    Args:
        network: The main network.
        tasks: T.
        rank: Of the parts.
        scale: Of the parts.
        orthogonal: Factor of the penalty for parts that resemble each other.
        monotone: Factor of the order penalty.
        freeze: Share of training after which the main network rests.
        concentration: Of the preferences that are drawn.
        window: How many are drawn in each step.
        shared: Names of parameters that are the same for all preferences.
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: int,
        *,
        rank: int,
        scale: float,
        orthogonal: float,
        monotone: float,
        freeze: float,
        concentration: float,
        window: int,
        shared: Sequence[str] = (),
    ) -> None:
        super().__init__(tasks, concentration=concentration, window=window)
        problems = in_range(rank, where="rank", least=1) + in_range(scale, where="scale", above=0)
        problems += in_range(orthogonal, where="orthogonal", least=0) + in_range(monotone, where="monotone", least=0)
        problems += in_range(freeze, where="freeze", least=0, most=1)
        if problems:
            raise UserError(problems)
        self._skeleton, self._scale, self._freeze = Skeleton(network, shared), scale, freeze
        self._orthogonal, self._monotone = orthogonal, monotone
        self.main = Table(self._skeleton.trained, trained=True)
        self.fixed = Table(self._skeleton.fixed, trained=False)
        self.common = Table(self._skeleton.shared, trained=True)
        matrices = {name: one.flatten(1) for name, one in self._skeleton.trained.items() if one.dim() > 1}
        if not matrices:
            what = f"'{type(network).__name__}' has no parameter with two dimensions or more"
            raise UserError(Problem("network", what, "choose another method, as pamal"))
        up, down = {}, {}
        for name, matrix in matrices.items():
            out, width = matrix.shape
            inner = min(rank, out, width)
            up[name] = matrix.new_zeros(tasks, out, inner)
            # as a linear layer of this width starts
            down[name] = matrix.new_empty(tasks, inner, width).uniform_(-1.0, 1.0) / width**0.5
        self.up, self.down = Table(up, trained=True), Table(down, trained=True)

    def mixed(self, preference: Float[Tensor, "tasks"]) -> dict[str, Tensor]:
        """The parameters for a preference."""
        found, down = self.main.tensors(), self.down.tensors()
        for name, up in self.up.tensors().items():
            weights = (self._scale * preference).to(up)
            # side by side: sum_t p_t B_t A_t is one product of [out, T rank] and [T rank, width]
            left = (weights[:, None, None] * up).movedim(0, 1).flatten(1)
            found[name] = found[name] + (left @ down[name].flatten(0, 1)).view_as(found[name])
        return found

    def forward(self, preference: Float[Tensor, "tasks"], /, *inputs: Any) -> Any:
        """What the network with the mixed parts gives."""
        self._skeleton.train(self.training)
        return self._skeleton.call(self.mixed(preference), self._same(), *inputs)

    def network(self, preference: Float[Tensor, "tasks"], /) -> nn.Module:
        """The network with the mixed parts."""
        return self._skeleton.module(self.mixed(preference), self._same())

    def _same(self) -> dict[str, Tensor]:
        return {**self.fixed.tensors(), **self.common.tensors()}

    def resemblance(self) -> Float[Tensor, ""]:
        """The sum over layers and pairs of tasks of ``cos(B_s A_s, B_t A_t)^2``; 0 where a part is zero."""
        down, total = self.down.tensors(), []
        for name, up in self.up.tensors().items():
            inner = torch.einsum("sok,tol->stkl", up, up) * torch.einsum("ski,tli->stkl", down[name], down[name])
            gramian = inner.sum((2, 3))
            squares = gramian.diagonal()
            sizes = squares[:, None] * squares
            # sizes are 0 at the start, where 0 / 0 would be the slope
            cosines = torch.where(sizes > 0, gramian.square() / torch.where(sizes > 0, sizes, 1.0), 0.0)
            total.append(cosines.triu(1).sum())
        return torch.stack(total).sum()

    def objective(
        self, losses: Float[Tensor, "window tasks"], preferences: Float[Tensor, "window tasks"]
    ) -> Float[Tensor, ""]:
        """The weighed losses and both penalties."""
        total = super().objective(losses, preferences) + self._monotone * order_penalty(losses, preferences)
        return total + self._orthogonal * self.resemblance() if self._orthogonal else total

    def advance(self, progress: float) -> None:
        """Lets the main network rest, or move again."""
        moves = progress < self._freeze
        for parameter in self.main.parameters():
            parameter.requires_grad_(moves)
            if not moves:
                parameter.grad = None  # optimizers leave alone what has none, momentum and weight decay included


def lorpman(
    network: nn.Module,
    tasks: int,
    *,
    rank: int = 8,
    scale: float = 1.0,
    orthogonal: float = 0.1,
    window: int = 4,
    monotone: float = 0.0,
    freeze: float = 0.8,
    concentration: float = 1.0,
    shared: Sequence[str] = (),
) -> LORPMAN:
    """Low-rank Pareto manifold learning: one main network, and for each task a low-rank part of every matrix.

        theta(p) = theta_0 + scale sum_t p_t B_t A_t
        minimise   sum_k sum_t p_kt L_t(theta(p_k)) + monotone R + orthogonal O
        O = sum_layers sum_(s < t) cos(B_s A_s, B_t A_t)^2

    - ``theta_0``: the main network. Vectors (biases, norms) are its own; convolutions count as matrices
      ``[out, in height width]``.
    - ``A_t`` ``[rank, in]``, ``B_t`` ``[out, rank]``: the part of task t. B starts at 0, and the model as the network.
    - ``p_k``, ``R``: preferences and the penalty of [`pamal`][polytask.fronts.pamal.pamal].

    After the share ``freeze`` of training the main network rests and the parts move alone; say how far training is with
    ``front_step(..., progress=...)``. ``at(p)`` is a network of the architecture that was given.

    Paper: Chen and Kwok, "Efficient Pareto Manifold Learning with Low-Rank Structure", ICML 2024,
    https://arxiv.org/abs/2407.20734. On UTKFace it has rank 64 and freezes at 80 % of the epochs; scales from 0.1 to 1
    make no difference. It penalises the off-diagonal entries of ``W' W``, with the parts as columns of W; of more than
    three tasks it draws three in each step. Here are all pairs, by products of rank times rank, the parts scaled to
    length 1, and the entries squared. The defaults of ``rank`` and ``orthogonal`` are ours.

    Args:
        network: The main network; copied.
        tasks: T.
        rank: At most that of the matrix.
        scale: Above 0.
        orthogonal: Factor of the penalty for parts that resemble each other, from 0.
        window: Preferences in a step.
        monotone: Factor of the penalty for a wrong order, from 0.
        freeze: From 0 to 1; with 1 the main network moves to the end.
        concentration: Above 0.
        shared: Names of parameters, such as embedding tables, that are the same for all preferences; they are trained
            as they are.

    Raises:
        UserError: If a number is out of range, or the network has no matrix.

    Example:
        >>> network = nn.Linear(3, 1)
        >>> bool(torch.equal(lorpman(network, 2).at([0.5, 0.5]).weight, network.weight))
        True
    """
    return LORPMAN(
        network,
        tasks,
        rank=rank,
        scale=scale,
        orthogonal=orthogonal,
        monotone=monotone,
        freeze=freeze,
        concentration=concentration,
        window=window,
        shared=shared,
    )
