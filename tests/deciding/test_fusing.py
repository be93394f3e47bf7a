from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polytask.config import FusionConfig
from polytask.deciding import TradeOff
from polytask.deciding.fusing import fit_fusion, learn_scale, reached_on
from polytask.deciding.ranking import Groups, Target, ndcg_target
from polytask.deciding.ranking import measure as measure_ranking
from polytask.deciding.rows import Labelled
from polytask.deciding.search import search
from polytask.decisions import Decisions
from polytask.errors import MissingExtraError, UserError

NAMES = ("click", "like", "spend")


def made(rows: int = 3_000, seed: int = 0) -> Labelled:
    """A value that follows ``click^0.7 like^0.3``, predictions of different scales, and labels that follow them."""
    rng = np.random.default_rng(seed)
    click, like = rng.beta(2, 3, rows), rng.beta(1, 30, rows)
    spend = rng.normal(20, 300, rows)
    predictions = {name: p.astype(np.float32) for name, p in zip(NAMES, (click, like, spend), strict=True)}
    labels = {
        "click": (rng.random(rows) < click).astype(np.float32),
        "like": (rng.random(rows) < like * 5).astype(np.float32),
        "spend": (spend + rng.normal(0, 50, rows)).astype(np.float32),
    }
    value = click**0.7 * like**0.3 * rng.gamma(5.0, 0.2, rows)
    return Labelled(
        predictions, labels, dict.fromkeys(NAMES, np.ones(rows, np.bool_)), {},
        (value, np.ones(rows, np.bool_)), rng.integers(0, rows // 12, rows),
    )  # fmt: skip


def reached(found: TradeOff) -> dict[str, float]:
    return {name: value for name, value in found.fusion.reached.items() if value is not None}


def of_value(groups: Groups, rows: Labelled) -> Target:
    assert rows.value is not None
    value, observed = rows.value
    return ndcg_target(groups, value, observed, 10)


def grouped(rows: Labelled) -> Groups:
    assert rows.groups is not None
    return Groups.of(rows.groups)


def fitted(rows: Labelled, **options: Any) -> TradeOff:
    config = FusionConfig(value="value", group="user", **{"samples": 200, **options})
    names = options.get("tasks", NAMES)
    return fit_fusion(config, rows, Decisions(), probabilities=("click", "like"), names=names, measured=NAMES)


def test_weights_are_found_that_made_the_value() -> None:
    rows = made()
    found = fitted(rows)
    fusion = found.fusion
    assert sum(fusion.weights.values()) == pytest.approx(1.0)
    assert fusion.weights["click"] / fusion.weights["like"] == pytest.approx(0.7 / 0.3, rel=0.4)
    assert fusion.weights["spend"] < 0.05
    truth = grouped(rows)
    best = rows.predictions["click"] ** 0.7 * rows.predictions["like"] ** 0.3
    target = of_value(truth, rows)
    known = measure_ranking(truth, target, *truth.ranked(best[truth.order].astype(np.float64)))
    assert fusion.reached["objective"] >= known - 0.002
    assert fusion.reached["objective"] > max(point.objective for point in found.alone.values())


@pytest.mark.parametrize("form", ["product", "sum"])
def test_the_search_is_as_good_as_a_fine_grid(form: str) -> None:
    rows = made(1_500)
    found = fitted(rows, form=form, tasks=("click", "like"), samples=100)
    groups = grouped(rows)
    target = of_value(groups, rows)
    click, like = (rows.predictions[name].astype(np.float64)[groups.order] for name in ("click", "like"))
    grid = [
        measure_ranking(
            groups, target, *groups.ranked(click**a * like**b if form == "product" else a * click + b * like)
        )
        for a, b in ((np.sin(angle), np.cos(angle) * 10) for angle in np.linspace(0, np.pi / 2, 300))
    ]
    assert reached(found)["objective"] >= max(grid) - 5e-4


def test_the_score_is_what_was_measured() -> None:
    rows = made()
    for form in ("product", "sum"):
        fusion = fitted(rows, form=form, samples=60).fusion
        again = reached_on(fusion, rows, Decisions(fusion=fusion), ("click", "like"))
        assert again == pytest.approx(dict(fusion.reached), abs=1e-9)
        score = fusion(rows.predictions)
        assert np.isfinite(score).all() and len(np.unique(score)) > 2_900


def test_floors_are_met_where_they_can_be() -> None:
    rows = made()
    free = fitted(rows)
    like = reached(free)["like"]
    assert like is not None
    floor = (like + max(point.quality["like"] for point in free.points)) / 2
    held = fitted(rows, floors={"like": floor})
    assert held.fusion.met and reached(held)["like"] >= floor
    assert reached(held)["objective"] <= reached(free)["objective"]
    others = [point.objective for point in held.points if point.met]
    assert reached(held)["objective"] == max(others)
    beyond = fitted(rows, floors={"like": 0.999})
    assert not beyond.fusion.met and beyond.points[beyond.chosen].quality["like"] == max(
        point.quality["like"] for point in beyond.points
    )


def test_the_seed_decides() -> None:
    rows = made(600)
    assert fitted(rows, samples=40) == fitted(rows, samples=40)


def test_gauc_wants_yes_and_no() -> None:
    rows = made()
    assert rows.value is not None
    value, observed = rows.value
    with pytest.raises(UserError, match=r'is neither 0 nor 1 in 3,000 of 3,000 rows.*"value > 30"'):
        fitted(rows, objective="gauc")
    binary = Labelled(rows.predictions, rows.labels, rows.observed, {}, ((value > 0.3) * 1.0, observed), rows.groups)
    found = fitted(binary, objective="gauc", samples=60).fusion
    assert 0.6 < found.reached["objective"] <= 1.0


def test_values_that_rank_nothing_are_refused() -> None:
    rows = made(100)

    def with_value(value: np.ndarray, observed: np.ndarray, groups: np.ndarray | None = None) -> Labelled:
        return Labelled(rows.predictions, rows.labels, rows.observed, {}, (value, observed),
                        rows.groups if groups is None else groups)  # fmt: skip

    ones = np.ones(100, np.bool_)
    with pytest.raises(UserError, match=r"is below 0 in 1 of 100 rows.*\(first -2\)"):
        fitted(with_value(np.append(np.ones(99), -2.0), ones))
    with pytest.raises(UserError, match="is missing in every row"):
        fitted(with_value(np.ones(100), ~ones))
    with pytest.raises(UserError, match="no group of 'user' has two rows or more and a value above 0"):
        fitted(with_value(np.ones(100), ones, np.arange(100)))
    rows.labels["like"][:] = 0
    with pytest.raises(UserError, match=r"fusion\.floors\.like: no group of 'user' has both classes"):
        fitted(with_value(np.ones(100), ones), floors={"like": 0.6})


def test_scales_keep_the_order_and_stay_above_zero() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=1000), np.repeat([1.0, 5.0], 50), np.array([3.0])):
        scale = learn_scale(values)
        shares = scale(np.sort(values))
        assert (np.diff(shares) >= 0).all() and shares.min() > 0 and shares.max() <= 1
    assert learn_scale(rng.random(10_000))(np.array([0.5]))[0] == pytest.approx(0.5, abs=0.02)


