"""Preferences, balancers that they become, and the weights of tasks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.tradeoffs.grid import chosen_preferences, shown, spread
from polytask.tradeoffs.plan import make_plan
from polytask.tradeoffs.table import parse_pareto


@given(tasks=st.integers(2, 8), more=st.integers(0, 40), share=st.floats(0.0, 0.9))
def test_points_are_preferences_with_all_ends(tasks: int, more: int, share: float) -> None:
    least = share / tasks
    rows = spread(tasks, tasks + more, least)
    assert len(rows) == tasks + more
    assert all(sum(row) == pytest.approx(1.0, abs=1e-5) and min(row) >= least - 1e-6 for row in rows)
    high = 1.0 - (tasks - 1) * least
    if more != 1 or tasks > 2:
        assert all(max(row[task] for row in rows) == pytest.approx(high, abs=1e-5) for task in range(tasks))


def test_many_tasks_are_covered_evenly() -> None:
    inner = torch.tensor(spread(4, 260, 0.0), dtype=torch.float64)[4:]
    # a coordinate of the uniform distribution on the simplex of 4 is Beta(1, 3): its mean is 1/4, its variance 3/80
    assert torch.allclose(inner.mean(0), torch.full((4,), 0.25, dtype=torch.float64), atol=0.02)
    assert torch.allclose(inner.var(0), torch.full((4,), 3 / 80, dtype=torch.float64), atol=0.006)


def test_two_tasks_have_a_grid_without_the_corners() -> None:
    assert spread(2, 5) == ((0.05, 0.95), (0.275, 0.725), (0.5, 0.5), (0.725, 0.275), (0.95, 0.05))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 2}, r"pareto\.points: 2 for 3 tasks, which have as many ends; give 3 or more"),
        ({"least": 0.4}, r"pareto\.least: 0\.4 for each of 3 tasks leaves no room; give a number below 0\.333"),
        ({"preferences": [[1, 1]]}, r"preferences\[0\]: \[1\.0, 1\.0\] given for a, b, c"),
        ({"preferences": [[0, 0, 0], [1, 1]]}, r"(?s)2 problems.*preferences\[0\].*preferences\[1\]"),
        ({"preferences": [[1, 1, 2], [2, 2, 4]]}, r"\[0\.25, 0\.25, 0\.5\] is given twice"),
    ],
)
def test_what_is_no_preference(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen_preferences(parse_pareto(options), ["a", "b", "c"])


def test_unknown_keys_and_kinds() -> None:
    with pytest.raises(UserError, match=r"pareto\.preferences\[0\]\[1\]: found -1"):
        parse_pareto({"preferences": [[1, -1]]})
    with pytest.raises(UserError, match=r"pareto\.points: found 0"):
        parse_pareto({"points": 0})


def plan(config: Any, **options: Any) -> Any:
    table = parse_pareto(options)
    return make_plan(config, table, chosen_preferences(table, table.tasks or tuple(config.tasks)))


def test_a_preference_becomes_weights_in_shares_of_the_constant_losses(new_config: Any) -> None:
    config = new_config(("click", "spend", "visits"))
    found = plan(config, tasks=["click", "spend"], preferences=[[1, 3]])
    (run,) = found.runs(config, {"click": 0.5, "spend": 1.0, "visits": 2.0})
    weights = run.method.balancer.options["weights"]
    assert run.method.balancer.use == "constant"
    # 2 p / unit for what is traded, 1 / unit for the rest, over 7/6, the mean of 1 / unit
    expected = {"click": 1.0 * 6 / 7, "spend": 1.5 * 6 / 7, "visits": 0.5 * 6 / 7}
    assert weights == pytest.approx(expected)
    assert run.method.config(config).train.selection == {"click": 0.5, "spend": 1.5, "visits": 1.0}


def test_even_preferences_without_units_are_equal_weights(new_config: Any) -> None:
    config = new_config(("click", "spend"))
    found = plan(config, preferences=[[1, 1]], scaled=False)
    (run,) = found.runs(config, {"click": 1.0, "spend": 1.0})
    assert run.method.balancer.options["weights"] == {"click": 1.0, "spend": 1.0}


def test_folders_tell_apart_what_gives_other_models(new_config: Any) -> None:
    config, units = new_config(("click", "spend")), {"click": 1.0, "spend": 1.0}
    keys = []
    for options in (
        {}, {"seeds": 2}, {"scaled": False}, {"tasks": ["spend", "click"]}, {"method": ["tchebycheff", "epo"]},
        {"method": {"use": "epo", "every": 2}}, {"method": [{"use": "pamal"}, {"use": "pamal", "window": 2}]},
    ):  # fmt: skip
        keys += [run.key for run in plan(config, points=2, **options).runs(config, units)]
    repeated = {key for key in keys if keys.count(key) > 1}
    assert repeated == {"runs/linear/0.05-0.95/0", "runs/linear/0.95-0.05/0"}  # of the first two


def test_methods_are_listed_once(new_config: Any) -> None:
    with pytest.raises(UserError, match=r"pareto\.method: pamal is listed 2 times"):
        plan(new_config(("click", "spend")), method=["pamal", "pamal"])


def test_words_for_preferences() -> None:
    assert shown((1 / 3, 2 / 3)) == "0.3333 : 0.6667"
