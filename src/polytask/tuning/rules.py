"""Which trials are stopped early: rules that see the evaluations of earlier trials alone.

Both know several objectives: a trial is stopped only where it is behind in all of them, so that one that is good for a
single task goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

Curve = Sequence[Sequence[float]]
"""Per evaluation, one value per objective of the weights kept so far; greater is better."""
ENOUGH = 5
"""Earlier trials without which the median says little."""
PATIENCE = 0.25
"""Share of the evaluations before which the median rule stops nothing: learning rates still rise."""
FACTOR = 3
"""Of the trials that reach a rung, one in so many goes on; the next rung is so many times as far."""


def stops(rule: Literal["median", "halving", "none"], curve: Curve, earlier: Sequence[Curve], *, whole: int) -> bool:
    """Whether a trial is stopped after the last evaluation of its curve.

    ``median`` stops a trial that is behind the median of the earlier ones at the same evaluation (Golovin et al.,
    "Google Vizier", KDD 2017, section 3.2.2; here of the best so far). ``halving`` has rungs at 1/9 and 1/3 of the
    evaluations and lets the better third of all that came there go on (Li et al., "A System for Massively Parallel
    Hyperparameter Tuning", MLSys 2020, algorithm 2, with one bracket; trials do not wait for others).

    Args:
        rule: Which one.
        curve: Of the trial.
        earlier: Of trials before it, stopped ones included; one that ended by itself keeps its last values.
        whole: Evaluations of a trial that nothing stops.

    Example:
        >>> earlier = [[[0.1], [0.2 + 0.1 * n], [0.3]] for n in range(5)]
        >>> [stops("median", [[0.1], [value]], earlier, whole=3) for value in (0.39, 0.41)]
        [True, False]
    """
    here = len(curve)
    if rule == "none" or here >= whole:
        return False
    rivals = [one[here - 1] for one in earlier if len(one) >= here]
    if rule == "median":
        if len(rivals) < ENOUGH or here < PATIENCE * whole:
            return False
        return all(own < median(values) for own, values in zip(curve[-1], zip(*rivals, strict=True), strict=True))
    if here not in rungs(whole):
        return False
    kept = max(1, (len(rivals) + 1) // FACTOR)
    own = curve[-1]
    return all(sum(rival[number] > value for rival in rivals) >= kept for number, value in enumerate(own))


def rungs(whole: int) -> list[int]:
    """Evaluations after which halving decides.

    Example:
        >>> rungs(27), rungs(4), rungs(1)
        ([3, 9], [1, 2], [])
    """
    return sorted({here for power in (2, 1) if (here := -(-whole // FACTOR**power)) < whole})
