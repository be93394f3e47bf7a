"""Chooses where to cut a probability."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from polytask.decisions import Threshold
from polytask.decisions.threshold import Rule

Floats = Float[np.ndarray, "cuts"]


def fit_threshold(
    rule: Rule, p: Float[np.ndarray, "rows"], y: Float[np.ndarray, "rows"], weights: Float[np.ndarray, "rows"] | None
) -> Threshold:
    """The best of all cuts between two neighbouring predictions.

    Args:
        rule: What is best: a number is taken as it is; ``"f1"`` and ``"youden"`` (recall - false positive rate) are
            maximised; ``{"precision": 0.9}`` gives the largest recall with at least that precision, ``{"recall": 0.8}``
            the largest precision with at least that recall, ``{"rate": 0.05}`` the cut whose share of rows above it is
            nearest; ``{"cost": (1, 5)}`` the least sum of costs of a false yes and a false no.
        p: Predictions, calibrated where they are served so.
        y: Labels.
        weights: Sample weights.

    Returns:
        The threshold; where the wanted precision is nowhere reached, that with the highest one, and ``met`` is False.

    Example:
        >>> p, y = np.array([0.1, 0.2, 0.4, 0.8]), np.array([0.0, 1.0, 0.0, 1.0])
        >>> fit_threshold({"precision": 0.9}, p, y, None).value, fit_threshold({"recall": 1.0}, p, y, None).value
        (0.6000000000000001, 0.15000000000000002)
    """
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    values, place = np.unique(np.asarray(p, np.float64), return_inverse=True)
    falling = (len(values) - 1) - place
    yes = np.append(0.0, np.cumsum(np.bincount(falling, weights * y)))  # true yes with the k highest values
    no = np.append(0.0, np.cumsum(np.bincount(falling, weights * (1 - y))))
    top = 1.0 if values[-1] < 1.0 else 2.0
    edges = np.concatenate([[top], values[::-1], [-values[0]]])
    cuts = (edges[:-1] + edges[1:]) / 2
    cuts[-1] = 0.0
    if isinstance(rule, int | float):
        k = int(np.count_nonzero(values >= rule))
        return Threshold(float(rule), rule, _reached(yes, no, k, len(y)))
    with np.errstate(invalid="ignore", divide="ignore"):
        gain, met = _gain(rule, yes, no)
    k = int(np.argmax(gain))
    return Threshold(float(cuts[k]), rule, _reached(yes, no, k, len(y)), None if met is None else bool(met[k]))


def _gain(rule: Rule, yes: Floats, no: Floats) -> tuple[Floats, Bool[np.ndarray, "cuts"] | None]:
    """What to maximise over cuts, and where a wanted value is met."""
    everything, precision, recall = yes + no, yes / (yes + no), yes / yes[-1]
    if rule == "f1":
        return np.nan_to_num(2 * yes / (everything + yes[-1])), None
    if rule == "youden":
        return np.nan_to_num(recall - no / no[-1], nan=-np.inf), None
    assert isinstance(rule, dict)
    ((name, wanted),) = rule.items()
    if name == "cost":
        assert isinstance(wanted, tuple | list)
        return -(wanted[0] * no + wanted[1] * (yes[-1] - yes)), None
    assert isinstance(wanted, int | float)
    if name == "rate":
        return -np.abs(everything / everything[-1] - wanted), np.ones(len(yes), np.bool_)
    reach, other = (precision, recall) if name == "precision" else (recall, precision)
    reach, other = np.nan_to_num(reach, nan=-1.0), np.nan_to_num(other, nan=-1.0)
    met = reach >= wanted - 1e-12
    # where nothing reaches it, the nearest
    return (np.where(met, 2.0 + other, -np.inf) if met.any() else reach), met


def _reached(yes: Floats, no: Floats, k: int, rows: int) -> dict[str, float | None]:
    above, everything = float(yes[k] + no[k]), float(yes[-1] + no[-1])
    return {
        "precision": float(yes[k]) / above if above else None,
        "recall": float(yes[k] / yes[-1]) if yes[-1] else None,
        "f1": float(2 * yes[k]) / (above + float(yes[-1])) if above + yes[-1] else None,
        "rate": above / everything if everything else None,
        "rows": rows,
    }
