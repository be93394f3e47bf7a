from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_folders import records

from polytask.reporting.files import Gaps, read_lines
from polytask.reporting.records import Buckets, read_curves, smoothed


@given(st.integers(1, 300), st.integers(1, 20))
def test_buckets_keep_the_mean_of_all_rows(rows: int, points: int) -> None:
    values = np.random.default_rng(rows).normal(size=(rows, 2))
    buckets = Buckets(points)
    for step, row in enumerate(values, 1):
        buckets.add(step, row)
    steps, means = buckets.means()
    assert min(points, rows) <= len(steps) <= 2 * points
    assert steps[-1] == rows
    lengths = np.diff([0, *steps])
    np.testing.assert_allclose((means * lengths[:, None]).sum(0), values.sum(0), atol=1e-9)


def test_absent_tasks_do_not_count() -> None:
    seen, absent = {"losses": [1.0, 2.0], "weights": [3.0, 1.0]}, {"losses": [None, 2.0], "weights": [0.0, 1.0]}
    lines = [{"kind": "step", "step": step, **(seen if step % 2 else absent)} for step in range(1, 65)]
    curves = read_curves(lines, points=4)
    assert 4 <= len(curves.steps) <= 8
    assert np.all(curves.losses == [1.0, 2.0])
    assert np.all(curves.weights == [3.0, 1.0])


def test_a_long_training_is_read_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    with file.open("w", encoding="utf-8") as stream:
        for step in range(1, 8_001):
            stream.write(json.dumps({"kind": "step", "step": step, "losses": [1.0] * 5, "weights": [1.0] * 5}) + "\n")
    tracemalloc.start()
    curves = read_curves(read_lines(file, Gaps()), points=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 50 <= len(curves.steps) <= 100 and curves.steps[-1] == curves.last == 8_000
    assert peak < 5e5 < file.stat().st_size


def test_evaluations_and_probes_are_thinned_and_keep_first_best_and_last() -> None:
    lines = [
        {"kind": kind, "step": step, "scores": {}, "best": step <= 17}
        for step in range(1, 2001)
        for kind in ("evaluation", "probe")
    ]
    curves = read_curves(lines, points=20, probes=10)
    steps = [one["step"] for one in curves.evaluations]
    assert steps == sorted(set(steps)) and len(steps) <= 82 and {1, 17, 2000} <= set(steps)
    assert [one["step"] for one in curves.evaluations if one["best"]][-1] == 17
    assert len(curves.probes) <= 21 and curves.probes[-1]["step"] == 2000


def test_broken_lines_are_left_out_and_told(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    lines = [json.dumps(one) for one in records(("a", "b"), 10)]
    file.write_text("\n".join([*lines[:3], "{", "[1]", "\x00", *lines[3:], lines[0][:20]]), encoding="utf-8")
    gaps = Gaps()
    assert len(list(read_lines(file, gaps))) == len(lines)
    assert [gap.what for gap in gaps.found] == ["3 lines are no records and were left out"]


def test_a_half_written_last_line_is_no_gap(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text('{"kind": "step", "step": 1}\n{"kind": "st', encoding="utf-8")
    gaps = Gaps()
    assert len(list(read_lines(file, gaps))) == 1 and gaps.found == []


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"kind": "step"},
        {"kind": "step", "step": "1", "losses": [1.0]},
        {"kind": "step", "step": True, "losses": [1.0]},
        {"kind": "step", "step": 3, "losses": []},
        {"kind": "step", "step": 3, "losses": {"a": 1}},
        {"kind": "step", "step": 3, "losses": [1.0, 2.0, 3.0]},
        {"kind": "evaluation", "step": 3, "scores": [1]},
    ],
)
def test_records_of_another_shape_change_nothing(record: dict[str, object]) -> None:
    lines = records(("a", "b"), 20)
    with_it, without = read_curves([*lines[:4], record, *lines[4:]]), read_curves(lines)
    np.testing.assert_array_equal(with_it.losses, without.losses)
    assert with_it.evaluations == without.evaluations


def test_smoothing_against_a_plain_loop() -> None:
    values = np.random.default_rng(0).normal(size=40)
    values[[3, 4, 20]] = np.nan
    plain = [np.nanmean(values[max(place - 3, 0) : place + 4]) for place in range(40)]
    np.testing.assert_allclose(smoothed(values, 7), plain)
    assert np.isnan(smoothed([np.nan], 3)).all()
