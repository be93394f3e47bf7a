"""The losses of a model with one representation per task: all tasks in one pass down to it, and through doors below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.graph import accumulate, last_layer, leaves
from polytask.balancing.rows import Collector, Rows, precise
from polytask.cut import Cut


class SplitTasks:
    """The losses of one micro-batch above a representation of which loss ``t`` reads row ``t`` alone.

    Args:
        losses: One per task.
        value: The representation.
        cut: What the tasks share below it; None: everything below ``value``, and nothing of what lies above.
    """

    def __init__(
        self,
        losses: Float[Tensor, "tasks"],
        value: Float[Tensor, "tasks *rest"],
        cut: Cut | None,
    ) -> None:
        self.losses = losses.detach()
        self._losses, self._value, self._cut = losses, value, cut
        self._gradient: Tensor | None = None

    def through_heads(self, present: Bool[Tensor, "tasks"], *, scale: float, fill: bool) -> None:
        """One pass of all losses through the heads.

        Args:
            present: Which tasks are.
            scale: Of the losses.
            fill: Whether what is private above the representation receives its gradients.
        """
        if not self._losses.requires_grad:
            return
        starts = present.to(self._losses) * scale
        private = leaves([self._losses], above=self._value) if fill else []
        inputs = [self._value] if self._value.requires_grad else []
        if not inputs and not private:
            return
        found = torch.autograd.grad(
            self._losses, [*inputs, *private], starts, materialize_grads=True, retain_graph=not fill
        )  # fmt: skip
        if inputs:
            self._gradient = found[0]
        for leaf, grad in zip(private, found[len(inputs) :], strict=True):
            accumulate(leaf, grad)

    def gramian(self) -> Float[Tensor, "tasks tasks"] | None:
        """Inner products of the tasks' gradients at the cut; None if nothing is shared."""
        return None if self._gradient is None else self._products(self._gradient)

    def rows(self, present: Bool[Tensor, "tasks"], at: Sequence[Tensor] | None = None) -> Rows:
        """Every task's gradient at the leaves below the representation: one pass per task.

        With all weights 0 only private paths remain: what has a gradient then is private. The gradient of one task
        alone, without that, is what it sends through what is shared.
        """
        sources = leaves([self._value]) if at is None else list(at)
        if self._gradient is None:
            return Rows([], [], [])
        own = self._private(sources)
        shared = [at_zeros(grad) for grad in own]
        wanted = [number for number, kept in enumerate(shared) if kept is not False]
        found = Collector(len(sources), int(present.sum()))
        blank = torch.zeros_like(self._gradient)  # one for all: it is as large as the representation
        for task in present.nonzero().flatten().tolist():
            grads: list[Tensor | None] = [None] * len(sources)
            for number, grad in zip(wanted, self._alone(task, [sources[n] for n in wanted], blank), strict=True):
                kept = shared[number]
                grads[number] = grad * kept if isinstance(kept, Tensor) and grad is not None else grad
            found.take(grads)
        return Rows(sources, own, found.columns)

    def push(self, weights: Float[Tensor, "tasks"], *, retain_graph: bool = False) -> None:
        """One pass through what is shared, with every task's weight; private leaves there get their own gradient."""
        if self._gradient is not None:
            self._push(self._gradient, weights, retain_graph)

    def push_losses(self, weights: Float[Tensor, "tasks"]) -> None:
        """One ordinary pass of the weighted losses, heads included."""
        torch.autograd.backward(self._losses, weights.to(self._losses))

    def last_layer(self) -> list[Tensor]:
        """The shared leaves with the fewest operations between them and the representation."""
        return last_layer(self._value, {} if self._cut is None else self._cut.entries())

    def _products(self, gradient: Float[Tensor, "tasks *rest"]) -> Float[Tensor, "tasks tasks"]:
        """Inner products of what the rows of ``gradient`` send to what is shared."""
        if self._cut is not None:
            return self._cut.gramian(gradient)
        flat = precise(gradient).flatten(1)
        return flat @ flat.T

    def _private(self, sources: Sequence[Tensor]) -> list[Tensor | None]:
        """What ``sources`` receive through private paths."""
        assert self._gradient is not None
        if self._cut is None:
            return [None] * len(sources)
        return self._under(self._gradient, torch.zeros(len(self._gradient)), sources)

    def _alone(self, task: int, sources: Sequence[Tensor], blank: Float[Tensor, "tasks *rest"]) -> list[Tensor | None]:
        """The gradients of one task at ``sources``, private paths included; ``blank`` is zero before and after."""
        assert self._gradient is not None
        blank[task] = self._gradient[task]
        try:
            return self._below(blank, sources, only=task)
        finally:
            blank[task] = 0.0

    def _below(
        self, gradient: Float[Tensor, "tasks *rest"], sources: Sequence[Tensor], only: int | None
    ) -> list[Tensor | None]:
        """Gradients at ``sources`` as autograd has them; ``only``: the one row that is not 0."""
        if not sources:
            return []
        if self._cut is not None:
            self._cut.only = only
        try:
            return list(torch.autograd.grad(self._value, list(sources), gradient, retain_graph=True, allow_unused=True))
        finally:
            if self._cut is not None:
                self._cut.only = None

    def _under(
        self, gradient: Float[Tensor, "tasks *rest"], weights: Float[Tensor, "tasks"], sources: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """The gradients at ``sources`` under weights of the rows."""
        if not sources:
            return []
        with self._weighted(gradient, weights) as down:
            return list(torch.autograd.grad(self._value, list(sources), down, retain_graph=True, allow_unused=True))

    def _push(
        self, gradient: Float[Tensor, "tasks *rest"], weights: Float[Tensor, "tasks"], retain_graph: bool
    ) -> None:
        """Adds to ``.grad`` of what lies below, under weights of the rows."""
        with self._weighted(gradient, weights) as down:
            self._value.backward(down, retain_graph=retain_graph)  # type: ignore[no-untyped-call]

    @contextmanager
    def _weighted(
        self, gradient: Float[Tensor, "tasks *rest"], weights: Float[Tensor, "tasks"]
    ) -> Iterator[Float[Tensor, "tasks *rest"]]:
        """What to send down while the cut applies the weights where something shared begins."""
        weights = weights.to(gradient.device, torch.promote_types(weights.dtype, gradient.dtype))
        if self._cut is None:
            yield gradient * weights.to(gradient.dtype).view(-1, *(1 for _ in gradient.shape[1:]))
            return
        self._cut.weights = weights.to(precise(gradient).dtype)
        try:
            yield gradient
        finally:
            self._cut.weights = None


def at_zeros(grad: Tensor | None) -> Tensor | bool:
    """Where a gradient is zero: True, False or a mask, for everywhere, nowhere and somewhere."""
    if grad is None:
        return True
    zero = (grad.coalesce().values() if grad.is_sparse else grad) == 0
    if bool(zero.all()):
        return True
    return zero if bool(zero.any()) and not grad.is_sparse else False
