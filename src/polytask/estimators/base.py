"""What all estimators have in common: tables in, one network for all tasks, predictions out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped
from sklearn.base import BaseEstimator
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from polytask.data.inference import looks_like_id
from polytask.errors import Problem, suggest
from polytask.estimators.inputs import InputError, array_table, frame_like, frame_table, input_errors, is_frame
from polytask.estimators.settings import configuration, validation_share
from polytask.estimators.targets import Target, class_labels, own_values, read_targets, read_weights
from polytask.estimators.training import Trained, divided, train_in_memory
from polytask.serving import model_inputs
from polytask.types import Features

CLASS_KINDS = ("binary", "multiclass", "ordinal")
TaskTable = Mapping[str, Any]
Column = Shaped[np.ndarray, "rows"]


@dataclass(eq=False, repr=False, kw_only=True)
class MultiTaskModel(BaseEstimator, ABC):  # type: ignore[misc]
    """One network for all columns of ``y``, as a scikit-learn estimator.

    Args:
        sharing: The architecture (``polytask list sharing``).
        experts: Number of experts, for architectures that have some; None: the architecture's default.
        widths: Layer widths of every expert; None: the architecture's default.
        tower_widths: Layer widths of every task's own tower; None: one layer of 32.
        balancer: How the tasks are joined (``polytask list balancers``).
        epochs: Passes over the training rows; ``"auto"``: about 1,000 steps, but between 10 and 40 passes.
        batch_size: Rows a step; ``"auto"``: a 32nd of the rows, between 32 and 1,024.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay of matrices.
        validation_fraction: Share of the rows that select the weights and end training; 0: all rows train, and the last
            weights are kept; ``"auto"``: 0.1 from 500 rows on, else 0.
        patience: Evaluations without a better validation score before training stops; 0 never stops early. There are at
            most 25 evaluations.
        random_state: Decides initial weights, order, dropout and validation rows.
        device: ``"auto"`` takes CUDA where there is one.
        features: Per column its ``[features]`` table (``{"age": {"kind": "numeric"}}``).
        sharing_options: Further options of the architecture.
        balancer_options: Options of the balancer.
        config: Tables of the configuration, on top of everything else (``{"train": {"decay": "linear"}}``).
        allow_code: Modules of your own that options may name.

    Attributes:
        bundle_: The model with its preprocessing: ``bundle_.model`` is a `torch.nn.Module`.
        task_names_: The columns of ``y``.
        history_: Records of all steps and evaluations.
        n_iter_: Steps trained.
        n_features_in_: Columns of ``X``.
        feature_names_in_: Their names, where ``X`` has names.
    """

    sharing: str = "mmoe"
    experts: int | None = None
    widths: Sequence[int] | None = None
    tower_widths: Sequence[int] | None = None
    balancer: str = "equal"
    epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    validation_fraction: float | Literal["auto"] = "auto"
    patience: int = 5
    random_state: int | np.random.RandomState | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    features: Mapping[str, TaskTable] | None = None
    sharing_options: TaskTable | None = None
    balancer_options: TaskTable | None = None
    config: TaskTable | None = None
    allow_code: Sequence[str] = ()

    # what a model defines

    @abstractmethod
    def _task_tables(self, targets: Sequence[Target]) -> dict[str, TaskTable]:
        """Per column of ``y`` its kind and options."""

    def _wanted(self) -> Sequence[str] | None:
        """The columns of ``y`` to read, where the user names them."""
        return None

    # what users call

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Trains one network for all columns of ``y``.

        Args:
            X: A DataFrame, whose columns become what their types and values suggest (numbers, categories, dates, lists
                of ids), or an array. Where all are floats, they are scaled and no more. NaN and None are missing
                values.
            y: A DataFrame with one column per task, or an array ``[rows]`` or ``[rows, tasks]``. NaN and None are
                labels that were not observed: the task does not learn from that row.
            sample_weight: One weight a row, for all tasks; rows of weight 0 are left out.

        Raises:
            InputError: With everything that is wrong with parameters and data.
            ValueError: What scikit-learn says of arrays that are none.
        """
        features = self._read(X, reset=True)
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        targets, self._several, named = read_targets(y, self._wanted())
        check_consistent_length(X, targets[0].values)
        weights = None
        if sample_weight is not None:
            weights = read_weights(sample_weight, features.num_rows)
            rows = np.flatnonzero(weights)
            features, weights = features.take(rows), weights[rows]
            targets = [Target(one.name, one.values[rows], one.observed[rows]) for one in targets]
        self._train(features, targets, weights, named=named)
        return self

    def predict(self, X: Any) -> Any:
        """Classes of the user's own, or numbers.

        Returns:
            ``[rows]`` where ``y`` had one dimension. Else ``[rows, tasks]``, and a DataFrame where ``X`` is one.

        Raises:
            ValueError: ``X`` has other columns than in `fit`.
        """
        columns = {name: self._decided(name, values) for name, values in self._outputs(self._read(X)).items()}
        if not self._several:
            return columns[self.task_names_[0]]
        if is_frame(X):
            return frame_like(columns, X)
        kinds = {column.dtype.kind for column in columns.values()}
        kind = object if len(kinds) > 1 else None
        return np.stack([column.astype(kind) if kind else column for column in columns.values()], axis=1)

    def predictions(self, X: Any) -> Any:
        """Everything that the model says: probabilities and numbers, one column per task, or per task and class.

        Returns:
            A DataFrame of the kind of ``X``; an Arrow table where ``X`` is an array. Columns are called as in the files
            that ``polytask predict`` writes: ``TASK``, and ``TASK_CLASS`` for tasks with several classes.
        """
        table = self._read(X)
        with input_errors():
            found = self.bundle_.predict(table, keys=())
        columns = {name: found.column(name).to_numpy() for name in found.column_names}
        return frame_like(columns, X if is_frame(X) else found)

    def task_function(self, task: str | None = None) -> Callable[[Any], np.ndarray]:
        """A function of rows for one task, as tools that explain or probe models want it.

        It takes arrays (of objects too) or DataFrames with the columns of `fit`, in that order, and gives the
        probability of the second class ``[rows]``, or all of them ``[rows, classes]`` where there are more, or numbers.

        Args:
            task: A column of ``y``; may be left out where there is one.

        Raises:
            InputError: There is no such task.
        """
        check_is_fitted(self)
        name = self.task_names_[0] if task is None and len(self.task_names_) == 1 else task
        if name not in self.task_names_:
            raise InputError(Problem("task", f"is {name!r}", suggest(str(name), self.task_names_)))

        def values(X: Any) -> np.ndarray:
            if not is_frame(X):
                X = np.asarray(X)
                X = X[None] if X.ndim == 1 else X
            return self._outputs(self._named(X))[name]

        return values

    def model_inputs(self, X: Any) -> Features:
        """Rows as the tensors that ``bundle_.model``, a `torch.nn.Module`, and its ``encoder`` read."""
        return model_inputs(self.bundle_, self._read(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The mean over tasks: accuracy where there are classes, else R^2; rows that are not observed are left out."""
        outputs = self._outputs(self._read(X))
        targets, _, _ = read_targets(y, self.task_names_)
        weights = None if sample_weight is None else read_weights(sample_weight, len(targets[0].values))
        scores = []
        for target in targets:
            known = target.observed
            if known.any():
                own = None if weights is None else weights[known]
                guess = self._decided(target.name, outputs[target.name])[known]
                if self._classes[target.name] is None:
                    scores.append(r2_score(target.values[known].astype(np.float64), guess, sample_weight=own))
                else:
                    scores.append(np.average(guess == target.values[known], weights=own))
        return float(np.mean(scores)) if scores else float("nan")

    def save(self, path: Path | str) -> Path:
        """Writes the bundle, which `polytask.load` and ``polytask predict`` read; nothing in it is pickled."""
        check_is_fitted(self)
        return self.bundle_.save(path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "bundle_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.target_tags.required = tags.target_tags.multi_output = True
        return tags

    # the road from rows to a network

    def _read(self, X: Any, *, reset: bool = False) -> pa.Table:
        """``X`` as a table, after scikit-learn's own checks."""
        if not reset:
            check_is_fitted(self)
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return self._named(X, reset=reset)
        least = 2 if reset else 1
        array = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=least)
        return self._named(array, reset=reset)

    def _named(self, X: Any, *, reset: bool = False) -> pa.Table:
        """``X`` with the names of the columns in `fit`."""
        if reset and is_frame(X):
            table = frame_table(X)
            self._columns = table.column_names
            return table
        if reset:
            self._columns = [f"x{number}" for number in range(X.shape[1])]
        width = X.shape[1]
        if width != len(self._columns):
            raise InputError(Problem("X", f"has {width} columns, fit had {len(self._columns)}"))
        if is_frame(X):
            return frame_table(X).rename_columns(self._columns)
        return array_table(X, self._columns)

    def _train(self, features: pa.Table, targets: Sequence[Target], weights: Column | None, *, named: bool) -> None:
        """Trains on rows that all have weight."""
        tables = {name: dict(table) for name, table in self._task_tables(targets).items()}
        taken, columns, codes = set(features.column_names), {}, []
        if named and (both := sorted(taken & tables.keys())):
            remedy = "take it out of X, or name the label otherwise"
            raise InputError(Problem(f"column '{name}'", "is in X and in y", remedy) for name in both)
        self._classes: dict[str, np.ndarray | None] = {}
        for target in targets:
            table = tables[target.name]
            label = _free(target.name, taken)
            table["label"] = label
            if table["kind"] in CLASS_KINDS:
                classes = np.asarray(table["classes"]) if table.get("classes") else target.classes
                self._classes[target.name] = classes
                table["classes"] = list(own_values(classes))
                codes.append(target.codes(classes))
                columns[label] = class_labels(codes[-1], classes)
            else:
                self._classes[target.name] = None
                columns[label] = target.numbers()
        if weights is not None:
            name = _free("sample_weight", taken)
            columns[name] = pa.array(weights)
            for table in tables.values():
                table.setdefault("weight", name)
        rows = pa.table({**dict(zip(features.column_names, features.columns, strict=True)), **columns})
        draw = check_random_state(self.random_state)
        seed = int(draw.randint(2**31 - 1))
        train, validation = divided(len(rows), validation_share(self, len(rows)), codes, draw)
        plain = all(pa.types.is_floating(kind) and not looks_like_id(name) for name, kind in _types(features))
        numbers = features.column_names if plain else ()
        config = configuration(self, numbers, tables, len(train), seed)
        with input_errors():
            found = train_in_memory(config, rows, train, validation)
        self._keep(found, [target.name for target in targets])

    def _keep(self, found: Trained, names: Sequence[str]) -> None:
        self.bundle_, self.history_ = found.bundle, found.history
        self.task_names_ = tuple(names)
        self.n_iter_ = max(record.step for record in found.history)

    def _outputs(self, table: pa.Table) -> dict[str, np.ndarray]:
        """Per task the probability of its second class, those of all its classes, or numbers."""
        with input_errors():
            found = self.bundle_.predict(table, keys=())
        columns = (column.to_numpy().astype(np.float64) for column in found.columns)
        outputs = {}
        for task in self.bundle_.model.tasks:
            if task.constant_prediction.dim():
                values = np.stack([next(columns) for _ in range(len(task.constant_prediction))], axis=1)
                outputs[task.name] = values / values.sum(1, keepdims=True)
            else:
                outputs[task.name] = next(columns)
        return outputs

    def _decided(self, name: str, values: np.ndarray) -> Column:
        """The likeliest class, or the number itself."""
        classes = self._classes[name]
        if classes is None:
            return values
        return classes[(values > 0.5).astype(int) if values.ndim == 1 else values.argmax(1)]

    def _probabilities(self, X: Any) -> dict[str, np.ndarray]:
        """``[rows, classes]`` per task with classes."""
        return {
            name: np.stack([1.0 - values, values], axis=1) if values.ndim == 1 else values
            for name, values in self._outputs(self._read(X)).items()
            if self._classes[name] is not None
        }


def _types(table: pa.Table) -> list[tuple[str, pa.DataType]]:
    return list(zip(table.column_names, table.schema.types, strict=True))


def _free(name: str, taken: set[str]) -> str:
    """The name, or one like it that no column has; it is taken from now on."""
    while name in taken:
        name = f"{name}_"
    taken.add(name)
    return name
