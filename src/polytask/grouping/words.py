"""What a grouping says, in plain words, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polytask.comparing.verdict import listed
from polytask.grouping.affinity import Affinity
from polytask.grouping.choice import NEGLIGIBLE, Candidate, Choice, received, within_noise
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
    suggested, saves = choice.suggested, _saves(affinity, choice.suggested)
    if all(len(group.tasks) == 1 for group in suggested.groups):
        return "Train one network per task: no grouping saves a task anything on average."
    if len(suggested.groups) > 1:
        return f"Train {len(suggested.groups)} models, {spelled(affinity, suggested)}: {saves}."
    more = "more" if suggested is choice.best else "more that counts"
    division = f"no division into at most {len(choice.candidates)} groups gives {more}"
    return f"Train all {len(affinity.tasks)} tasks together: {saves}, and {division}."


def _saves(affinity: Affinity, candidate: Candidate) -> str:
    how = "a step on" if affinity.method == "lookahead" else "training beside"
    return (
        f"{how} another task of its group saves a task {affinity.unit.signed(candidate.score)} of its loss on average"
    )


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
    whole, best, suggested, unit = choice.candidates[0], choice.best, choice.suggested, affinity.unit
    known = best.behind.count > 1
    if not known:
        yield f"There is one sample ({affinity.of}): how much of this is noise is not known."
    if suggested is not best:
        yield (
            f"The highest score has {spelled(affinity, best)} with {unit.signed(best.score)}, "
            f"{_above(affinity, suggested, best)}: {_why(affinity, suggested, best)}."
        )
    if suggested is not whole:
        above = _above(affinity, whole, best)
        yield f"One model of all tasks has {unit.signed(whole.score)}; the highest score is {above}."


def _above(affinity: Affinity, candidate: Candidate, best: Candidate) -> str:
    unit, behind = affinity.unit, candidate.behind
    if behind.count < 2:
        return f"{unit.signed(best.score - candidate.score)} above"
    low, high = unit.number(behind.low), unit.number(behind.high)
    return f"{unit.number(behind.mean)} [{low}, {high}] {unit.name} above, over {affinity.of}"


def _why(affinity: Affinity, candidate: Candidate, best: Candidate) -> str:
    if within_noise(candidate):
        return "that is within noise"
    part = (best.score - candidate.score) / affinity.own
    return f"that is {part:.1%} of what a task's own step saves it ({affinity.unit.signed(affinity.own)})"


def _harmed(affinity: Affinity, candidate: Candidate) -> Iterator[str]:
    own = np.nan_to_num(np.diag(affinity.mean))
    gains = zip(affinity.tasks, received(affinity, candidate.groups), own, strict=True)
    harmed = [
        f"{task} ({affinity.unit.signed(gain.mean)})"
        for task, gain, alone in gains
        if gain.sign < 0 and gain.mean < -NEGLIGIBLE * alone
    ]
    if harmed:
        yield f"Its group harms {listed(harmed)} by more than noise: alone would be better by this measure."


def _strongest(affinity: Affinity) -> Iterator[str]:
    known, values = off_diagonal(affinity.mean)
    if not known.any() or len(affinity.tasks) < 3:
        return
    best, worst = np.where(known, values, -np.inf).argmax(), np.where(known, values, np.inf).argmin()
    places = [np.unravel_index(int(one), values.shape) for one in (best, worst)]
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
