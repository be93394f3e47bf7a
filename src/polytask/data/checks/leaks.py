"""Features that copy a label, or almost determine it: found on a sample, one column at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polytask.data.checks.auc import Bools, Floats, Ints, auc, explained, held_out_majority, held_out_means
from polytask.data.checks.bound import BoundTask
from polytask.data.checks.columns import family
from polytask.errors import Problem

LEAK_AUC = 0.995
LEAK_ACCURACY = 0.995
LEAK_R2 = 0.995
RESCALED = 0.99999  # correlation from which a column is the label in another unit
CHANCE = 1e-9  # probability below which a coincidence is none
FEW = 20  # positives and negatives below which an AUC proves nothing
_SEED = 0


@dataclass(frozen=True, slots=True)
class Leak:
    """One column that knows a label.

    Attributes:
        column: The feature.
        task: The task.
        score: How well it does, and in what unit (``"AUC .998"``).
        copy: The column equals the label, or is a one-to-one image of it.
        missingness: Not its value but whether it is missing tells.
        one_sided: It is a yes/no column, and every yes is a positive: most often an outcome that needs the label's.
    """

    column: str
    task: str
    score: str
    copy: bool = False
    missingness: bool = False
    one_sided: bool = False

    def problem(self) -> Problem:
        """What the user reads."""
        where = f"column '{self.column}'"
        if self.one_sided:
            what = f"implies a positive label of '{self.task}' ({self.score})"
            return Problem(where, what, f'if it is an outcome, add it to data.drop: "{self.column}"', "note")
        if self.missingness:
            what = f"whether it is missing almost determines the label of '{self.task}' ({self.score})"
        elif self.copy:
            what = f"is a copy of the label of '{self.task}' ({self.score})"
        else:
            what = f"almost determines the label of '{self.task}' by itself ({self.score})"
        return Problem(where, what, f'if it is known only afterwards, add it to data.drop: "{self.column}"', "warning")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    missing: Bools
    numbers: Floats | None  # NaN where missing
    codes: Ints  # equal values have equal codes
    distinct: int


@dataclass(frozen=True, slots=True)
class _Target:
    task: str
    kind: str
    values: Floats  # for labels that are classes: class numbers
    classes: int


def find_leaks(tasks: Sequence[BoundTask], sample: pa.Table, kinds: Mapping[str, str]) -> list[Leak]:
    """Every feature column of the sample that knows a label by itself.

    Numbers are judged by the AUC of their value; every column with repeating values also by each value's mean label on
    one half of the sample, evaluated on the other half; and every column with gaps by where they are.

    Args:
        tasks: The tasks, bound to the sample's columns.
        sample: Rows of the training part.
        kinds: The role of each feature column; others are not looked at.
    """
    batch = sample.combine_chunks().to_batches(max_chunksize=None)[0] if sample.num_rows else None
    if batch is None:
        return []
    columns = [
        _column(name, sample.column(name).combine_chunks())
        for name, kind in kinds.items()
        if kind not in ("sequence", "drop")
        and name in sample.column_names
        and family(sample.column(name).type) != "lists"
    ]
    leaks = []
    for task in tasks:
        labels, _, observed = task.observe(batch)
        if pa.types.is_floating(labels.type):
            observed = observed & np.isfinite(labels.to_numpy(zero_copy_only=False))
        target = _target(task, labels.filter(pa.array(observed)))
        leaks += [leak for column in columns if target and (leak := _judge(column, target, observed))]
    return leaks


def _judge(column: _Column, target: _Target, observed: Bools) -> Leak | None:
    missing, codes = column.missing[observed], column.codes[observed]
    numbers = None if column.numbers is None else column.numbers[observed]
    score = _copies(numbers, codes, missing, target)
    if score:
        return Leak(column.name, target.task, score, copy=True)
    if missing.any() and not missing.all():
        score = _determines(missing.astype(np.float64), missing.astype(np.int64), target)
        if score:
            return Leak(column.name, target.task, score, missingness=True)
    score = _implies(numbers, missing, target)
    if score:
        return Leak(column.name, target.task, score, one_sided=True)
    score = _determines(numbers, codes if column.distinct * 4 <= len(codes) else None, target, missing)
    return Leak(column.name, target.task, score) if score else None


def _copies(numbers: Floats | None, codes: Ints, missing: Bools, target: _Target) -> str | None:
    """How the column repeats the label, or ``None`` where it does not."""
    if missing.any():
        return None
    rows = f"in all {len(codes):,} sampled rows"
    if target.classes:
        pairs = np.unique(codes * target.classes + target.values.astype(np.int64))
        labels = len(np.unique(target.values))
        return f"one label per value {rows}" if len(pairs) == len(np.unique(codes)) == labels > 1 else None
    if numbers is None or float(np.ptp(numbers)) == 0.0 or float(np.ptp(target.values)) == 0.0:
        return None
    if bool(np.all(numbers == target.values)):
        return f"equal {rows}"
    correlation = float(np.corrcoef(numbers, target.values)[0, 1])
    return f"correlation {correlation:.5f}" if abs(correlation) >= RESCALED else None


def _implies(numbers: Floats | None, missing: Bools, target: _Target) -> str | None:
    """For yes/no columns: that every yes is a positive, where chance would not have it so."""
    if target.kind != "binary" or numbers is None or not bool(np.isin(numbers[~missing], (0.0, 1.0)).all()):
        return None
    yes = numbers == 1.0
    rows, rate = int(yes.sum()), float((target.values == 1.0).mean())
    if rows < FEW or rate**rows > CHANCE or not bool((target.values[yes] == 1.0).all()):
        return None
    return f"positive in all {rows:,} sampled rows where it is 1"


def _determines(
    numbers: Floats | None, codes: Ints | None, target: _Target, missing: Bools | None = None
) -> str | None:
    """The score in words where it is suspiciously high, otherwise ``None``."""
    if target.kind == "binary":
        return _determines_binary(numbers, codes, target.values > 0.5, missing)
    fit = np.random.default_rng(_SEED).random(len(target.values)) < 0.5
    if codes is None or not fit.any() or fit.all():
        return None
    if target.classes:
        accuracy = held_out_majority(codes, target.values.astype(np.int64), fit)
        base = float(np.bincount(target.values[~fit].astype(np.int64)).max() / (~fit).sum())
        return (
            f"accuracy {accuracy:.4f} alone"
            if accuracy >= LEAK_ACCURACY and base < 1 - 2 * (1 - LEAK_ACCURACY)
            else None
        )
    share = explained(held_out_means(codes, target.values, fit), target.values[~fit])
    return f"R2 {share:.4f} alone" if share >= LEAK_R2 else None


def _determines_binary(
    numbers: Floats | None, codes: Ints | None, positive: Bools, missing: Bools | None
) -> str | None:
    if min(int(positive.sum()), int((~positive).sum())) < FEW:
        return None
    best = 0.0
    if numbers is not None:
        known = np.isfinite(numbers) if missing is None else np.isfinite(numbers) & ~missing
        if min(int(positive[known].sum()), int((~positive[known]).sum())) >= FEW and known.mean() > 0.5:
            value = auc(numbers[known], positive[known])
            best = max(value, 1.0 - value)
    fit = np.random.default_rng(_SEED).random(len(positive)) < 0.5
    held = positive[~fit]
    if codes is not None and min(int(held.sum()), int((~held).sum())) >= FEW // 2:
        best = max(best, auc(held_out_means(codes, positive.astype(np.float64), fit), held))
    return f"AUC {best:.4f} alone" if best >= LEAK_AUC else None


def _column(name: str, column: pa.Array) -> _Column:
    missing = column.is_null()
    encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    distinct = len(encoded.dictionary)
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), distinct).to_numpy(zero_copy_only=False)
    numbers = None
    if not pa.types.is_dictionary(column.type):
        numbers = _as_numbers(column)
        missing = pc.or_(missing, pa.array(np.isnan(numbers)))
    return _Column(name, missing.to_numpy(zero_copy_only=False), numbers, codes, distinct)


def _as_numbers(column: pa.Array) -> Floats:
    kind = column.type
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_temporal(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_null(kind):
        column = column.cast(pa.float64())
    # only an order is asked of the values: precision beyond 2^53 does not matter here
    values = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _target(task: BoundTask, labels: pa.Array) -> _Target | None:
    spec = task.spec
    if len(labels) < 2 * FEW:
        return None
    if spec.kind in ("multiclass", "ordinal"):
        encoded = pc.dictionary_encode(labels)
        return _Target(spec.task, spec.kind, encoded.indices.to_numpy().astype(np.float64), len(encoded.dictionary))
    if spec.kind == "binary" and spec.classes is not None and len(spec.classes) == 2:
        try:
            labels = pc.equal(labels, pa.scalar(spec.classes[1], labels.type))
        except (pa.ArrowException, TypeError):
            return None  # a class of another type; the label counts say so
    if pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type):
        return None
    return _Target(spec.task, spec.kind, _as_numbers(labels), 2 if spec.kind == "binary" else 0)
