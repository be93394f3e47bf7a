"""Weights of least regret without derivatives: draws over the simplex, then a pattern search around the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Weights = Float[np.ndarray, "parts"]
_DRAWN = 2 / 3  # of all tries
_STEP, _SMALLEST = 0.25, 0.005


@dataclass(frozen=True)
class Tried:
    """One weighting.

    Attributes:
        weights: On the simplex.
        objective: What is to be large.
        missing: By how much the floors are missed, all together; 0 where they are met.
    """

    weights: Weights
    objective: float
    missing: float

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: first the floors, then the objective."""
        return -self.missing, self.objective


def search(
    parts: int, evaluate: Callable[[Weights], tuple[float, float]], *, tries: int, seed: int = 0
) -> tuple[list[Tried], int]:
    """Looks for the weighting with the largest objective among those that meet the floors.

    First equal weights, each part alone, and draws, half even (Dirichlet 1) and half near the edges (Dirichlet 0.3);
    then a pattern search (Hooke & Jeeves 1961): from the best weighting each part gets more or less, the best of these
    becomes the next, and where none is better steps are halved.

    Args:
        parts: How many weights.
        evaluate: The objective of a weighting, and by how much it misses the floors.
        tries: How often ``evaluate`` may be called.
        seed: Of the draws.

    Returns:
        All that was tried, and the place of the best.

    Example:
        >>> aim = np.array([0.7, 0.3])
        >>> tried, best = search(2, lambda w: (-float(np.abs(w - aim).sum()), 0.0), tries=100)
        >>> tried[best].weights.round(2).tolist()
        [0.7, 0.3]
    """
    rng = np.random.default_rng(seed)
    tried: list[Tried] = []

    def attempt(weights: Weights) -> Tried:
        tried.append(Tried(weights, *evaluate(weights)))
        return tried[-1]

    alone = np.eye(parts) if parts > 1 else np.empty((0, 1))
    drawn = int(tries * _DRAWN) - len(alone) - 1 if parts > 1 else 0
    for weights in (np.full(parts, 1 / parts), *alone):
        attempt(weights)
    for number in range(drawn):
        attempt(rng.dirichlet(np.full(parts, 1.0 if number % 2 else 0.3)))
    best, step = max(tried, key=lambda one: one.rank), _STEP
    while parts > 1 and step >= _SMALLEST and len(tried) < tries:
        moves = [move for part in range(parts) for move in _moves(best.weights, part, step)]
        found = max((attempt(move) for move in moves[: tries - len(tried)]), key=lambda one: one.rank)
        if found.rank > best.rank:
            best = found
        else:
            step /= 2
    return tried, next(number for number, one in enumerate(tried) if one is best)


def _moves(weights: Weights, part: int, step: float) -> list[Weights]:
    """The weighting with more and with less of one part."""
    more, less = weights.copy(), weights.copy()
    more[part] += step
    less[part] = max(0.0, less[part] - step)
    return [moved / moved.sum() for moved in (more, less) if moved.sum() > 0 and not np.array_equal(moved, weights)]
