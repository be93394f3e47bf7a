"""What is said of runs that are easily misread: scores near 0, tasks without a common row, constant weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_folders import TASKS, diagnostics, fusion, run, write
from test_report_sections import page_of, section, words

from polytask.reporting.blocks import Chart, Table
from polytask.reporting.sections.gains import Line, overall
from polytask.reporting.words import half_width


def line(task: str, metric: str, ours: list[float], alone: list[float]) -> Line:
    return Line(task, metric, dict(enumerate(ours)), dict(enumerate(alone)))


def test_intervals_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    rng = np.random.default_rng(0)
    for size in (2, 3, 5, 30):
        values = rng.normal(size=size)
        low, high = stats.t.interval(0.95, size - 1, values.mean(), stats.sem(values))
        assert half_width(values.tolist()) == pytest.approx((high - low) / 2, rel=1e-5)
    assert np.isnan(half_width([1.0]))


def test_gains_near_zero_are_told_as_they_are() -> None:
    schools = [line("a", "r2", [0.2], [0.05]), line("b", "r2", [0.25], [0.3])]
    assert overall(schools) == "+0.05 R² on average against one network per task"


def test_gains_near_zero_are_left_out_of_percentages() -> None:
    mixed = [line("a", "auc", [0.77], [0.7]), line("b", "r2", [0.2], [0.05])]
    assert overall(mixed) == (
        "+10.00 % on average against one network per task (without b: the single-task score is near 0)"
    )
    # a loss may be small without being one of a model that has learned nothing
    assert overall([line("a", "log_loss", [0.09], [0.1])]).startswith("+10.00 %")


def test_several_seeds_give_an_interval() -> None:
    half = half_width([10.0, 20.0])
    text = overall([line("a", "auc", [0.55, 0.6], [0.5, 0.5])])
    assert text.startswith(f"+15.00 % [−{half - 15:.2f} %, +{15 + half:.2f} %] on average")


def test_a_report_of_scores_near_zero_draws_gains_as_they_are(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", ("watch",), seeds=1)
    (folder / "config.toml").write_text('[tasks.watch]\nkind = "regression"\n', encoding="utf-8")
    write(folder / "scores.json", {"scores": {"test": {"watch": {"r2": 0.2}}}, "seed": 0})
    write(folder / "baselines" / "watch" / "scores.json", {"scores": {"test": {"watch": {"r2": 0.05}}}, "seed": 0})
    page = page_of(folder)
    assert page.verdict.startswith("+0.15 R² on average")
    chart, table = section(page, "scores").blocks[:2]
    assert isinstance(chart, Chart) and chart.data["gain"] == pytest.approx([0.15])
    assert isinstance(table, Table) and str(table.rows[0][-1]) == "–" and "near 0" in table.caption


def probes(folder: Path, gramian: list[list[float]], **more: Any) -> None:
    probe = {"kind": "probe", "gramian": gramian, "gates": {}, **more}
    lines = [json.dumps({**probe, "step": step}) for step in (10, 20, 30)]
    (folder / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")


def overlap(folder: Path, values: list[list[float]]) -> None:
    found = diagnostics(TASKS)
    found["data"]["overlap"] = values
    write(folder / "diagnostics.json", found)


def test_tasks_without_a_common_row_are_no_absence_of_conflict(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seeds=1)
    overlap(folder, np.diag([0.3, 0.3, 0.4]).tolist())
    probes(folder, np.diag([1.0, 2.0, 4.0]).tolist())
    page = page_of(folder)
    text = words(page, "conflict")
    assert "No row has the labels of two tasks." in text and "orthogonal by construction" in text
    assert "conflicts noticeably" not in text and "tiny" not in text
    assert [block.title for block in section(page, "conflict").blocks if isinstance(block, Chart)] == [
        "Magnitude ratios"
    ]
    assert "each task has its own rows" in words(page, "data")


def test_a_pair_without_a_common_row_is_left_out(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seeds=1)
    overlap(folder, [[1, 0.5, 0], [0.5, 0.5, 0.2], [0, 0.2, 0.2]])
    probes(folder, [[1, -0.3, -0.9], [-0.3, 1, 0.1], [-0.9, 0.1, 1]])  # of the pair that shares none, in these rows
    page = page_of(folder)
    text = words(page, "conflict")
    assert "1 pair of tasks of 3 have no row in common" in text
    assert "The greatest conflict is between click and like, −0.3 on average" in text
    chart = next(block for block in section(page, "conflict").blocks if isinstance(block, Chart))
    cells = zip(chart.data["row"], chart.data["column"], chart.data["value"], strict=True)
    assert {(row, column) for row, column, value in cells if value is not None} == {
        ("click", "like"), ("like", "click"), ("like", "watch"), ("watch", "like")
    }  # fmt: skip


def test_a_run_that_goes_on_knows_such_pairs_by_their_cosines(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seeds=1, finished=False)
    probes(folder, np.eye(3).tolist())
    assert "orthogonal by construction" in words(page_of(folder), "conflict")


def test_tiny_cosines_are_called_so_and_fill_the_colours(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seeds=1)
    probes(folder, [[1, -0.004, 0.01], [-0.004, 1, 0.002], [0.01, 0.002, 1]])
    page = page_of(folder)
    text = words(page, "conflict")
    assert "All cosines are tiny" in text and "click and like, −0.004 on average" in text
    assert "the highest that of click and watch, 0.01" in text
    chart = next(block for block in section(page, "conflict").blocks if isinstance(block, Chart))
    assert chart.spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == pytest.approx([-0.01, 0.01])
    assert chart.spec["layer"][1]["encoding"]["text"]["format"] == ".2~g"


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0001, 0.9999, 1.0], "All weights stayed 1."),
        ([0.5, 2.0, 0.25], "All weights were constant: click 0.5, like 2 and watch 0.25."),
    ],
)
def test_weights_that_move_by_rounding_are_constant(tmp_path: Path, weights: list[float], said: str) -> None:
    folder = run(tmp_path / "run", seeds=1)
    lines = [
        {
            "kind": "step",
            "step": step,
            "losses": [1.0] * 3,
            "weights": [one * (1 + 1e-5 * (step % 3)) for one in weights],
        }
        for step in range(1, 30)
    ]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    page = page_of(folder)
    assert words(page, "weights") == said
    assert not any(isinstance(block, Chart) for block in section(page, "weights").blocks)


def test_the_most_decided_gate_is_that_of_the_last_probe(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", ("a", "b"), seeds=1)
    mean = [[0.5, 0.5], [0.5, 0.5]]
    steps = {10: [0.2, 0.9], 20: [0.95, 0.9]}  # a is lower on average, b ends lower
    lines = [
        {"kind": "probe", "step": step, "gates": {"level1": {"rows": ["a", "b"], "mean": mean, "entropy": entropy}}}
        for step, entropy in steps.items()
    ]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = diagnostics(("a", "b"))
    found["gates"] = [{"level": "level1", "rows": ["a", "b"], "mean": mean, "entropy": [0.1, 0.9]}]
    write(folder / "diagnostics.json", found)
    text = words(page_of(folder), "gates")
    assert "At the last probe b is most decided, 0.9." in text
    assert "said of the kept weights on test rows" in text


def test_many_tasks_get_two_charts_that_open_with_the_greatest(tmp_path: Path) -> None:
    tasks = [f"task {number}" for number in range(18)]  # two of three are binary, and have curves of gain
    folder = run(tmp_path / "run", tasks, seeds=1)
    found = diagnostics(tasks)
    found["tasks"]["task 7"]["calibration"]["observed"] = [0.9] * 10
    one_bin = {"predicted": [0.1], "observed": [0.9], "rows": [3]}  # its range is its error
    found["tasks"]["task 5"]["calibration"] = one_bin
    write(folder / "diagnostics.json", found)
    page = page_of(folder)
    charts = [block for block in section(page, "calibration").blocks if isinstance(block, Chart)]
    assert [chart.title for chart in charts] == ["Calibration", "Gain"]
    assert charts[0].spec["params"][0]["value"] == "task 7" and "most for task 7" in charts[0].caption
    assert charts[0].spec["params"][0]["bind"]["options"] == tasks
    assert charts[0].data["task"].count("task 3") == 10
    for task in tasks:
        found["tasks"][task]["calibration"] = one_bin
    write(folder / "diagnostics.json", found)
    assert "No task has rows for more than two bins" in words(page_of(folder), "calibration")


def test_decisions_of_the_bundle_are_told(tmp_path: Path) -> None:
    text = words(page_of(run(tmp_path / "run", seeds=1)), "calibration")
    assert "click is calibrated (platt, 500 validation rows), cross-fitted: " in text
    assert "log loss 0.5 to 0.45 and ECE 0.03 to 0.04 (worse). The curves are of calibrated predictions." in text
    assert "click is a yes from 0.25 on, with precision 0.5, recall 0.75 and F1 0.6." in text


def test_a_fused_score_tells_its_weights_and_floors(tmp_path: Path) -> None:
    page = page_of(run(tmp_path / "run", seeds=1))
    text = words(page, "fusion")
    assert "The score is the product of the predictions with the weights click 0.5 and like 0.5." in text
    assert "NDCG@10 of price * bought within user is 0.8 on validation rows and 0.7 on test rows" in text
    assert "the most of 4 weightings is 0.9" in text
    assert "click at least 0.64: 0.65 on validation rows and 0.6 on test rows (missed)." in text
    charts = [block for block in section(page, "fusion").blocks if isinstance(block, Chart)]
    assert [chart.title for chart in charts] == ["click against the objective"]
    assert charts[0].data["weighting"] == ["tried", "one prediction alone", "one prediction alone", "chosen"]
    table = next(block for block in section(page, "fusion").blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == [
        "chosen, validation rows",
        "chosen, test rows",
        "like alone",
        "click alone",
    ]
    assert [cell.tone for cell in (row[2] for row in table.rows)] == ["", "bad", "bad", ""]


def test_what_fuse_wrote_may_be_named_itself(tmp_path: Path) -> None:
    write(tmp_path / "trade-off.json", fusion(TASKS))
    assert "the product of the predictions" in words(page_of(tmp_path / "trade-off.json"), "fusion")


def test_binary_labels_need_no_classes(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seeds=1)

    def headings() -> list[str]:
        return list(next(one for one in section(page_of(folder), "data").blocks if isinstance(one, Table)).headings)

    assert "classes in train" not in headings()
    found = diagnostics(TASKS)
    found["data"]["labels"]["click"]["kind"] = "multiclass"
    write(folder / "diagnostics.json", found)
    assert headings()[-1] == "classes in train"
