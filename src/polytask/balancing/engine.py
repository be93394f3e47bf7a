"""The backward pass of a step: with the weights that a balancer makes, through what the tasks share.

A scalarizer needs one ordinary pass. For the others the pass is split at the cut: first through the heads, which
receive their own unscaled gradients and leave every task's gradient at the cut; then, with the weights that the
balancer makes of these, through what lies below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.balancing.interfaces import Again, Aggregator, Balancer, Place, Scalarizer, Slopes, Weighting
from polytask.balancing.ranks import Alone, Ranks
from polytask.balancing.rows import Rows
from polytask.errors import Problem, UserError
from polytask.types import Step


class Tasks(Protocol):
    """The losses of one micro-batch, the cut below them, and the gradients there."""

    losses: Float[Tensor, "tasks"]

    def through_heads(self, present: Bool[Tensor, "tasks"], *, scale: float, fill: bool) -> None:
        """Down to the cut; with ``fill`` what is private above it receives its gradients."""

    def gramian(self) -> Float[Tensor, "tasks tasks"] | None:
        """Inner products of the tasks' gradients at the cut; None if nothing is shared."""

    def rows(self, present: Bool[Tensor, "tasks"], at: Sequence[Tensor] | None = None) -> Rows:
        """Every present task's gradient at leaves below the cut; None: at all of them."""

    def push(self, weights: Float[Tensor, "tasks"], *, retain_graph: bool = False) -> None:
        """From the cut down with the tasks' weights."""

    def push_losses(self, weights: Float[Tensor, "tasks"]) -> None:
        """One ordinary pass of the weighted losses."""

    def last_layer(self) -> list[Tensor]:
        """The shared leaves nearest to the cut."""


@dataclass(frozen=True, slots=True)
class Part:
    """One micro-batch of a step.

    Attributes:
        tasks: Its losses. Those of all parts add up to the losses of the step.
        present: Which tasks have a row in it; None: all that the step has.
        penalty: What the architecture adds to the loss for all tasks together; it is not balanced.
    """

    tasks: Tasks
    present: Bool[Tensor, "tasks"] | None = None
    penalty: Float[Tensor, ""] | None = None


class NonFiniteError(UserError):
    """A loss or a gradient is NaN or infinite; no gradient was left in ``.grad`` by a balancer of gradients."""


