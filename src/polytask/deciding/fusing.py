"""Fits a fused ranking score: scales, targets, search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from polytask.config import FusionConfig
from polytask.deciding.ranking import Groups, Target, gauc_target, measure, ndcg_target
from polytask.deciding.rows import Labelled
from polytask.deciding.search import search
from polytask.deciding.trade_off import Point, TradeOff
from polytask.decisions import Decisions, Fusion, Scale
from polytask.errors import Problem, raise_errors

_KNOTS = 101
Floats = npt.NDArray[np.float64]


def learn_scale(values: Floats) -> Scale:
    """Ranks of predicted values as shares from 0.01 to 1, linear between the percentiles.

    Example:
        >>> learn_scale(np.array([1.0, 2.0, 3.0]))(np.array([2.0])).round(3).tolist()
        [0.505]
    """
    shares = np.linspace(0.01, 1.0, _KNOTS)
    x, place = np.unique(np.quantile(values, np.linspace(0.0, 1.0, _KNOTS)), return_inverse=True)
    return Scale(tuple(x.tolist()), tuple((np.bincount(place, shares) / np.bincount(place)).tolist()))


@dataclass(frozen=True)
class Judge:
    """Measures scores of some rows: the objective, and every task's ranking quality.

    Attributes:
        groups: The rows by group.
        objective: The target of the objective.
        tasks: Per task its own target.
    """

    groups: Groups
    objective: Target
    tasks: Mapping[str, Target]

    def __call__(self, scores: Floats) -> tuple[float, dict[str, float]]:
        """Objective and qualities of scores that stand in the order of the groups."""
        order, runs = self.groups.ranked(scores)
        quality = {name: measure(self.groups, target, order, runs) for name, target in self.tasks.items()}
        return measure(self.groups, self.objective, order, runs), quality


def judge_of(rows: Labelled, config: FusionConfig, probabilities: Sequence[str], names: Sequence[str]) -> Judge:
    """The targets of a configuration on some rows.

    Args:
        rows: With value and groups.
        config: Objective, places.
        probabilities: Which predictions are probabilities; those are measured by GAUC, others by NDCG.
        names: Tasks whose quality is measured.

    Raises:
        UserError: Values cannot be gains or classes, or no group says anything about them.
    """
    assert rows.value is not None and rows.groups is not None
    groups, (values, observed) = Groups.of(rows.groups), rows.value
    raise_errors(_value_problems(config, values[observed]))
    if config.objective == "gauc":
        objective = gauc_target(groups, values > 0.5, observed)
    else:
        objective = ndcg_target(groups, values, observed, config.at)
    tasks = {}
    for name in names:
        labels, seen = rows.labels[name].astype(np.float64), rows.observed[name]
        if name in probabilities:
            tasks[name] = gauc_target(groups, labels > 0.5, seen)
        else:
            tasks[name] = ndcg_target(groups, np.maximum(labels, 0.0), seen, config.at)
    checked = {"fusion.value": objective, **{f"fusion.floors.{name}": tasks[name] for name in config.floors}}
    wanted = {"gauc": "both classes", "ndcg": "two rows or more and a value above 0"}
    raise_errors(
        Problem(
            where,
            f"no group of '{config.group}' has {wanted[target.metric]}, so that nothing can be ranked",
            "name another group or value, or give more rows",
        )
        for where, target in checked.items()
        if not (target.best > 0).any()
    )
    return Judge(groups, objective, tasks)


def fit_fusion(
    config: FusionConfig, rows: Labelled, decisions: Decisions, *, probabilities: Sequence[str], names: Sequence[str],
    measured: Sequence[str], seed: int = 0,
) -> TradeOff:  # fmt: skip
    """Fits the weights of a fused score.

    Weights are searched in units of each part's spread within groups, which is what moves a ranking.

    Args:
        config: What to fit.
        rows: With raw predictions, value and groups.
        decisions: Calibrations, which the score reads predictions through.
        probabilities: Which predictions are probabilities; others are scaled by rank.
        names: Predictions to fuse.
        measured: Tasks whose quality is measured.
        seed: Of the search.

    Raises:
        UserError: See `judge_of`.
    """
    judge = judge_of(rows, config, probabilities, measured)
    predictions = {name: values for name, values in decisions.calibrated(rows.predictions).items() if name in names}
    scales = {name: learn_scale(predictions[name].astype(np.float64)) for name in names if name not in probabilities}
    even = Fusion(config.form, dict.fromkeys(names, 1.0), scales, config.objective, config.value, config.group,
                  config.at, config.floors)  # fmt: skip
    terms = even.terms(predictions)[:, judge.groups.order]
    spread = _spread(terms, judge.groups)
    scaled = terms / spread[:, None]
    seen: list[tuple[float, dict[str, float]]] = []

    def evaluate(weights: Floats) -> tuple[float, float]:
        objective, quality = judge(weights @ scaled)
        seen.append((objective, quality))
        missing = sum(max(0.0, floor - quality[task]) for task, floor in config.floors.items())
        return (-math.inf if math.isnan(objective) else objective), missing

    tried, best = search(len(names), evaluate, tries=config.samples, seed=seed)
    points = []
    for one, (objective, quality) in zip(tried, seen, strict=True):
        weights = one.weights / spread
        share = dict(zip(names, (weights / weights.sum()).tolist(), strict=True))
        points.append(Point(share, objective, quality, one.missing == 0))
    chosen = points[best]
    reached = {"objective": chosen.objective, **chosen.quality}
    fusion = replace(even, weights=chosen.weights, reached=reached, met=chosen.met)
    metrics = {name: target.metric for name, target in judge.tasks.items()}
    return TradeOff(fusion, metrics, tuple(points), best, len(rows), len(judge.groups.sizes))


def reached_on(fusion: Fusion, rows: Labelled, decisions: Decisions, probabilities: Sequence[str]) -> dict[str, float]:
    """What a fitted score reaches on other rows, in the form of `Fusion.reached`.

    Raises:
        UserError: See `judge_of`.
    """
    config = FusionConfig(value=fusion.value, group=fusion.group, objective=fusion.objective, at=fusion.at)
    judge = judge_of(rows, config, probabilities, [name for name in fusion.reached if name != "objective"])
    objective, quality = judge(fusion(decisions.calibrated(rows.predictions))[judge.groups.order])
    return {"objective": objective, **quality}


def _spread(terms: npt.NDArray[np.float64], groups: Groups) -> Floats:
    """The standard deviation of every part within groups; 1 where it is the same for all rows of a group."""
    mean = np.add.reduceat(terms, groups.starts, axis=1) / groups.sizes
    within = terms - np.repeat(mean, groups.sizes, axis=1)
    spread: Floats = np.sqrt((within**2).mean(axis=1))
    return np.where(spread > 1e-12, spread, 1.0)


def _value_problems(config: FusionConfig, values: Floats) -> list[Problem]:
    where = "fusion.value"
    if not len(values):
        return [Problem(where, f"'{config.value}' is missing in every row", "name another value")]
    if config.objective == "gauc":
        odd = values[(values != 0) & (values != 1)]
        what = f"'{config.value}' is neither 0 nor 1 in {len(odd):,} of {len(values):,} rows"
        remedy = f'write an expression such as "{config.value} > 30", or objective = "ndcg"'
    else:
        odd = values[values < 0]
        what = f"'{config.value}' is below 0 in {len(odd):,} of {len(values):,} rows, which is no gain of NDCG"
        remedy = "write an expression that is not negative"
    return [Problem(where, f"{what} (first {odd[0]:g})", remedy)] if len(odd) else []
