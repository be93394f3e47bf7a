"""From affinities to a suggestion: the fewest groups that are not behind the best ones by anything that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polytask.comparing.statistics import Interval, Values, interval
from polytask.grouping.affinity import Affinity
from polytask.grouping.exact import exact_groupings
from polytask.grouping.local import local_groupings
from polytask.grouping.objective import Groups, score

EXACT = 12
"""Units up to which the best groupings are found exactly."""
MOST = 4
"""Groups that are tried if nobody says how many."""
NEGLIGIBLE = 0.02
"""Share of what a task's own step saves below which a difference is none, however sure it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """The best grouping with so many groups.

    Attributes:
        groups: The groups.
        score: Mean over tasks of what each receives.
        samples: The same on each sample of the affinities.
        behind: How far it is behind the candidate with the highest score, over the samples.
    """

    groups: Groups
    score: float
    samples: Values
    behind: Interval


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What is suggested.

    Attributes:
        candidates: By their number of groups, one group of all tasks first.
        best: The one with the highest score.
        suggested: The one with the fewest groups among those that are behind it by no more than noise, or by less than
            2 % of what a task's own step saves (``lookahead``).
        exact: Whether nothing better exists with so many groups.
    """

    candidates: tuple[Candidate, ...]
    best: Candidate
    suggested: Candidate
    exact: bool


def choose(affinity: Affinity, most: int | None = None, *, overlap: bool = False) -> Choice:
    """The best groupings of 1, 2, ... groups, and the one to take.

    Args:
        affinity: What was measured.
        most: Largest number of groups; `MOST` if left out.
        overlap: Whether a group may hold tasks that another one serves.
    """
    exact = len(affinity.units) <= EXACT
    search = exact_groupings if exact else local_groupings
    found = search(affinity.mean, affinity.units, MOST if most is None else most, overlap=overlap)
    scored = [(groups, score(affinity.mean, groups), _scores(affinity, groups)) for groups in found]
    _, _, ahead = max(scored, key=lambda one: round(one[1], 12))  # the first among equals has the fewest groups
    candidates = tuple(Candidate(*one, interval(ahead - one[2])) for one in scored)
    best = next(one for one in candidates if one.samples is ahead)
    suggested = next(one for one in candidates if one is best or within_noise(one) or negligible(affinity, one, best))
    return Choice(candidates, best, suggested, exact)


def within_noise(candidate: Candidate) -> bool:
    """Whether samples do not tell it from the best."""
    return candidate.behind.count > 1 and candidate.behind.sign <= 0


def negligible(affinity: Affinity, candidate: Candidate, best: Candidate) -> bool:
    """Whether the difference to the best is next to nothing beside what a task learns from itself."""
    return best.score - candidate.score < NEGLIGIBLE * affinity.own


def _scores(affinity: Affinity, groups: Groups) -> Values:
    return np.array([score(sample, groups) for sample in affinity.samples])


def received(affinity: Affinity, groups: Groups) -> list[Interval]:
    """Per task what it receives in the group that serves it, over the samples."""
    found = []
    for task in range(len(affinity.tasks)):
        (own,) = [group.tasks for group in groups if task in group.serves]
        others = [other for other in own if other != task]
        found.append(interval(_mean_towards(affinity, others, task)))
    return found


def _mean_towards(affinity: Affinity, others: Sequence[int], task: int) -> Values:
    values = affinity.samples[:, list(others), task]
    known = ~np.isnan(values)
    return np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1)