class Balancing(nn.Module):
    """A balancer and how it is used: where gradients are compared, how often, on how much of a step.

    Args:
        balancer: What weighs the tasks.
        tasks: How many there are.
        at: Where gradients are compared; None: where the balancer wants it. At the ``representation`` it costs about
            one ordinary step, in closed form where the model has one; at the ``last_layer`` one short pass per task; at
            the ``parameters``, exact, one pass per task through what is shared.
        shared: With ``at="parameters"``: compare at these leaves only. All that is shared is weighted all the same.
        every: Weights are computed in every so many steps and used again in between; of a `Weighting`.
        measured: Of how many of a step's parts the Gramian is taken, from the first on; None: of all.
        ranks: The processes that share the work.

    Raises:
        UserError: If an option does not go with the kind of balancer.
    """

    remembered: Float[Tensor, "tasks"]
    ranks: Ranks

    def __init__(
        self,
        balancer: Balancer,
        tasks: int,
        *,
        at: Place | None = None,
        shared: Sequence[Tensor] | None = None,
        every: int = 1,
        measured: int | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__()
        self.balancer = balancer
        self.at: Place = at or (balancer.place if isinstance(balancer, Weighting) else "representation")
        self._shared = None if shared is None else list(shared)
        self._every, self._measured, self.ranks = every, measured, ranks or Alone()
        self.register_buffer("remembered", torch.full((tasks,), torch.nan))
        self._check(at)

    def _check(self, at: Place | None) -> None:
        kind, problems = type(self.balancer).__name__, []
        if self._every < 1:
            problems.append(Problem("every", f"{self._every} given", "choose a whole number from 1"))
        if self._every > 1 and not isinstance(self.balancer, Weighting):
            what = f"'{kind}' makes no weights of a Gramian that could be used again"
            problems.append(Problem("every", what, "leave it at 1"))
        if at is not None and isinstance(self.balancer, Scalarizer):
            problems.append(Problem("at", f"'{kind}' looks at losses, not at gradients", "leave it out"))
        if at not in (None, "parameters") and isinstance(self.balancer, Aggregator):
            what = f"'{kind}' looks at single elements of gradients, which make no sense at the {at}"
            problems.append(Problem("at", what, 'choose at = "parameters"'))
        if problems:
            raise UserError(problems)

    def backward(
        self, parts: Sequence[Part], step: Step, *, scale: float = 1.0, retain_graph: bool = False
    ) -> Float[Tensor, "tasks"]:
        """Adds the balanced gradients of all losses to ``.grad`` of all parameters.

        Args:
            parts: The micro-batches of the step.
            step: Which tasks are present, and what else balancers may know; its losses are of all parts and ranks.
            scale: Factor of all gradients, as of a `torch.amp.GradScaler`; balancers do not see it.
            retain_graph: Whether the graph is needed afterwards.

        Returns:
            The weights that the tasks had, 0 where absent; NaN where an aggregator has none.

        Raises:
            NonFiniteError: If a loss or a gradient is not finite.
            UserError: If gradients cannot be compared as asked for.
        """
        if not bool(step.present.any()):
            return torch.zeros_like(step.losses)
        refuse_non_finite(step.losses.detach(), step, "loss")
        for part in parts:
            if part.penalty is not None and part.penalty.requires_grad:
                (scale * part.penalty).backward(retain_graph=True)  # type: ignore[no-untyped-call]
        if isinstance(self.balancer, Scalarizer):
            return self._scalarized(self.balancer, parts, step, scale)
        if isinstance(self.balancer, Weighting):
            return self._weighted(self.balancer, parts, step, scale, retain_graph)
        return self._aggregated(self.balancer, parts, step, scale)

    def total(self, losses: Float[Tensor, "tasks"], present: Bool[Tensor, "tasks"]) -> Float[Tensor, "tasks"]:
        """The losses of all processes together, 0 where absent."""
        return self.ranks.sum(torch.where(present.to(losses.device), losses.detach(), 0.0))

    def after_step(self, step: Step, again: Again, slopes: Slopes | None = None) -> None:
        """To be called when the parameters have moved; see `polytask.balancing.interfaces`.

        Args:
            step: As `backward` had it.
            again: The losses of this process's rows.
            slopes: Of the losses of all processes together.

        Raises:
            UserError: If the balancer learns from held-out rows, and there are none.
        """
        self.balancer.after_step(step, lambda: self.ranks.sum(again()))
        if self.balancer.learns:
            if slopes is None:
                what = "it learns its weights on rows that the model is not trained on, and none are given"
                raise UserError(Problem(f"balancer '{type(self.balancer).__name__}'", what, "give held_out"))
            self.balancer.learn(step, slopes)

    def _scalarized(
        self, balancer: Scalarizer, parts: Sequence[Part], step: Step, scale: float
    ) -> Float[Tensor, "tasks"]:
        """Slopes of the scalarized loss in the losses are the weights."""
        present = step.present.to(step.losses.device)
        weights = torch.zeros_like(step.losses)
        leaf = step.losses.detach()[present].requires_grad_()
        # the learnt weights of a balancer are the same on all ranks: gradients are summed over these afterwards
        (balancer(leaf, step) * (scale / self.ranks.size)).backward()
        if leaf.grad is not None:
            weights[present] = leaf.grad * self.ranks.size
        for part in parts:
            part.tasks.push_losses(weights)
        return weights / scale

    def _weighted(
        self, balancer: Weighting, parts: Sequence[Part], step: Step, scale: float, retain_graph: bool
    ) -> Float[Tensor, "tasks"]:
        for part in parts:
            part.tasks.through_heads(_within(part, step), scale=scale, fill=not balancer.whole_loss)
        weights, rows = self._known(step), None
        if weights is None:
            weights, rows = self._new_weights(balancer, parts, step, scale)
        if rows is not None and not balancer.whole_loss and self._shared is None and len(parts) == self._counted(parts):
            rows.add(rows.weighted(weights[step.present.to(weights.device)]))
            return weights
        for part in parts:
            if balancer.whole_loss:
                part.tasks.push_losses(weights * scale)
            else:
                part.tasks.push(weights, retain_graph=retain_graph)
        return weights

    def _known(self, step: Step) -> Float[Tensor, "tasks"] | None:
        """The weights of an earlier step, where they are to be used again and all present tasks have one."""
        if self._every == 1 or step.number % self._every == 0:
            return None
        present = step.present.to(self.remembered.device)
        known = torch.where(present, self.remembered, 0.0)
        return None if bool(known.isnan().any()) else known

    def _new_weights(
        self, balancer: Weighting, parts: Sequence[Part], step: Step, scale: float
    ) -> tuple[Float[Tensor, "tasks"], Rows | None]:
        """The weights, and this process's gradients of all tasks at all shared parameters where they were computed."""
        gramian, rows = self._gramian(parts[: self._measured], step)
        if gramian is None:
            return step.present.to(step.losses), rows
        present = step.present.to(gramian.device)
        gramian = gramian[present][:, present] / scale**2
        refuse_gramian(gramian, step)
        weights = torch.zeros(len(step.present), dtype=gramian.dtype, device=gramian.device)
        weights[present] = balancer(gramian, step).to(weights)
        held = present.to(self.remembered.device)
        self.remembered[held] = weights[present].to(self.remembered)
        return weights, rows

    def _counted(self, parts: Sequence[Part]) -> int:
        """Of how many parts the Gramian is taken."""
        return len(parts[: self._measured])

    def _gramian(self, parts: Sequence[Part], step: Step) -> tuple[Float[Tensor, "tasks tasks"] | None, Rows | None]:
        """The Gramian, None if nothing is shared; and the gradients that it was made of."""
        if self.at == "representation":
            _refuse_apart(parts, step, type(self.balancer).__name__)
            found = [made for part in parts if (made := part.tasks.gramian()) is not None]
            return (self.ranks.sum(sum(found[1:], found[0])) if found else None), None
        rows = self._rows(parts, step, where=self.at)
        products, kept = (
            rows.over(self.ranks, int(step.present.sum())).gramian(),
            rows if self.at == "parameters" else None,
        )
        if products is None:
            return None, kept
        whole = products.new_zeros(len(step.present), len(step.present))
        index = step.present.nonzero().flatten().to(products.device)
        whole[index.unsqueeze(1), index] = products
        return whole, kept

    def _rows(self, parts: Sequence[Part], step: Step, *, where: Place) -> Rows:
        found = []
        with _walked_often():
            for part in parts:
                leaves = part.tasks.last_layer() if where == "last_layer" else self._shared
                found.append(part.tasks.rows(step.present, leaves))
        total = found[0]
        for more in found[1:]:
            total = total + more
        return total

    def _aggregated(
        self, balancer: Aggregator, parts: Sequence[Part], step: Step, scale: float
    ) -> Float[Tensor, "tasks"]:
        for part in parts:
            part.tasks.through_heads(_within(part, step), scale=scale, fill=True)
        local = self._rows(parts, step, where="parameters")
        count = int(step.present.sum())
        rows = local.over(self.ranks, count)
        refuse_rows(rows, step)
        directions = rows.directions(
            lambda jacobian: balancer(jacobian / scale, step),
            count,
            (lambda: balancer.row_weights(step) / scale) if balancer.keeps_history else None,
        )
        # gradients are summed over ranks afterwards, and every rank has the whole direction
        share = scale / self.ranks.size
        local.add([None if direction is None else direction * share for direction in directions])
        return torch.full_like(step.losses, torch.nan)


@contextmanager
def _walked_often() -> Iterator[None]:
    """Says what to do where torch.compile made a graph that gives its memory away in its first backward pass."""
    try:
        yield
    except RuntimeError as error:
        if "donated buffers" not in str(error):
            raise
        what = "its graph can be walked once, and this takes one pass per task"
        remedy = 'set torch._functorch.config.donated_buffer = False before compiling, or compare at = "representation"'
        raise UserError(Problem("a compiled module", what, remedy)) from error


def _within(part: Part, step: Step) -> Bool[Tensor, "tasks"]:
    return step.present if part.present is None else step.present & part.present.to(step.present.device)


def _refuse_apart(parts: Sequence[Part], step: Step, balancer: str) -> None:
    """Gradients at the representations of different rows are orthogonal by construction: nothing is compared."""
    if int(step.present.sum()) < 2 or len(parts) < 2:
        return
    if all(int(_within(part, step).sum()) < 2 for part in parts):
        what = "no two tasks have rows in the same micro-batch: at the representation their gradients are orthogonal"
        raise UserError(Problem(f"balancer '{balancer}'", what, 'compare at = "parameters" or "last_layer"'))


def refuse_non_finite(values: Float[Tensor, "tasks *any"], step: Step, what: str) -> None:
    """Raises `NonFiniteError` naming the tasks that are present and hold NaN or infinity."""
    _refuse(torch.isfinite(values).flatten(1).all(1) if values.dim() > 1 else torch.isfinite(values), step, what)


def refuse_gramian(gramian: Float[Tensor, "present present"], step: Step) -> None:
    """Raises `NonFiniteError` naming the present tasks whose gradient has no finite length."""
    finite = torch.ones(len(step.present), dtype=torch.bool)
    finite[step.present.cpu()] = torch.isfinite(gramian.diagonal()).cpu()
    _refuse(finite, step, "gradient where tasks meet")


def refuse_rows(rows: Rows, step: Step) -> None:
    """Raises `NonFiniteError` naming the present tasks whose gradient holds NaN or infinity."""
    finite = torch.ones(len(step.present), dtype=torch.bool)
    finite[step.present.cpu()] = rows.finite(int(step.present.sum())).cpu()
    _refuse(finite, step, "gradient at what tasks share")


def _refuse(finite: Bool[Tensor, "tasks"], step: Step, what: str) -> None:
    bad = ~finite.cpu() & step.present.cpu()
    if bool(bad.any()):
        raise NonFiniteError(
            Problem(
                f"task {index} in step {step.number}",
                f"its {what} is not finite",
                "lower the learning rate, clip gradients, or look for extreme labels and inputs",
            )
            for index in bad.nonzero().flatten().tolist()
        )
