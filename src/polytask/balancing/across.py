"""The losses of a model in which some read the rows of other tasks as well, as in a chain of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.rows import precise
from polytask.balancing.split import SplitTasks
from polytask.cut import Cut


class AcrossTasks(SplitTasks):
    """The losses of one micro-batch above a representation of which loss t reads row t, and maybe others.

    A row that several losses read is shared, with all that lies below it: it receives the weighted sum. All that lies
    above the representation belongs to these losses together and receives the plain sum. The losses that meet in a row
    take one pass through the heads each; all others one together.

    Args:
        losses: One per task.
        value: The representation.
        cut: See `SplitTasks`.
        reads: ``reads[t, r]``: loss t reads row r. No row is read by others only.
    """

    def __init__(
        self,
        losses: Float[Tensor, "tasks"],
        value: Float[Tensor, "tasks *rest"],
        cut: Cut | None,
        reads: Bool[Tensor, "tasks tasks"],
    ) -> None:
        super().__init__(losses, value, cut)
        self._reads = reads.cpu()
        self._common = self._reads.sum(0) > 1
        self._members = self._reads[:, self._common].any(1)
        self._each: dict[int, Float[Tensor, "tasks *rest"]] = {}

    def through_heads(self, present: Bool[Tensor, "tasks"], *, scale: float, fill: bool) -> None:
        """One pass of every loss that meets others in a row, then one of all losses through the heads."""
        if self._losses.requires_grad and self._value.requires_grad:
            for task in (self._members & present.cpu()).nonzero().flatten().tolist():
                (self._each[task],) = torch.autograd.grad(
                    self._losses[task], [self._value], torch.full_like(self._losses[task], scale),
                    materialize_grads=True, retain_graph=True,
                )  # fmt: skip
        super().through_heads(present, scale=scale, fill=fill)

    def gramian(self) -> Float[Tensor, "tasks tasks"] | None:
        """Inner products of the tasks' gradients at the cut, each the sum over all rows that the task reads."""
        if self._gradient is None or not self._each:
            return super().gramian()
        device = self._gradient.device
        met = self._reads[self._members].any(0).to(device)
        alone = ~met
        others = self._gradient * self._over_rows(alone)
        whole = self._products(others).clone()
        for task, gradient in self._each.items():
            products = self._products(others + gradient)
            whole[task, alone] = whole[alone, task] = products[met][:, alone].sum(0)
            whole[task, task] = products[met][:, met].sum()
        smallest = torch.finfo(torch.float32).tiny
        lengths = {task: precise(one).norm().clamp_min(smallest) for task, one in self._each.items()}
        for one, other in combinations(self._each, 2):
            # <a, b> = (|a + b|^2 - |a - b|^2) / 4, of unit vectors: no length hides the other
            first, second = self._each[one] / lengths[one], self._each[other] / lengths[other]
            product = (self._products(first + second) - self._products(first - second)).sum() / 4
            whole[one, other] = whole[other, one] = product * lengths[one] * lengths[other]
        return whole

    def push(self, weights: Float[Tensor, "tasks"], *, retain_graph: bool = False) -> None:
        """One pass through what is shared; rows that several losses read carry the weighted sum."""
        if self._gradient is None or not self._each:
            return super().push(weights, retain_graph=retain_graph)
        common = self._over_rows(self._common)
        joined = sum(weights[task].to(self._gradient) * gradient for task, gradient in self._each.items())
        down = torch.where(common.bool(), joined, self._gradient)
        rows = torch.where(self._common.to(weights.device), torch.ones_like(weights), weights)
        return self._push(down, rows, retain_graph)

    def _private(self, sources: Sequence[Tensor]) -> list[Tensor | None]:
        assert self._gradient is not None
        if self._cut is None:
            return [None] * len(sources)
        down = self._gradient * self._over_rows(~self._common)
        return self._under(down, torch.zeros(len(down)), sources)

    def _alone(self, task: int, sources: Sequence[Tensor], blank: Float[Tensor, "tasks *rest"]) -> list[Tensor | None]:
        if task not in self._each:
            return super()._alone(task, sources, blank)
        return self._below(self._each[task], sources, only=None)

    def _over_rows(self, which: Bool[Tensor, "tasks"]) -> Float[Tensor, "tasks *ones"]:
        """1 for the rows that are meant, else 0, in the shape of the representation."""
        return which.to(self._value).view(-1, *(1 for _ in self._value.shape[1:]))
