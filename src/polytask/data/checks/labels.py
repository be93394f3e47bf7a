"""What the label counts say: values that the task cannot have, constant labels, parts without positives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polytask.data.checks.bound import BoundTask
from polytask.data.checks.parts import PARTS, PartName
from polytask.data.checks.tally import MAX_VALUES, LabelTally, Value
from polytask.errors import Problem, Severity
from polytask.specs import LabelSpec

MAX_CLASSES = 1_000  # a softmax over more is a retrieval problem
MANY_ORDINAL = 100
FEW_POSITIVES = 20
_LISTED = 12
_POSITIVE_WORDS = ("1", "yes", "y", "true", "t", "pos", "positive", "click", "clicked", "buy", "bought", "on")


def label_problems(task: BoundTask, tallies: Mapping[PartName, LabelTally]) -> list[Problem]:
    """Everything that the counts of one task say, the training part first."""
    spec = task.spec
    train = tallies.get("train", LabelTally())
    if train.observed == 0:
        return [_nothing_observed(spec, train)]
    problems = _wrong_values(spec, tallies)
    problems += [] if problems else _constant(spec, train)
    if any(problem.severity == "error" for problem in problems):
        return problems
    for part in PARTS[1:]:
        if part in tallies:
            problems += _thin_part(spec, part, tallies[part])
    if spec.kind in ("multiclass", "ordinal"):
        problems += _unseen_classes(spec, train, tallies)
    return problems


def positive_value(spec: LabelSpec) -> Value:
    """The label value that a binary task predicts."""
    return spec.classes[1] if spec.classes is not None and len(spec.classes) == 2 else 1


def show_values(tally: LabelTally, values: Iterable[Value], *, shown: int = 4) -> str:
    """Values with their row counts and first rows, most frequent first.

    Example:
        >>> show_values(LabelTally(counts={2: 30, 3: 1}, first={2: 17, 3: 4}), [3, 2])
        '2 (30 rows, first: row 17), 3 (1 row, first: row 4)'
    """
    ordered = sorted(values, key=lambda value: -tally.counts[value])
    texts = []
    for value in ordered[:shown]:
        rows = f"{tally.counts[value]:,} row{'s' if tally.counts[value] != 1 else ''}"
        first = tally.first.get(value, -1)
        texts.append(f"{value!r} ({rows}{f', first: row {first}' if first >= 0 else ''})")
    return ", ".join(texts) + (f" and {len(ordered) - shown:,} more" if len(ordered) > shown else "")


def _where(spec: LabelSpec) -> str:
    return f"tasks.{spec.task}"


def _nothing_observed(spec: LabelSpec, train: LabelTally) -> Problem:
    if train.rows == 0:
        return Problem(_where(spec), "the train part has no rows", "check data.split and the files")
    if spec.where is not None and train.in_space == 0:
        what = f"the sample space where = {spec.where!r} is true in none of the {train.rows:,} train rows"
        return Problem(f"{_where(spec)}.where", what, "check its values and their spelling")
    if spec.after is not None and train.in_space == 0:
        what = f"{spec.after.task!r}, which must happen before it, did so in none of the {train.rows:,} train rows"
        return Problem(f"{_where(spec)}.after", what, "check its label")
    what = f"label {spec.label!r} is missing in all {train.in_space:,} train rows" + (
        " of the sample space" if spec.where or spec.after else ""
    )
    return Problem(_where(spec), what, "check the column, or remove the task")


def _wrong_values(spec: LabelSpec, tallies: Mapping[PartName, LabelTally]) -> list[Problem]:
    checks = {
        "binary": _wrong_binary,
        "multiclass": _wrong_classes,
        "ordinal": _wrong_classes,
        "count": _wrong_count,
        "regression": _wrong_regression,
    }
    check = checks.get(spec.kind)
    if check is None:
        return []
    # what is wrong in one part is wrong in the others: the first says it, and the remedy holds for all
    found = (check(spec, part, tallies[part]) for part in PARTS if part in tallies)
    return next((problems for problems in found if problems), [])


def _outside(spec: LabelSpec, part: PartName, tally: LabelTally, wrong: list[Value], remedy: str, of: str) -> Problem:
    rows = sum(tally.counts[value] for value in wrong)
    what = f"{rows:,} of {tally.observed:,} observed {part} rows hold {of}: {show_values(tally, wrong)}"
    return Problem(f"{_where(spec)}.label", what, remedy)


def _wrong_binary(spec: LabelSpec, part: PartName, tally: LabelTally) -> list[Problem]:
    if spec.classes is not None:
        if len(spec.classes) != 2:
            what = f"a binary task has two classes, found {list(spec.classes)!r}"
            return [Problem(f"{_where(spec)}.classes", what, "give [negative, positive]")]
        return _not_in_classes(spec, part, tally)
    if tally.overflow:
        what = f"more than {MAX_VALUES:,} distinct values cannot be a binary label"
        return [Problem(f"{_where(spec)}.label", what, 'use kind = "regression", or a comparison as the label')]
    wrong = [value for value in tally.counts if value not in (0, 1)]
    if not wrong:
        return []
    values = list(tally.counts)
    if len(values) == 2 or (tally.text and len(values) == 1):
        what = f"a binary label without classes must be 0 or 1, found {show_values(tally, values)}"
        return [
            Problem(f"{_where(spec)}.label", what, f"add classes = {_toml(ordered_pair(tally))} (negative, positive)")
        ]
    if tally.text:
        likely = max(wrong, key=lambda value: tally.counts[value])
        remedy = f"""name the positive value: label = "{spec.label} == '{likely}'", or use kind = "multiclass\""""
        return [_outside(spec, part, tally, wrong, remedy, f"text, in {len(values):,} distinct values")]
    numbers = sorted(value for value in values if not isinstance(value, str))
    positive = next((value for value in numbers[1:] if value > 0), numbers[-1])
    remedy = f'use label = "{spec.label} >= {positive}", or kind = "multiclass" or "count"'
    return [_outside(spec, part, tally, wrong, remedy, "a value other than 0 and 1")]