def test_the_data_of_a_trade_off(tmp_path: Path) -> None:
    found = fitted(made(), floors={"like": 0.55}, samples=80)
    found.save(tmp_path / "fusion.json")
    data = json.loads((tmp_path / "fusion.json").read_text())
    assert data["chosen"] == found.chosen and len(data["points"]) == len(found.points) <= 80
    assert data["metrics"] == {"click": "gauc", "like": "gauc", "spend": "ndcg"} and data["floors"] == {"like": 0.55}
    points = data["points"]
    for one in points:
        assert sum(one["weights"].values()) == pytest.approx(1.0)
        beaten = any(
            other["objective"] >= one["objective"] and other["quality"]["like"] >= one["quality"]["like"]
            and (other["objective"], other["quality"]["like"]) != (one["objective"], one["quality"]["like"])
            for other in points
        )  # fmt: skip
        assert one["efficient"] is not beaten
        assert one["met"] is (one["quality"]["like"] >= 0.55)
    assert set(found.alone) == set(NAMES)
    again = TradeOff.load(tmp_path / "fusion.json")
    assert again.to_json() == found.to_json() and again.points == found.points
    for wrong in ("[]", "{", '{"parts": {}}'):
        (tmp_path / "fusion.json").write_text(wrong)
        with pytest.raises(UserError, match="cannot be read as a trade-off"):
            TradeOff.load(tmp_path / "fusion.json")


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fitted(made(600), samples=30)
    found.plot(tmp_path / "a.png")
    found.plot(tmp_path / "a.svg")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(UserError, match=r"the ending '\.jpg' is unknown; did you mean|choose one of"):
        found.plot(tmp_path / "a.jpg")
    import importlib

    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"polytask\[plot\]"):
        found.plot(tmp_path / "b.png")


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_searches_stay_on_the_simplex_and_in_the_budget(parts: int) -> None:
    aim = np.random.default_rng(parts).dirichlet(np.ones(parts))
    tried, best = search(parts, lambda w: (-float(((w - aim) ** 2).sum()), 0.0), tries=150)
    assert len(tried) <= 150
    assert all(one.weights.min() >= 0 and one.weights.sum() == pytest.approx(1.0) for one in tried)
    assert np.abs(tried[best].weights - aim).max() < 0.06
    assert all(tried[best].rank >= one.rank for one in tried)


def test_a_search_goes_for_floors_first() -> None:
    """The objective wants the first part, the floor the second."""
    tried, best = search(2, lambda w: (float(w[0]), max(0.0, 0.6 - float(w[1]))), tries=100)
    assert tried[best].missing == 0 and tried[best].weights[1] == pytest.approx(0.6, abs=0.02)
    assert {tuple(one.weights) for one in tried} >= {(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)}
