"""Which kind of task a label column is, by its values: what `polytask init` writes and `polytask.fit` assumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from polytask.data.checks import PARTS, LabelTally, Parts
from polytask.data.checks.bound import BoundTask, bind_tasks
from polytask.data.checks.labels import MAX_CLASSES, ordered_pair, positive_value, show_values
from polytask.data.checks.tally import LabelScan
from polytask.data.parts import Part
from polytask.data.sources import TableSource
from polytask.errors import Problem, UserError, raise_errors
from polytask.specs import LabelSpec

FEW_CLASSES = 20  # integers with at most so many values may be classes
SMALL_COUNT = 100.0  # mean above which whole numbers are amounts rather than counts
RARE = 0.2  # how frequent the largest of a count's values is at most, beside the most frequent one
LONG_TAIL = 20.0  # largest value over mean from which a target is learned on the log scale


@dataclass(frozen=True, slots=True)
class ProposedTask:
    """A task as it will be written.

    Attributes:
        spec: Name, kind, label and the rest.
        comment: What its values look like.
        options: Options of the task's builder.
    """

    spec: LabelSpec
    comment: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def given(cls, spec: LabelSpec, tally: LabelTally) -> ProposedTask:
        """A task that a data set brings along."""
        return cls(spec, _comment(spec, tally))

    @property
    def name(self) -> str:
        """The task's name."""
        return self.spec.task

    @property
    def kind(self) -> str:
        """The task's kind."""
        return self.spec.kind

    def grouped(self, column: str) -> ProposedTask:
        """The same with a group column."""
        return replace(self, spec=replace(self.spec, group=column))


def propose_task(column: str, tally: LabelTally) -> ProposedTask:
    """The task for one label column.

    Raises:
        UserError: The column has no value, one value only, or text with too many values.

    Example:
        >>> tally = LabelTally(rows=9, in_space=9, observed=9, counts={1: 2, 2: 3, 5: 4}, minimum=1)
        >>> task = propose_task("stars", tally)
        >>> task.kind, task.spec.classes
        ('multiclass', (1, 2, 5))
    """
    if tally.observed == 0 or (len(tally.counts) == 1 and not tally.overflow):
        what = "holds no value" if tally.observed == 0 else f"is constant: {show_values(tally, tally.counts)}"
        raise UserError(Problem(f"label {column}", what, "choose another label column"))
    if tally.text and (tally.overflow or len(tally.counts) > MAX_CLASSES):
        what = f"holds text with more than {MAX_CLASSES:,} different values"
        raise UserError(Problem(f"label {column}", what, "choose another label column, or write an expression"))
    kind, classes, options = _kind(tally)
    spec = LabelSpec(_task_name(column), kind, column, classes=classes)
    return ProposedTask(spec, _comment(spec, tally), options)


def propose_tasks(source: TableSource, columns: Sequence[str]) -> tuple[ProposedTask, ...]:
    """The tasks for some label columns, by all values that they hold.

    Raises:
        UserError: With every column that cannot be a label.
    """
    specs = [LabelSpec(name, "regression", name) for name in columns]
    tasks, tallies = tally_labels(source, specs)
    proposed: list[ProposedTask] = []
    problems: list[Problem] = []
    for task in tasks:
        try:
            one = propose_task(task.spec.label, tallies[task.spec.task])
            same = sum(before.name == one.name for before in proposed)
            proposed.append(
                replace(one, spec=replace(one.spec, task=f"{one.name}_{len(proposed) + 1}")) if same else one
            )
        except UserError as error:
            problems += error.problems
    raise_errors(problems)
    return tuple(proposed)


def tally_labels(source: TableSource, specs: Sequence[LabelSpec]) -> tuple[list[BoundTask], dict[str, LabelTally]]:
    """Counts all label values over all rows.

    Raises:
        UserError: Labels or sample spaces read columns that do not exist.
    """
    tasks, problems = bind_tasks(specs, source.schema)
    raise_errors(problems)
    scan = LabelScan(tuple(tasks))
    for piece in Parts({"train": Part(source)}).scan(sorted(scan.columns)):
        scan.update(piece)
    return tasks, {name: tallies[PARTS[0]] for name, tallies in scan.tallies.items()}


def _kind(tally: LabelTally) -> tuple[str, tuple[Any, ...] | None, dict[str, Any]]:
    values = tally.counts
    if not tally.overflow and len(values) == 2:
        return "binary", None if set(values) == {0, 1} else tuple(ordered_pair(tally)), {}
    if tally.text:
        return "multiclass", None, {}
    whole = not tally.overflow and all(float(value).is_integer() for value in values if not isinstance(value, str))
    if whole and tally.minimum >= 0 and _falls_from_zero(tally):
        return "count", None, {}
    if whole and len(values) <= FEW_CLASSES:
        numbers = sorted(value for value in values if not isinstance(value, str))
        plain = numbers == list(range(len(numbers)))
        return "multiclass", None if plain else tuple(int(value) for value in numbers), {}
    if whole and tally.minimum >= 0 and tally.mean <= SMALL_COUNT:
        return "count", None, {}
    skewed = tally.minimum >= 0 and tally.mean > 0 and tally.maximum > LONG_TAIL * tally.mean
    return "regression", None, {"scaling": "log1p"} if skewed else {}


def _falls_from_zero(tally: LabelTally) -> bool:
    """Whether 0 or 1 is the most frequent number and large ones are rare, as with counts of events."""
    numbers = sorted(value for value in tally.counts if not isinstance(value, str))
    mode = max(numbers, key=lambda value: tally.counts[value])
    after = [tally.counts[value] for value in numbers if value >= mode][:4]
    rare = tally.counts[numbers[-1]] < RARE * tally.counts[mode]
    return numbers[0] == 0 and mode <= 1 and len(numbers) > 2 and rare and after == sorted(after, reverse=True)


def _comment(spec: LabelSpec, tally: LabelTally) -> str:
    if spec.kind == "binary":
        text = f"{tally.rate(positive_value(spec)):.2%} positive"
    elif spec.kind in ("multiclass", "ordinal"):
        text = f"{len(tally.counts):,} classes"
    else:
        text = f"mean {tally.mean:.4g}, from {tally.minimum:.4g} to {tally.maximum:.4g}"
    missing = tally.in_space - tally.observed
    share = f"{missing / tally.in_space:.1%}" if tally.in_space else "0"
    return text + (f"; {share} of the rows have no label and are not observed" if missing else "")


def _task_name(column: str) -> str:
    """A column's name as a task's: no characters that a folder or a table's name would not take."""
    name = "".join(letter if letter.isalnum() or letter in "_-." else "_" for letter in column)
    return name.lstrip(".-") or "task"