def ordered_pair(tally: LabelTally) -> list[Value]:
    """The two values of a binary label, negative first, as far as words, size and frequencies tell.

    Example:
        >>> ordered_pair(LabelTally(counts={"yes": 5, "no": 3})), ordered_pair(LabelTally(counts={2: 3, 1: 5}))
        (['no', 'yes'], [1, 2])
    """

    def rank(value: Value) -> tuple[bool, float]:
        if not isinstance(value, str):
            return False, float(value)
        return value.lower().strip(" .") in _POSITIVE_WORDS, -tally.counts[value]

    ordered = sorted(tally.counts, key=rank)
    return ordered if len(ordered) == 2 else ["(the other value)", *ordered]


def _wrong_classes(spec: LabelSpec, part: PartName, tally: LabelTally) -> list[Problem]:
    limit = MANY_ORDINAL if spec.kind == "ordinal" else MAX_CLASSES
    if spec.classes is not None:
        return _not_in_classes(spec, part, tally)
    numbers = [value for value in tally.counts if not isinstance(value, str)]
    wrong: list[Value] = [value for value in numbers if value < 0 or float(value) % 1 != 0]
    if wrong and len(numbers) <= limit:
        listed = _toml(sorted(numbers)) if len(numbers) <= _LISTED else "[...]"
        remedy = f'class numbers count from 0; add classes = {listed}, or use kind = "regression"'
        return [_outside(spec, part, tally, wrong, remedy, "a negative or fractional class")]
    if tally.overflow or len(tally.counts) > limit:
        number = f"more than {MAX_VALUES:,}" if tally.overflow else f"{len(tally.counts):,}"
        what = f"{number} distinct values in the {part} part are too many classes (limit {limit:,})"
        return [Problem(f"{_where(spec)}.label", what, 'group rare values, or use kind = "regression" or "count"')]
    if tally.text and spec.kind == "ordinal":
        what = f"text has no order by itself, found {show_values(tally, tally.counts)}"
        return [
            Problem(
                f"{_where(spec)}.label",
                what,
                f"add classes = {_toml(sorted(tally.counts, key=str))} from lowest to highest",
            )
        ]
    return []


