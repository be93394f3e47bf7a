"""What to try next: a function of the seed, the trial's number and the trials that it may know of."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from polytask.tuning.journal import Trial, calm, distributions, encoded, load_optuna
from polytask.tuning.methods import Method
from polytask.tuning.space import Choices, Range
from polytask.tuning.table import SweepConfig
from polytask.tuning.trial import Objective

STARTUP = 8
"""Trials before the sampler learns; the first has the file's own values."""
ENOUGH = 15
"""Complete trials without which importances say little."""
DRAWS = 20
"""Draws after which a small space is gone through for a point that was not tried."""


def suggest(
    method: Method,
    index: int,
    known: Sequence[Trial],
    pending: Sequence[Trial],
    sweep: SweepConfig,
    objectives: Sequence[Objective],
) -> dict[str, Any]:
    """The values of one trial; no point is tried twice.

    With ``tpe``, a tree-structured Parzen estimator (Bergstra et al., "Algorithms for Hyper-Parameter Optimization",
    NeurIPS 2011; for several objectives Ozaki et al., JAIR 73, 2022), trials that run are taken for bad ones, so that
    those beside them go elsewhere. Failed trials are the worst ones.

    Args:
        method: Whose space it is.
        index: The trial's number.
        known: Finished trials whose results may be used.
        pending: Trials whose values alone are known.
        sweep: Sampler and seed.
        objectives: Directions.
    """
    optuna, space = load_optuna(), method.space
    tried = [encoded(space, one.params) for one in (*known, *pending)]
    kinds = distributions(optuna, space)
    drawn: dict[str, Any] = {}
    for draw in range(DRAWS):
        with calm(optuna):
            seed = _seed(sweep.seed, method.slug, index, draw)
            study = memory(method, known, pending, objectives, sampler=_sampler(optuna, sweep, seed))
            if index == 0 and draw == 0:
                study.enqueue_trial(encoded(space, method.start()))
            drawn = study.ask(kinds).params
        if drawn not in tried:
            break
    else:
        drawn = _untried(method, tried) or drawn
    return {key: one.decoded(drawn[key]) for key, one in space.items()}


def memory(
    method: Method, known: Sequence[Trial], pending: Sequence[Trial], objectives: Sequence[Objective], *, sampler: Any
) -> Any:
    """A study that holds these trials and nothing else."""
    optuna = load_optuna()
    directions = ["maximize" if one.higher_is_better else "minimize" for one in objectives]
    study = optuna.create_study(directions=directions, sampler=sampler)
    kinds, states = distributions(optuna, method.space), optuna.trial.TrialState
    waiting = {one.index for one in pending}
    for one in sorted((*known, *pending), key=lambda trial: trial.index):
        options: dict[str, Any] = {"params": encoded(method.space, one.params), "distributions": kinds}
        if one.outcome is None or one.index in waiting:
            trial = optuna.trial.create_trial(state=states.RUNNING, **options)
        elif one.outcome.state == "complete":
            trial = optuna.trial.create_trial(state=states.COMPLETE, values=list(one.outcome.values), **options)
        else:
            curve = _reported(one, objectives) if one.outcome.state == "pruned" else {}
            trial = optuna.trial.create_trial(state=states.PRUNED, intermediate_values=curve, **options)
        study.add_trial(trial)
    return study


def importances(method: Method, trials: Sequence[Trial], objectives: Sequence[Objective]) -> dict[str, float]:
    """Per key the share of what it decides between good trials and others, by PED-ANOVA (Watanabe et al., IJCAI 2023).

    Empty where fewer than `ENOUGH` trials were complete, or nothing differs. Of several objectives, for the mean score.
    """
    optuna = load_optuna()
    complete = [one for one in trials if one.outcome is not None and one.outcome.state == "complete"]
    if len(complete) < ENOUGH or len({one.outcome.values for one in complete if one.outcome}) == 1:
        return {}
    with calm(optuna):
        study = memory(method, complete, (), objectives, sampler=optuna.samplers.RandomSampler(seed=0))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        if len(objectives) == 1:
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        scores = {number: one.outcome.score for number, one in enumerate(complete) if one.outcome is not None}
        return dict(
            optuna.importance.get_param_importances(
                study, evaluator=evaluator, target=lambda trial: -scores[trial.number]
            )
        )


def _reported(trial: Trial, objectives: Sequence[Objective]) -> dict[int, float]:
    assert trial.outcome is not None
    if len(objectives) > 1:
        return {}
    sign = 1 if objectives[0].higher_is_better else -1
    return {step: sign * gain for step, (gain,) in zip(trial.outcome.steps, trial.outcome.curve, strict=True)}


def _sampler(optuna: Any, sweep: SweepConfig, seed: int) -> Any:
    if sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True)


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])


def _untried(method: Method, tried: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The first point of a small space that was not tried."""
    if any(math.isinf(one.size) for one in method.space.values()):
        return None  # which no sampler would draw twice but for a reason
    lists = [one.values if isinstance(one, Choices) else _all(one) for one in method.space.values()]
    for values in product(*lists):
        point = encoded(method.space, dict(zip(method.space, values, strict=True)))
        if point not in tried:
            return point
    return None


def _all(one: Range) -> list[float]:
    step = one.step or 1
    values = [one.low + step * number for number in range(int(one.size))]
    return [int(value) for value in values] if one.whole else values
