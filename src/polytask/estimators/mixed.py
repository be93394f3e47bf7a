"""Tasks of several kinds in one estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import pyarrow as pa
from sklearn.utils.metaestimators import available_if

from polytask.data.label_kinds import propose_tasks
from polytask.data.sources import open_source
from polytask.errors import Problem, raise_errors, suggest
from polytask.estimators.base import CLASS_KINDS, MultiTaskModel, TaskTable
from polytask.estimators.inputs import input_errors
from polytask.estimators.targets import Target

KINDS = (*CLASS_KINDS, "regression", "count")


def _problems(tables: Mapping[str, TaskTable]) -> Iterator[Problem]:
    """What is wrong with kinds and labels, before labels are read as these say."""
    for name, table in tables.items():
        kind = str(table.get("kind"))
        if kind not in KINDS and ":" not in kind:
            yield Problem(f"tasks.{name}.kind", f"is {table.get('kind')!r}", suggest(kind, KINDS))
        if "label" in table:
            yield Problem(f"tasks.{name}.label", "is the column of y with the task's name", "remove it")


def _has_classes(model: MultiTaskEstimator) -> bool:
    """Whether some task has classes, as far as that is known."""
    return not hasattr(model, "bundle_") or any(classes is not None for classes in model._classes.values())


@final
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskEstimator(MultiTaskModel):
    """One network for tasks of several kinds; the other parameters are those of `MultiTaskModel`.

    Args:
        tasks: Per column of ``y`` its kind (``"binary"``, ``"multiclass"``, ``"ordinal"``, ``"regression"``,
            ``"count"``), or its whole table (``{"kind": "ordinal", "classes": ["low", "high"]}``,
            ``{"kind": "binary", "after": "click"}``); other columns of a DataFrame ``y`` are not read. None: all
            columns, whose kinds are read off their values as in `polytask.fit`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=300)
        >>> y = pa.table({"buys": np.where(x > 0, "yes", "no"), "spends": 5.0 * x})
        >>> model = MultiTaskEstimator(tasks={"buys": "binary", "spends": "regression"}, epochs=50, random_state=0)
        >>> model.fit(pa.table({"x": x}), y).predict(pa.table({"x": [-2.0, 2.0]}))["buys"].to_pylist()
        ['no', 'yes']
    """

    tasks: Mapping[str, str | TaskTable] | None = None

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of all tasks with classes.

        Returns:
            A list with ``[rows, classes]`` per such task, in the order of the tasks; without the list where ``y`` had
            one dimension. `predictions` gives them as a DataFrame, beside the numbers of the other tasks.
        """
        found = list(self._probabilities(X).values())
        return found if self._several else found[0]

    def _wanted(self) -> Sequence[str] | None:
        return list(self.tasks) if self.tasks else None

    def _task_tables(self, targets: Sequence[Target]) -> dict[str, TaskTable]:
        if self.tasks:
            tables = {name: {"kind": task} if isinstance(task, str) else task for name, task in self.tasks.items()}
            with input_errors():
                raise_errors(_problems(tables))
            return tables
        labels = {one.name: pa.array(one.values, mask=~one.observed) for one in targets}
        with input_errors():
            found = propose_tasks(open_source(labels), list(labels))
        return {one.spec.label: {"kind": one.kind, **one.options} for one in found}
