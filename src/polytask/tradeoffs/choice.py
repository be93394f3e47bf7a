"""Which point is shipped: a preference, a rule, or floors; decided on validation rows alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polytask.errors import Problem, UserError, suggest
from polytask.tradeoffs.grid import Preference, rounded, shown
from polytask.tradeoffs.points import Measure, Reached, front_of

RULES = ("knee", "best-mean")
PART = "validation"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for.

    Attributes:
        rule: ``knee`` or ``best-mean``; None with a preference, or where floors alone are given.
        preference: Of the traded tasks.
        method: The only method to look at.
        floors: Per task the worst value of its primary metric that will do.
    """

    rule: str | None = None
    preference: Preference | None = None
    method: str | None = None
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The wish as one would say it."""
        what = f"the preference {shown(self.preference)}" if self.preference else self.rule or "most for the others"
        floors = ", ".join(f"{task} {value:g}" for task, value in self.floors.items())
        return what + (f" of {self.method}" if self.method else "") + (f", no worse than {floors}" if floors else "")


def read_wish(
    choose: str | None,
    floors: Mapping[str, float],
    tasks: Sequence[str],
    methods: Sequence[str],
    where: str = "--choose",
) -> Wish:
    """Reads ``"0.3,0.7"``, ``"click=0.3,like=0.7"``, ``"knee"``, ``"best-mean"``, each after ``"METHOD:"`` or not.

    Raises:
        UserError: With all that is wrong.

    Example:
        >>> read_wish("pamal:like=3,click=1", {}, ["click", "like"], ["linear", "pamal"])
        Wish(rule=None, preference=(0.25, 0.75), method='pamal', floors={})
    """
    problems = [
        Problem(f"--floor {task}", "no traded task has this name", suggest(task, tasks))
        for task in floors
        if task not in tasks
    ]
    problems += [
        Problem(f"--floor {task}", f"{value} given", "give a number")
        for task, value in floors.items()
        if not math.isfinite(value)
    ]
    text = (choose or "").strip()
    method, colon, rest = text.rpartition(":")
    if colon and method not in methods:
        problems.append(Problem(where, f"no method is called '{method}'", suggest(method, methods)))
    rule, preference = None, None
    if rest in RULES:
        rule = rest
    elif rest:
        try:
            preference = _preference(rest, tasks, where)
        except UserError as error:
            problems += error.problems
    elif not floors:
        rule = "best-mean"
    if preference is not None and floors:
        what = "a preference and floors"
        problems.append(Problem(where, f"{what} are given, and one decides alone", "leave one of them out"))
    if problems:
        raise UserError(problems)
    return Wish(rule, preference, method or None, dict(floors))


def _preference(text: str, tasks: Sequence[str], where: str) -> Preference:
    example = f"for example {','.join(f'{task}={1 / len(tasks):.2g}' for task in tasks)}, or one of {', '.join(RULES)}"
    pieces = [piece.strip() for piece in text.split(",")]
    named = [piece.partition("=") for piece in pieces]
    given: dict[str, str] = {}
    if all(equals for _, equals, _ in named):
        given = {name.strip(): value for name, _, value in named}
        unknown = [name for name in given if name not in tasks]
        if unknown:
            raise UserError(
                Problem(where, f"no traded task is called '{name}'", suggest(name, tasks)) for name in unknown
            )
    elif len(pieces) == len(tasks):
        given = dict(zip(tasks, pieces, strict=True))
    try:
        numbers = [float(given[task]) for task in tasks]
    except (KeyError, ValueError):
        what = f"'{text}' is no rule and no preference of {', '.join(tasks)}"
        remedy = suggest(text, RULES) if suggest(text, RULES).startswith("did") else example
        raise UserError(Problem(where, what, remedy)) from None
    if not all(math.isfinite(one) and one >= 0 for one in numbers) or not sum(numbers) > 0:
        raise UserError(Problem(where, f"'{text}' is no preference", "give numbers from 0, not all 0"))
    return rounded([one / sum(numbers) for one in numbers])


def choose(points: Sequence[Reached], measures: Sequence[Measure], wish: Wish) -> Reached:
    """The point that a wish means.

    - A preference: the nearest point of each method; of several methods the one that saves most of the losses,
      weighed by the preference.
    - ``knee``: of the efficient points the one farthest from the plane through the ends, with every primary metric
      scaled to the range of these points. Das, "On characterizing the 'knee' of the Pareto curve based on
      Normal-Boundary Intersection", Structural Optimization 18, 1999.
    - ``best-mean``: the efficient point with the greatest mean improvement over the constant prediction, which also
      selects weights in training.
    - floors: points below are left out. Without a rule, the one with the greatest mean of the other tasks' scaled
      primary metrics.

    Raises:
        UserError: If no point reaches the floors.
    """
    own = [point for point in points if wish.method in (None, point.method)]
    if wish.preference is not None:
        return _nearest(own, measures, wish.preference)
    planned = [point for point in own if point.planned]
    kept = front_of(planned, measures, PART).efficient().tolist()
    efficient = [point for point, keep in zip(planned, kept, strict=True) if keep]
    allowed = [point for point in efficient if not below(point.values(PART, measures), measures, wish.floors)]
    if not allowed:
        raise UserError(_out_of_reach(efficient, measures, wish))
    if wish.rule == "best-mean":
        even = {one.task: 1.0 for one in measures}
        return max(allowed, key=lambda point: _mean(point.selection(PART, even)))
    others = [number for number, one in enumerate(measures) if one.task not in wish.floors]
    counted = range(len(measures)) if wish.rule == "knee" or not others else others
    rows = _scaled([point.values(PART, measures) for point in efficient], measures)
    sums = [sum(row[number] for number in counted) for row in rows]
    return max(allowed, key=lambda point: sums[efficient.index(point)])


def best_seed(point: Reached, measures: Sequence[Measure], wish: Wish) -> int:
    """Which of a point's seeds is shipped: of those that reach the floors, the best by the point's own preference."""
    weights = {one.task: share for one, share in zip(measures, point.preference, strict=True)}
    values = point.selection(PART, weights)
    rows = [[scores[PART][one.task][one.metric] for one in measures] for scores in point.scores]
    short = [bool(below(row, measures, wish.floors)) for row in rows]
    return max(range(len(values)), key=lambda number: (not short[number], values[number], -number))


def below(values: Sequence[float], measures: Sequence[Measure], floors: Mapping[str, float]) -> list[str]:
    """The tasks that do not reach their floor."""
    return [
        one.task
        for value, one in zip(values, measures, strict=True)
        if one.task in floors and one.sign * value < one.sign * floors[one.task]
    ]


def _nearest(points: Sequence[Reached], measures: Sequence[Measure], preference: Preference) -> Reached:
    weights = {one.task: share for one, share in zip(measures, preference, strict=True)}
    methods = dict.fromkeys(point.method for point in points)
    near = [
        min(
            (point for point in points if point.method == method),
            key=lambda point: math.dist(point.preference, preference),
        )
        for method in methods
    ]
    return max(near, key=lambda point: _mean(point.selection(PART, weights)))


def _scaled(rows: Sequence[Sequence[float]], measures: Sequence[Measure]) -> list[list[float]]:
    """Every measure from 0 at its worst to 1 at its best."""
    columns = []
    for one, column in zip(measures, zip(*rows, strict=True), strict=True):
        signed = [one.sign * value for value in column]
        low, width = min(signed), max(signed) - min(signed)
        columns.append([(value - low) / width if width else 1.0 for value in signed])
    return [list(row) for row in zip(*columns, strict=True)]


def _out_of_reach(efficient: Sequence[Reached], measures: Sequence[Measure], wish: Wish) -> list[Problem]:
    problems = []
    for number, one in enumerate(measures):
        if one.task not in wish.floors:
            continue
        best = max(efficient, key=lambda point: one.sign * point.values(PART, measures)[number])
        value = best.values(PART, measures)[number]
        asked = wish.floors[one.task]
        what = f"no point reaches {one.metric} {asked:g} on validation rows" + (
            " together with the others" * (len(wish.floors) > 1)
        )
        problems.append(
            Problem(f"--floor {one.task}", f"{what}; the best is {value:.4f}, of {best.name}", "ask for less")
        )
    return problems


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else -math.inf
