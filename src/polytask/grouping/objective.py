"""What a grouping is worth: how much the other members of its group help each task, on average over the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Matrix = Float[np.ndarray, "tasks tasks"]


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks that share a network, by their numbers.

    Attributes:
        tasks: All of them, ascending.
        serves: Those that are predicted by this network; the others only help.
    """

    tasks: tuple[int, ...]
    serves: tuple[int, ...]


Groups = tuple[Group, ...]


def help_within(affinity: Matrix, members: Bool[np.ndarray, "groups tasks"]) -> Float[np.ndarray, "groups tasks"]:
    """Per group and task the mean affinity of the group's other members towards the task.

    ``H[G, i] = mean of affinity[j, i] over j in G without i``, and 0 where nobody else is in the group: a task alone is
    neither helped nor harmed. An affinity that is not known (NaN) does not count. For a task outside the group it is
    what it would receive as one more member.

    Example:
        >>> affinity = np.array([[0.9, 0.2, 0.1], [0.3, 0.9, -0.2], [0.1, -0.4, 0.9]])
        >>> help_within(affinity, np.array([[True, True, False], [True, True, True]])).round(2).tolist()
        [[0.3, 0.2, -0.05], [0.2, -0.1, -0.05]]
    """
    known, values = off_diagonal(affinity)
    sums, counts = members @ values, members @ known
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), 0.0)


def off_diagonal(affinity: Matrix) -> tuple[Matrix, Matrix]:
    """Which affinities between two different tasks are known, as 0 and 1, and their values, with 0 for the others."""
    known = ~np.isnan(affinity) & ~np.eye(len(affinity), dtype=bool)
    return known.astype(np.float64), np.where(known, affinity, 0.0)


def score(affinity: Matrix, grouping: Sequence[Group]) -> float:
    """The mean over tasks of what each receives in the group that serves it.

    Example:
        >>> affinity = np.array([[0.9, 0.2, 0.1], [0.3, 0.9, -0.2], [0.1, -0.4, 0.9]])
        >>> round(score(affinity, [Group((0, 1), (0, 1)), Group((2,), (2,))]), 4)
        0.1667
    """
    members = np.array([[task in group.tasks for task in range(len(affinity))] for group in grouping])
    within = help_within(affinity, members)
    return float(sum(within[row, list(group.serves)].sum() for row, group in enumerate(grouping)) / len(affinity))


def ordered(groups: Sequence[Group]) -> Groups:
    """The same groups by their first served task."""
    return tuple(sorted(groups, key=lambda group: group.serves))
