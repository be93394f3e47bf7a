from __future__ import annotations

import math
from typing import Any

import pytest

from polytask.tuning.checks import find_methods
from polytask.tuning.journal import Trial
from polytask.tuning.suggest import ENOUGH, importances, suggest
from polytask.tuning.table import parse_sweep
from polytask.tuning.trial import Objective, Outcome

pytest.importorskip("optuna", reason="Optuna is in the extra 'tune'")
MEAN = (Objective("mean"),)
SPACE = {
    "train.learning_rate": {"low": 1e-4, "high": 1.0, "log": True}, "train.warmup": {"low": 0.0, "high": 0.5},
    "sharing.widths": [[8], [4, 4]],
}  # fmt: skip


def searched(new_config: Any, count: int, value: Any, objectives: Any = MEAN, **table: Any) -> tuple[Any, list[Trial]]:
    """A method, and trials of a made-up objective."""
    sweep = parse_sweep({"space": SPACE, **table})
    (method,) = find_methods(new_config(("click", "spend")), sweep, ids=False)
    trials: list[Trial] = []
    for index in range(count):
        params = suggest(method, index, trials[: max(0, index - 3)], trials[max(0, index - 3) :], sweep, objectives)
        trials.append(Trial(index, params, value(params)))
    return method, trials


def distance(params: Any) -> float:
    return abs(math.log10(params["train.learning_rate"]) + 1.0)


def bowl(params: Any) -> Outcome:
    gain = -distance(params)
    return Outcome("complete", (gain,), score=gain)


def test_the_first_trial_is_the_files_own_and_the_sampler_learns(new_config: Any) -> None:
    _, trials = searched(new_config, 40, bowl)
    assert trials[0].params == {"train.learning_rate": 1e-3, "train.warmup": 0.0, "sharing.widths": [8]}
    _, blind = searched(new_config, 40, bowl, sampler="random")
    late, chance = ([distance(one.params) for one in own[20:]] for own in (trials, blind))
    assert sum(late) < 0.5 * sum(chance)
    assert len({tuple(map(str, one.params.values())) for one in trials}) == 40


def test_suggestions_follow_from_what_is_known(new_config: Any) -> None:
    _, first = searched(new_config, 15, bowl)
    _, again = searched(new_config, 15, bowl)
    _, other = searched(new_config, 15, bowl, seed=1)
    assert [one.params for one in first] == [one.params for one in again]
    assert [one.params for one in first[1:]] != [one.params for one in other[1:]]


def test_failed_trials_are_avoided(new_config: Any) -> None:
    def fails(params: Any) -> Outcome:
        if params["train.learning_rate"] > 0.01:  # which decides nothing else
            return Outcome("failed")
        return Outcome("complete", (params["train.warmup"],), score=params["train.warmup"])

    _, trials = searched(new_config, 50, fails)
    assert sum(one.params["train.learning_rate"] > 0.01 for one in trials[20:]) < 0.2 * 30  # by chance a half


def test_a_small_space_is_gone_through_without_repeats(new_config: Any) -> None:
    space = {"sharing.experts": {"low": 1, "high": 3}, "train.decay": ["none", "cosine"]}
    _, trials = searched(new_config, 6, lambda params: Outcome("complete", (0.0,), score=0.0), space=space)
    assert {(one.params["sharing.experts"], one.params["train.decay"]) for one in trials} == {
        (experts, decay) for experts in (1, 2, 3) for decay in ("none", "cosine")
    }


def test_importances_find_what_decides(new_config: Any) -> None:
    method, trials = searched(new_config, 60, bowl, sampler="random")
    found = importances(method, trials, MEAN)
    assert found.keys() == SPACE.keys() and sum(found.values()) == pytest.approx(1.0)
    assert found["train.learning_rate"] > 0.6
    assert importances(method, trials[: ENOUGH - 1], MEAN) == {}
    same = [Trial(one.index, one.params, Outcome("complete", (1.0,), score=1.0)) for one in trials]
    assert importances(method, same, MEAN) == {}


def test_several_objectives_and_smaller_ones(new_config: Any) -> None:
    objectives = (Objective("a", "a", "mae", False), Objective("b", "b", "auc", True))

    def two(params: Any) -> Outcome:
        values = (distance(params), params["train.warmup"])
        if params["train.warmup"] > 0.45:
            return Outcome("pruned", curve=((-1.0, 0.1),), steps=(1,))
        return Outcome("complete", values, score=values[1] - values[0])

    method, trials = searched(new_config, 40, two, objectives)
    late = [distance(one.params) for one in trials[25:]]
    assert sum(late) / len(late) < 1.0  # of 0 to 3, by chance 1.25 at the centre of the range
    assert importances(method, trials, objectives).keys() == SPACE.keys()
    _, (_, *smaller) = searched(
        new_config, 30, lambda params: Outcome("complete", (distance(params),), score=0.0), objectives[:1]
    )
    assert sum(distance(one.params) for one in smaller[15:]) / 14 < 0.7
