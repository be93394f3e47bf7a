"""The tables of the configuration that speak of data: sources, splits, features."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from polytask.config.base import Fraction, Names, Positive, Table, Values


def _one_or_more(value: object) -> object:
    """One path stays one string; several become a tuple, so that ``source`` has two shapes only."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("expected a data set's name, a path, or a list of paths")


class SplitValues(Table):
    """Which values of the split column mean which part."""

    train: Values
    validation: Values
    test: Values = ()


class SplitConfig(Table):
    """How rows are divided, where no files are given for a part.

    Attributes:
        by: ``random``; ``hash`` of a key column (all rows of a user on one side); ``time`` (the last rows by a time
            column are the test part); ``column`` (an existing column says it).
        validation: Share of the rows for validation.
        test: Share of the rows for the test part.
        column: The key, time or split column.
        values: For ``column``: the values that mean train, validation and test.
        seed: Decides ``random`` and ``hash``.
    """

    by: Literal["random", "hash", "time", "column"] = "random"
    validation: Fraction = 0.1
    test: Fraction = 0.1
    column: str | None = None
    values: SplitValues | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.by != "random" and self.column is None:
            raise ValueError(f'a split by {self.by} needs a column; add column = "..."')
        if self.by == "random" and self.column is not None:
            raise ValueError('a random split reads no column; remove `column`, or say by = "hash", "time" or "column"')
        if self.by == "column" and self.values is None:
            raise ValueError('a split by column needs values; add values = { train = ["train"], validation = ["val"] }')
        if self.by != "column" and self.values is not None:
            raise ValueError(f'values belong to by = "column", not to by = "{self.by}"; remove values')
        if self.by != "column" and self.validation + self.test >= 1.0:
            raise ValueError(
                f"validation = {self.validation} and test = {self.test} leave nothing to train on; use smaller shares"
            )
        return self


class DataConfig(Table):
    """Where the rows come from and how they are divided.

    Attributes:
        source: A named data set, ``"simulator:short-video"``, a path, a glob, a folder, or several paths; paths are
            relative to the TOML file.
        protocol: For a named data set: another way of using its rows (``polytask data list`` names them).
        validation: A file for the validation part.
        test: A file for the test part.
        keys: Columns passed through to the predictions, never features.
        drop: Columns that are never features.
        split: How the rows of ``source`` are divided; ``None`` takes the data set's own split, or 80/10/10 at random.
    """

    source: Annotated[str | tuple[str, ...], BeforeValidator(_one_or_more)]
    protocol: str | None = None
    validation: str | None = None
    test: str | None = None
    keys: Names = ()
    drop: Names = ()
    split: SplitConfig | None = None


class FeatureOptions(Table):
    """How one column becomes a feature; every key may be left out.

    Attributes:
        kind: The column's role; inferred when left out.
        encoding: For numbers: ``auto`` chooses by the column's distribution.
        min_count: Categories seen less often share the out-of-vocabulary row.
        max_vocabulary: At most so many categories, the most frequent ones.
        hash_buckets: Hash values into so many rows in place of a vocabulary.
        vocabulary: Columns that name the same vocabulary share one embedding.
        pooling: How the items of a sequence become one vector.
        target: For ``pooling = "attention"``: the categorical column that asks.
        separator: Splits a string column into a sequence (``"a|b|c"``).
        impute: What a missing number becomes.
        unit: What numbers of a date-time column count since 1970; told by their size when left out.
    """

    kind: Literal["numeric", "categorical", "sequence", "boolean", "datetime", "drop"] | None = None
    encoding: Literal["auto", "robust", "quantile", "piecewise", "periodic"] | None = None
    min_count: Positive | None = None
    max_vocabulary: Positive | None = None
    hash_buckets: Annotated[int, Field(ge=2)] | None = None
    vocabulary: str | None = None
    pooling: Literal["mean", "sum", "attention"] | None = None
    target: str | None = None
    separator: Annotated[str, Field(min_length=1)] | None = None
    impute: Literal["median", "mean", "zero"] | None = None
    unit: Literal["s", "ms", "us", "ns"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.pooling == "attention" and self.target is None:
            raise ValueError('pooling = "attention" needs a target; add target = "the categorical column that asks"')
        if self.target is not None and self.pooling != "attention":
            raise ValueError('target is read by pooling = "attention" only; add it or remove target')
        if self.unit is not None and self.kind not in (None, "datetime"):
            raise ValueError(f'unit belongs to kind = "datetime", not to kind = "{self.kind}"; remove one of them')
        if self.hash_buckets is not None and (self.min_count is not None or self.max_vocabulary is not None):
            raise ValueError(
                "hash_buckets replaces the vocabulary; remove min_count and max_vocabulary, or hash_buckets"
            )
        return self

    def over(self, defaults: FeatureOptions) -> FeatureOptions:
        """These options, with those left out taken from ``defaults``.

        Example:
            >>> FeatureOptions(kind="numeric").over(FeatureOptions(kind="drop", impute="mean")).impute
            'mean'
        """
        own = self.model_dump(exclude_none=True)
        if "hash_buckets" in own:
            defaults = defaults.model_copy(update={"min_count": None, "max_vocabulary": None})
        return FeatureOptions(**{**defaults.model_dump(exclude_none=True), **own})