def _not_in_classes(spec: LabelSpec, part: PartName, tally: LabelTally) -> list[Problem]:
    classes = spec.classes or ()
    if repeated := [value for value in dict.fromkeys(classes) if classes.count(value) > 1]:
        what = f"{_toml(list(repeated))} stand there more than once"
        return [Problem(f"{_where(spec)}.classes", what, "name every class once")]
    wrong = [value for value in tally.counts if value not in classes]
    if not wrong:
        return []
    remedy = f"add them to classes = {_toml(list(classes))}, or exclude their rows with where"
    return [_outside(spec, part, tally, wrong, remedy, "a value outside the classes")]


def _wrong_count(spec: LabelSpec, part: PartName, tally: LabelTally) -> list[Problem]:
    problems = _wrong_regression(spec, part, tally)
    if tally.text:
        return problems
    finite = [value for value in tally.counts if not isinstance(value, str) and abs(value) < float("inf")]
    wrong: list[Value] = [value for value in finite if value < 0 or float(value) % 1 != 0]
    if wrong:
        of = "a number that is no count (negative or fractional)"
        problems.append(_outside(spec, part, tally, wrong, 'use kind = "regression"', of))
    return problems


def _wrong_regression(spec: LabelSpec, part: PartName, tally: LabelTally) -> list[Problem]:
    if tally.text:
        what = f"a {spec.kind} label must be a number, found text: {show_values(tally, tally.counts)}"
        return [Problem(f"{_where(spec)}.label", what, 'use kind = "multiclass", or turn the column into numbers')]
    if tally.infinite:
        if part == "train" and tally.infinite == tally.observed:
            what = f"all {tally.observed:,} observed {part} rows are infinite"
            return [Problem(f"{_where(spec)}.label", what, "there is nothing to learn: check the column")]
        first = f"first: row {tally.first_infinite}"
        what = f"{tally.infinite:,} of {tally.observed:,} observed {part} rows are infinite ({first})"
        remedy = "they count as not observed; clip them if they mean something"
        return [Problem(f"{_where(spec)}.label", what, remedy, "warning")]
    return []


def _constant(spec: LabelSpec, train: LabelTally) -> list[Problem]:
    if train.overflow or len(train.counts) > 1:
        return []
    value = next(iter(train.counts))
    if spec.kind == "binary" and value in (0, False) and spec.classes is None:
        what = f"no positive among {train.observed:,} observed train rows"
    else:
        what = f"constant label: {value!r} in all {train.observed:,} observed train rows"
    return [Problem(_where(spec), what, "there is nothing to learn: check label and where, or remove the task")]


def _thin_part(spec: LabelSpec, part: PartName, tally: LabelTally) -> list[Problem]:
    def problem(what: str, remedy: str, severity: Severity = "warning") -> list[Problem]:
        return [Problem(_where(spec), what, remedy, severity)]

    if tally.observed == 0:
        return problem(
            f"no observed label in the {part} part", f"its {part} scores will be empty; use a larger {part} part"
        )
    if spec.kind != "binary":
        return []
    positives = tally.counts.get(positive_value(spec), 0)
    if positives == 0:
        what = f"no positive among {tally.observed:,} observed {part} rows"
        return problem(what, f"AUC is undefined there; use a larger {part} part or another split")
    if positives == tally.observed:
        return problem(
            f"all {positives:,} observed {part} rows are positive", "AUC is undefined there; use another split"
        )
    if positives < FEW_POSITIVES:
        what = f"only {positives:,} positive{'s' * (positives > 1)} among {tally.observed:,} observed {part} rows"
        return problem(what, "its scores will be noisy; compare over seeds", "note")
    return []


def _unseen_classes(spec: LabelSpec, train: LabelTally, tallies: Mapping[PartName, LabelTally]) -> list[Problem]:
    problems = []
    for part in PARTS[1:]:
        tally = tallies.get(part, LabelTally())
        unseen = [value for value in tally.counts if value not in train.counts]
        if unseen:
            what = f"classes in the {part} part that the train part lacks: {show_values(tally, unseen)}"
            problems.append(
                Problem(f"{_where(spec)}.label", what, "they cannot be learned; group rare classes", "warning")
            )
    return problems


def _toml(values: list[Value]) -> str:
    texts = [
        "true"
        if value is True
        else "false"
        if value is False
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
        for value in values
    ]
    return "[" + ", ".join(texts) + "]"
