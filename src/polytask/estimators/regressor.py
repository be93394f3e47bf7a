"""Numbers for every column of y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from sklearn.base import RegressorMixin

from polytask.estimators.base import MultiTaskModel, TaskTable
from polytask.estimators.targets import Target


@final
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskRegressor(RegressorMixin, MultiTaskModel):  # type: ignore[misc]
    """One network that predicts numbers for every column of ``y``; parameters are those of `MultiTaskModel`.

    Labels are scaled inside: tasks of different units count alike.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(300, 3))
        >>> y = np.column_stack([X[:, 0] + X[:, 1], 100.0 * X[:, 0]])
        >>> model = MultiTaskRegressor(epochs=30, random_state=0).fit(X, y)
        >>> model.predict(X[:2]).shape, model.score(X, y) > 0.9
        ((2, 2), True)
    """

    score = MultiTaskModel.score

    def _task_tables(self, targets: Sequence[Target]) -> dict[str, TaskTable]:
        return {one.name: {"kind": "regression"} for one in targets}
