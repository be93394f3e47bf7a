"""What multiclass and ordinal tasks share: how many classes there are, and how often each occurs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.errors import Problem, UserError
from polytask.tasks.base import Classes, Task
from polytask.types import LabelStats


@dataclass(frozen=True, kw_only=True)
class ClassTask(Task):
    """A task whose label is one of several classes, numbered from 0."""

    @property
    def class_count(self) -> int:
        """Number of classes: of ``classes`` where given, else of the classes counted in training.

        Raises:
            ValueError: If neither is known yet.
        """
        return len(self.classes) if self.classes is not None else len(self.require_stats().class_weights)

    @property
    def priors(self) -> tuple[float, ...]:
        """Share of each class among the training rows, kept off 0 by half a row."""
        stats = self.require_stats()
        total = sum(stats.class_weights)
        share = [weight / total if total > 0 else 1 / self.class_count for weight in stats.class_weights]
        raised = [max(value, 0.5 / (stats.rows + 1)) for value in share]
        return tuple(value / sum(raised) for value in raised)

    @property
    def constant_prediction(self) -> Float[Tensor, "classes"]:
        """The share of each class."""
        return torch.tensor(self.priors, dtype=torch.float64)

    def _check_classes(self, stats: LabelStats, classes: Classes | None) -> None:
        classes = classes if classes is not None else self.classes
        counted = len(stats.class_weights)
        if classes is not None and len(classes) != counted:
            what = f"{len(classes)} classes are declared, but the labels are counted in {counted}"
            raise UserError(Problem(f"{self._where}.classes", what, "declare every value of the label once"))
        if counted < 2:
            what = f"a {self.kind} label needs at least 2 classes, found {counted}"
            raise UserError(Problem(self._where, what, "check the label and the task's kind"))


def class_values(
    weights: Mapping[str, float] | Sequence[float], classes: Classes | None, count: int, *, where: str
) -> tuple[float, ...]:
    """One weight per class, in class order; classes that a mapping leaves out weigh 1.

    Raises:
        UserError: With every class that does not exist, or if the number of weights is not that of the classes.

    Example:
        >>> class_values({"gold": 3.0}, ("silver", "gold"), 2, where="tasks.tier.class_weights")
        (1.0, 3.0)
    """
    if not isinstance(weights, Mapping):
        if len(weights) != count:
            what = f"{len(weights)} weights for {count} classes"
            raise UserError(Problem(where, what, "give one per class, in class order"))
        return tuple(weights)
    names = [str(value) for value in (classes if classes is not None else range(count))]
    unknown = [name for name in weights if name not in names]
    if unknown:
        listed = ", ".join(names[:12])
        raise UserError([Problem(where, f"there is no class '{name}'", f"classes are {listed}") for name in unknown])
    return tuple(weights.get(name, 1.0) for name in names)
