"""What a grouping says, in plain words, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polytask.comparing.statistics import Interval
from polytask.comparing.verdict import listed
from polytask.grouping.affinity import Affinity, Unit
from polytask.grouping.choice import Candidate, Choice, received
from polytask.grouping.objective import off_diagonal


def verdict(affinity: Affinity, choice: Choice) -> tuple[str, ...]:
    """Sentences, the suggestion first."""
    return tuple(_sentences(affinity, choice))


def _sentences(affinity: Affinity, choice: Choice) -> Iterator[str]:
    yield _suggestion(affinity, choice)
    yield from _noise(affinity, choice)
    yield from _harmed(affinity, choice.suggested)
    yield from _strongest(affinity)
    yield from _cautions(affinity, choice)


def _suggestion(affinity: Affinity, choice: Choice) -> str:
    suggested, best = choice.suggested, choice.best
    receives = f"a task receives {affinity.unit.signed(suggested.score)} on average"
    if len(suggested.groups) > 1:
        return f"Train {len(suggested.groups)} models, {spelled(affinity, suggested)}: {receives}."
    divided = f"no division into at most {len(choice.candidates)} groups"
    if suggested is best:
        return f"Train all {len(affinity.tasks)} tasks together: {receives}, and {divided} gives more."
    noise = f"more by more than the noise of {affinity.of}"
    return f"Train all {len(affinity.tasks)} tasks together: {receives}, and {divided} gives {noise}."


def spelled(affinity: Affinity, candidate: Candidate) -> str:
    """All groups in a sentence."""
    return listed([in_words(affinity, candidate, number) for number in range(len(candidate.groups))])


def in_words(affinity: Affinity, candidate: Candidate, number: int) -> str:
    """A group by its tasks; helpers are named apart."""
    group = candidate.groups[number]
    helpers = [affinity.tasks[task] for task in group.tasks if task not in group.serves]
    served = " + ".join(affinity.tasks[task] for task in group.serves)
    return f"({served}{', helped by ' + ' + '.join(helpers) if helpers else ''})"


def _noise(affinity: Affinity, choice: Choice) -> Iterator[str]:
    whole, best, suggested = choice.candidates[0], choice.best, choice.suggested
    if best.behind.count < 2:
        yield f"There is one sample ({affinity.of}): how much of this is noise is not known."
        return
    over = f"over {affinity.of}"
    if suggested is not best:
        yield (
            f"The highest score has {spelled(affinity, best)} with {affinity.unit.signed(best.score)}, "
            f"{_points(affinity.unit, suggested.behind)} above, {over}: that is within noise."
        )
    if suggested is not whole:
        yield f"One model of all tasks is {_points(affinity.unit, whole.behind)} behind the highest score, {over}."


def _harmed(affinity: Affinity, candidate: Candidate) -> Iterator[str]:
    named = list(zip(affinity.tasks, received(affinity, candidate.groups), strict=True))
    harmed = [f"{task} ({affinity.unit.signed(gain.mean)})" for task, gain in named if gain.sign < 0]
    if harmed:
        yield f"Its group harms {listed(harmed)} by more than noise: alone would be better by this measure."


def _strongest(affinity: Affinity) -> Iterator[str]:
    known, values = off_diagonal(affinity.mean)
    if not known.any() or len(affinity.tasks) < 3:
        return
    places = [np.unravel_index(int(one), values.shape) for one in (values.argmax(), values.argmin())]
    most, least = [
        f"{affinity.tasks[i]} for {affinity.tasks[j]} ({affinity.unit.signed(float(values[i, j]))})" for i, j in places
    ]
    yield f"The best partner is {most}, the worst {least}."


def _cautions(affinity: Affinity, choice: Choice) -> Iterator[str]:
    chains = [listed([affinity.tasks[task] for task in unit]) for unit in affinity.units if len(unit) > 1]
    for chain in chains:
        yield f"{chain} are one chain and stay together."
    outside = ~np.eye(len(affinity.tasks), dtype=bool)
    if affinity.method == "lookahead" and (missing := int((np.isnan(affinity.mean) & outside).sum())):
        yield f"{missing} affinities are not known, since no probe had rows of both tasks; they do not count."
    if affinity.failures:
        count = len(affinity.failures)
        yield f"{count} run{'s' * (count > 1)} failed; what they would have shown does not count."
    if not choice.exact:
        yield "With so many tasks the search is not exhaustive: a better grouping may exist."
    if affinity.method == "lookahead":
        yield "Affinities are of single steps in one training of all tasks; only --check trains the groups themselves."


def _points(unit: Unit, gain: Interval) -> str:
    low, high = unit.number(gain.low), unit.number(gain.high)
    return f"{unit.number(gain.mean)} [{low}, {high}] {unit.name}"
