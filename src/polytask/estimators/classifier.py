"""Classes for every column of y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from sklearn.base import ClassifierMixin

from polytask.estimators.base import MultiTaskModel, TaskTable
from polytask.estimators.targets import Target


@final
@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskClassifier(ClassifierMixin, MultiTaskModel):  # type: ignore[misc]
    """One network that predicts a class for every column of ``y``; parameters are those of `MultiTaskModel`.

    Columns with two values are ``binary`` tasks, those with more are ``multiclass``; classes may be numbers, text or
    booleans.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(300, 3))
        >>> y = np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1] > 0])
        >>> model = MultiTaskClassifier(epochs=30, random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.9, [probability.shape for probability in model.predict_proba(X[:5])]
        (True, [(5, 2), (5, 2)])
    """

    score = MultiTaskModel.score

    @property
    def classes_(self) -> Any:
        """The classes in order: an array; a list of them, one per task, where ``y`` had two dimensions."""
        found = [self._classes[name] for name in self.task_names_]
        return found if self._several else found[0]

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of all classes.

        Returns:
            ``[rows, classes]`` in the order of ``classes_``; a list of these, one per task, where ``y`` had two
            dimensions. `predictions` gives them as a DataFrame.
        """
        found = list(self._probabilities(X).values())
        return found if self._several else found[0]

    def _task_tables(self, targets: Sequence[Target]) -> dict[str, TaskTable]:
        return {one.name: {"kind": "binary" if len(one.classes) == 2 else "multiclass"} for one in targets}
