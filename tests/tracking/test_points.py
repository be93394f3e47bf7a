from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.tracking.points import Window, final_values, values_of

TASKS = ("click", "like", "share")


def step(number: int, *losses: float | None) -> dict[str, Any]:
    weights = [0.0 if loss is None else 2.0 for loss in losses]
    return {"kind": "step", "step": number, "losses": list(losses), "weights": weights, "learning_rate": 0.5}


def test_an_absent_task_has_neither_loss_nor_weight() -> None:
    assert values_of(step(1, 0.5, None, math.nan), TASKS, peak=0.1) == {
        "loss/click": 0.5,
        "weight/click": 2.0,
        "learning_rate": 0.05,
    }


def test_evaluations_leave_out_what_is_undefined() -> None:
    scores = {"click": {"auc": 0.7, "ece": None}, "like": {"r2": math.nan}}
    record = {"kind": "evaluation", "step": 8, "scores": scores, "score": 0.1, "best": True}
    assert values_of(record, TASKS) == {"validation/click/auc": 0.7, "validation/score": 0.1}


def test_probes_become_norms_cosines_and_entropies() -> None:
    gramian = [[4.0, -3.0, None], [-3.0, 9.0, None], [None, None, None]]
    gates = {"level 1": {"rows": ["click", "like"], "mean": [[0.5, 0.5], [1.0, 0.0]], "entropy": [0.69, 0.0]}}
    affinity = [[0.1, 0.2, 0.0], [0.3, 0.4, 0.0], [0.0, 0.0, 0.0]]
    record = {"kind": "probe", "step": 9, "gramian": gramian, "gates": gates, "affinity": affinity}
    found = values_of(record, TASKS)
    assert found["gradient_norm/click"] == 2.0 and found["gradient_norm/like"] == 3.0
    assert "gradient_norm/share" not in found and "cosine/click/share" not in found
    assert found["cosine/click/like"] == found["cosine/smallest"] == -0.5
    assert found["cosine/share_in_conflict"] == 1.0
    assert found["gate_entropy/level 1/click"] == 0.69
    assert found["affinity/click/like"] == 0.2 and found["affinity/like/click"] == 0.3
    assert values_of(record | {"affinity": None, "gates": {}}, TASKS).keys() < found.keys()


def test_many_tasks_share_two_curves_of_conflict() -> None:
    names = [f"task {number}" for number in range(9)]
    gramian = [[1.0 if i == j else (-0.5 if i + j == 1 else 0.25) for j in range(9)] for i in range(9)]
    found = values_of({"kind": "probe", "step": 1, "gramian": gramian}, names)
    assert not any(name.startswith("cosine/task") for name in found)
    assert found["cosine/smallest"] == -0.5 and found["cosine/share_in_conflict"] == pytest.approx(1 / 36)


def test_of_an_unknown_kind_plain_numbers_are_kept() -> None:
    record = {"kind": "memory", "step": 3, "mib": 12, "peak": True, "where": "here", "parts": [1, 2]}
    assert values_of(record, TASKS) == {"memory/mib": 12.0}


def test_final_scores_of_one_seed_and_of_several() -> None:
    one = {
        "scores": {"test": {"click": {"auc": 0.7, "ece": None}}},
        "best_step": 8,
        "seed": 3,
        "part_rows": {"test": 9},
    }
    assert final_values(one) == {"final/test/click/auc": 0.7, "final/best_step": 8.0}
    assert final_values({"scores": one["scores"], "seeds": {}}) == {"final/test/click/auc": 0.7}


@given(
    losses=st.lists(st.one_of(st.none(), st.floats(-10, 10)), min_size=1, max_size=40),
    every=st.integers(1, 7),
    evaluations=st.sets(st.integers(1, 40)),
)
def test_windows_keep_the_sum_of_all_steps(losses: list[float | None], every: int, evaluations: set[int]) -> None:
    window, points = Window(("click",), every, 1.0), []
    for number, loss in enumerate(losses, 1):
        points += window.add(step(number, loss))
        if number in evaluations or number == len(losses):
            points += window.add({"kind": "evaluation", "step": number, "scores": {}, "score": 0.5})
    steps = [number for number, _ in points]
    assert steps == sorted(steps) and steps[-1] == len(losses)
    assert all(later - earlier <= every for earlier, later in zip([0, *steps], steps, strict=False))
    total, start = 0.0, 0
    for stop, values in points:
        present = sum(loss is not None for loss in losses[start:stop])
        assert ("loss/click" in values) == (present > 0)
        total, start = total + values.get("loss/click", 0.0) * present, stop
    assert total == pytest.approx(sum(loss for loss in losses if loss is not None), abs=1e-9)
