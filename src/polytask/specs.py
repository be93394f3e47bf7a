"""What rooms tell one another about labels and features, in plain values: nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

TaskName = str


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """Where a task finds its label, and which rows belong to it.

    Attributes:
        task: The task's name; also the name of its prediction column.
        kind: ``binary``, ``multiclass``, ``ordinal``, ``count`` or ``regression``.
        label: A column, or an expression over columns (``"marital == 'Never married'"``).
        where: The sample space, an expression; rows outside it are not observed.
        weight: A column of non-negative sample weights.
        group: A column of user or query ids.
        classes: For labels that are not numbers: the values in class order (for ``binary``: negative, positive).
        after: The task that must happen before this one; rows where it did not are outside the sample space.
    """

    task: TaskName
    kind: str
    label: str
    where: str | None = None
    weight: str | None = None
    group: str | None = None
    classes: tuple[str | int | bool, ...] | None = None
    after: LabelSpec | None = None


@dataclass(frozen=True, slots=True)
class LabelStats:
    """What the training rows say about one label: the source of scaling, head biases and constant predictions.

    Attributes:
        rows: Observed rows.
        weight: Sum of their sample weights.
        mean: Weighted mean (for ``binary``: the positive rate).
        std: Weighted standard deviation, 1.0 where the label is constant.
        minimum: Smallest value.
        maximum: Largest value.
        class_weights: Sum of weights per class, for ``binary``, ``multiclass`` and ``ordinal``.
        quantiles: The values at 0, 1/100, ..., 1 for numeric labels (sampled for large data).
    """

    rows: int
    weight: float
    mean: float
    std: float
    minimum: float
    maximum: float
    class_weights: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SequenceSpec:
    """A sequence column as the encoder sees it.

    Attributes:
        name: The column.
        pooling: ``mean``, ``sum`` or ``attention``.
        target: For ``attention``: the categorical column that asks, as an index into `FeatureSpec.columns`.
    """

    name: str
    pooling: str = "mean"
    target: int | None = None


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What an encoder must know of the fitted preprocessing, and nothing of tables.

    Attributes:
        columns: Names of the id columns, in the order of `Features.ids`.
        rows: Rows of the fused embedding table, over all vocabularies.
        unseen: Per id column, the row of the table that stands for values that training has not seen.
        numerics: Names of the numeric inputs, in the order of `Features.numeric`.
        embeddings: Per numeric input ``"linear"`` (the scaled value itself), ``"piecewise"`` or ``"periodic"``.
        knots: Per numeric input, ascending knots in the scaled unit; empty unless its embedding is ``"piecewise"``.
        sequences: The sequence columns.
    """

    columns: tuple[str, ...]
    rows: int
    numerics: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    knots: tuple[tuple[float, ...], ...] = ()
    sequences: tuple[SequenceSpec, ...] = ()
    unseen: tuple[int, ...] = ()
