"""Which point is chosen, on scores made up for it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.tradeoffs.choice import best_seed, choose, read_wish
from polytask.tradeoffs.points import Measure, Reached, front_of, reference_of

MEASURES = (Measure("click", "auc", True), Measure("spend", "rmse", False))
TASKS = ["click", "spend"]


def reached(share: float, auc: float, rmse: float, *, method: str = "linear", improvements: Any = None) -> Reached:
    """A point; test scores would turn every choice round."""
    first, second = improvements or (auc - 0.5, 1.0 - rmse)
    validation = {"click": {"auc": auc, "improvement": first}, "spend": {"rmse": rmse, "improvement": second}}
    test = {"click": {"auc": 1.0 - auc, "improvement": -first}, "spend": {"rmse": -rmse, "improvement": -second}}
    return Reached(method, (share, 1.0 - share), (0,), ("run",), ({"validation": validation, "test": test},))


POINTS = [reached(0.1, 0.60, 0.50), reached(0.4, 0.68, 0.55), reached(0.5, 0.72, 0.65), reached(0.9, 0.74, 0.90)]
DOMINATED = reached(0.6, 0.67, 0.56)


def chosen(text: str | None, points: Any = (*POINTS, DOMINATED), **floors: float) -> float:
    methods = list(dict.fromkeys(point.method for point in points))
    return choose(points, MEASURES, read_wish(text, floors, TASKS, methods)).preference[0]


@pytest.mark.parametrize(
    ("text", "floors", "share"),
    [
        ("0.45,0.55", {}, 0.4),  # the nearest
        ("click=9,spend=1", {}, 0.9),
        ("spend=1,click=1", {}, 0.5),
        ("knee", {}, 0.5),  # 12/14 + 25/40 is more than 8/14 + 35/40
        (None, {}, 0.4),  # 0.18 + 0.45 is more than 0.10 + 0.50 and 0.22 + 0.35
        (None, {"click": 0.7}, 0.5),  # the best spend among those
        (None, {"spend": 0.7}, 0.5),  # smaller is better: at most 0.7, the best click
        ("best-mean", {"click": 0.73}, 0.9),
        ("knee", {"click": 0.7}, 0.5),
        (None, {"click": 0.6, "spend": 0.6}, 0.4),  # all have floors: all count
    ],
)
def test_rules(text: str | None, floors: dict[str, float], share: float) -> None:
    assert chosen(text, **floors) == share


def test_floors_out_of_reach_say_what_is_within() -> None:
    with pytest.raises(UserError) as found:
        chosen(None, click=0.8, spend=0.4)
    assert [str(problem) for problem in found.value.problems] == [
        "--floor click: no point reaches auc 0.8 on validation rows together with the others; the best is 0.7400, of "
        "linear 0.9 : 0.1; ask for less",
        "--floor spend: no point reaches rmse 0.4 on validation rows together with the others; the best is 0.5000, of "
        "linear 0.1 : 0.9; ask for less",
    ]


def test_a_preference_of_several_methods_takes_what_saves_most() -> None:
    other = reached(0.5, 0.70, 0.60, method="pamal", improvements=(0.3, 0.5))
    points = (*POINTS, other)
    assert choose(points, MEASURES, read_wish("0.5,0.5", {}, TASKS, ["linear", "pamal"])) is other
    assert choose(points, MEASURES, read_wish("linear:0.5,0.5", {}, TASKS, ["linear", "pamal"])) is POINTS[2]
    assert choose(points, MEASURES, read_wish("pamal:knee", {}, TASKS, ["linear", "pamal"])) is other


@given(
    rows=st.lists(st.tuples(st.floats(0.5, 1.0), st.floats(0.1, 2.0)), min_size=1, max_size=12),
    rule=st.sampled_from(["knee", None]),
)
def test_rules_choose_efficient_points_alone(rows: list[tuple[float, float]], rule: str | None) -> None:
    points = [reached(number / len(rows), auc, rmse) for number, (auc, rmse) in enumerate(rows)]
    found = choose(points, MEASURES, read_wish(rule, {}, TASKS, ["linear"]))
    assert front_of(points, MEASURES, "validation").efficient()[points.index(found)]


def test_the_best_seed_reaches_the_floor() -> None:
    def seed(auc: float, rmse: float) -> Any:
        return reached(0.9, auc, rmse).scores[0]

    point = Reached(
        "linear", (0.9, 0.1), (3, 4, 5), ("a", "b", "c"), (seed(0.7, 0.8), seed(0.75, 0.9), seed(0.72, 0.69))
    )
    assert point.seeds[best_seed(point, MEASURES, read_wish("knee", {}, TASKS, ["linear"]))] == 4
    assert point.seeds[best_seed(point, MEASURES, read_wish(None, {"spend": 0.7}, TASKS, ["linear"]))] == 5


def test_the_reference_is_the_worst_of_the_ends() -> None:
    assert reference_of([*POINTS, DOMINATED], MEASURES) == [0.6, 0.9]
    front = front_of(POINTS, MEASURES, "validation")
    by_hand = 0.08 * 0.35 + 0.04 * 0.25  # the ends add nothing
    assert front.hypervolume([0.6, 0.9]) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kne", r"'kne' is no rule and no preference of click, spend; did you mean 'knee'"),
        ("0.5", r"'0\.5' is no rule and no preference of click, spend; for example click=0\.5,spend=0\.5"),
        ("0.5,half", "'0.5,half' is no rule"),
        ("0,0", "'0,0' is no preference; give numbers from 0, not all 0"),
        ("-1,2", "'-1,2' is no preference"),
        ("nan,1", "'nan,1' is no preference"),
        ("click=1", "'click=1' is no rule and no preference"),
        ("clik=1,spend=1", r"no traded task is called 'clik'; did you mean 'click'"),
        ("pamel:knee", r"no method is called 'pamel'; did you mean 'pamal'"),
    ],
)
def test_what_is_no_wish(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_wish(text, {}, TASKS, ["linear", "pamal"])


def test_all_mistakes_of_a_wish_at_once() -> None:
    with pytest.raises(UserError) as found:
        read_wish("pamel:kne", {"clik": 1.0}, TASKS, ["pamal"])
    assert [problem.where for problem in found.value.problems] == ["--floor clik", "--choose", "--choose"]
    with pytest.raises(UserError, match="a preference and floors are given"):
        read_wish("0.5,0.5", {"click": 0.5}, TASKS, ["pamal"])


def test_undefined_improvements_do_not_win() -> None:
    unknown = reached(0.5, 0.71, 0.64, improvements=(math.nan, math.nan))
    assert chosen("best-mean", (*POINTS[:2], unknown)) == 0.4


@pytest.mark.parametrize("floor", [math.nan, math.inf])
def test_a_floor_is_a_number(floor: float) -> None:
    with pytest.raises(UserError, match=f"--floor click: {floor} given; give a number"):
        read_wish(None, {"click": floor}, ["click", "like"], ["linear"])
