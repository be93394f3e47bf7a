"""What aggregators with a memory have in common: a row per task that is kept from step to step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polytask.balancing.engine import refuse_gramian
from polytask.balancing.interfaces import Aggregator
from polytask.balancing.rows import precise
from polytask.errors import Problem, UserError
from polytask.types import Step


class History(nn.Module):
    """A row of numbers for every task, one for each shared parameter.

    How many these are is known with the first Jacobian. Until then the rows are empty; a state that is loaded brings
    its own width with it.

    Args:
        tasks: How many.

    Example:
        >>> history, present = History(2), torch.tensor([True, False])
        >>> history.before(torch.ones(1, 3), present)
        tensor([[0., 0., 0.]])
        >>> history.keep(torch.ones(1, 3), present)
        >>> history.rows.tolist(), history.seen.tolist()
        ([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [1, 0])
    """

    rows: Float[Tensor, "tasks width"]
    seen: Int[Tensor, "tasks"]

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(tasks, 0))
        self.register_buffer("seen", torch.zeros(tasks, dtype=torch.int64))

    def before(
        self, jacobian: Float[Tensor, "present width"], present: Bool[Tensor, "tasks"]
    ) -> Float[Tensor, "present width"]:
        """What was kept of the present tasks; zeros where nothing was.

        Raises:
            UserError: If the Jacobian has another width than those before.
        """
        width = jacobian.shape[1]
        if not bool(self.seen.any()):
            self.rows = jacobian.new_zeros(len(self.seen), width)
        if self.rows.shape[1] != width:
            what = f"its history is of {self.rows.shape[1]} shared parameters, and now there are {width}"
            raise UserError(Problem("balancer", what, "freeze nothing on the way, or begin with a new balancer"))
        return self.rows[present.to(self.rows.device)]

    def keep(self, rows: Float[Tensor, "present width"], present: Bool[Tensor, "tasks"]) -> None:
        """Notes new rows of the present tasks; those of the others stay."""
        self.rows[present.to(self.rows.device)] = rows.to(self.rows)
        self.seen[present.to(self.seen.device)] += 1

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        found = state_dict.get(f"{prefix}rows")
        if isinstance(found, Tensor) and found.shape[:1] == self.rows.shape[:1]:
            self.rows = torch.empty_like(found, device=self.rows.device)
        super()._load_from_state_dict(dict(state_dict), prefix, *rest)


class Remembering(Aggregator, ABC):
    """An aggregator that keeps a `History`.

    Args:
        tasks: How many.
    """

    keeps_history: bool = True

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.history = History(tasks)
        self._weights: Tensor | None = None

    @torch.no_grad()
    def forward(self, jacobian: Float[Tensor, "present width"], step: Step, /) -> Float[Tensor, "width"]:
        """The direction.

        Raises:
            NonFiniteError: If a gradient is not finite: it would stay in the history.
        """
        exact = precise(jacobian.detach())
        lengths = torch.linalg.vector_norm(exact, dim=1)
        refuse_gramian(lengths.diag(), step)
        present = step.present.to(exact.device)
        direction, self._weights = self.aggregate(exact, self.history.before(exact, present).to(exact), step)
        return direction.to(jacobian)

    def row_weights(self, step: Step, /) -> Float[Tensor, "present"]:
        """The weights of the last direction."""
        assert self._weights is not None, "row_weights is called after forward"
        return self._weights

    @abstractmethod
    def aggregate(
        self, jacobian: Float[Tensor, "present width"], before: Float[Tensor, "present width"], step: Step
    ) -> tuple[Float[Tensor, "width"], Float[Tensor, "present"]]:
        """The direction, and the weights of gradients of which no history is kept.

        Args:
            jacobian: In single precision at least.
            before: The history of the present tasks; what is to be kept goes to ``self.history.keep``.
            step: Which tasks these are.
        """


def decayed(rate: float, decay: float, seen: Int[Tensor, "present"]) -> Float[Tensor, "present"]:
    """``rate / k^decay`` for the k-th step of each task.

    Example:
        >>> decayed(0.5, 0.5, torch.tensor([0, 3]))
        tensor([0.5000, 0.2500], dtype=torch.float64)
    """
    return rate / (seen + 1).to(torch.float64) ** decay


def reciprocals(values: Float[Tensor, "present"]) -> Float[Tensor, "present"]:
    """``1 / value``, and 0 for 0.

    Example:
        >>> reciprocals(torch.tensor([4.0, 0.0]))
        tensor([0.2500, 0.0000])
    """
    return torch.where(values > 0, torch.where(values > 0, values, 1.0).reciprocal(), 0.0)
