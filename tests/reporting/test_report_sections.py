"""What sections say of folders whose numbers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import altair
import numpy as np
import pytest
from made_folders import TASKS, affinity, comparison, everything, front, run, sweep, write

from polytask.reporting import write_report
from polytask.reporting.blocks import Block, Chart, Choice, Section, Table, Text
from polytask.reporting.files import Gaps
from polytask.reporting.material import gather
from polytask.reporting.page import Page
from polytask.reporting.report import compose
from polytask.reporting.sections.conflict import condition, cosines
from polytask.reporting.sections.front import read_front
from polytask.reporting.sections.gates import findings


def page_of(*paths: Path) -> Page:
    gaps = Gaps()
    return compose(gather(paths, gaps), gaps)


def section(page: Page, key: str) -> Section:
    return next(one for one in page.sections if one.key == key)


def words(page: Page, key: str) -> str:
    """All sentences and captions of a section."""
    found = []
    for block in section(page, key).blocks:
        found += list(block.sentences) if isinstance(block, Text) else []
        found += [block.caption] if isinstance(block, Chart | Table) else []
    return " ".join(found)


def blocks(page: Page) -> list[Block]:
    return [block for one in page.sections for block in one.blocks]


def test_everything_gives_every_section_and_no_gap(tmp_path: Path) -> None:
    page = page_of(*everything(tmp_path))
    assert page.gaps == []
    assert all(one.blocks for one in page.sections)
    keys = "comparison front sweep scores learning calibration fusion gates conflict weights affinity importance data"
    assert [one.key for one in page.sections] == [*keys.split(), "reproduce"]


def test_every_chart_is_vega_lite_has_words_and_reads_columns_that_are_there(tmp_path: Path) -> None:
    charts = [block for block in blocks(page_of(*everything(tmp_path))) if isinstance(block, Chart)]
    assert len(charts) > 30
    seen = set()
    for chart in charts:
        assert len(chart.caption) > 20 and chart.title
        if shape(chart.spec) in seen:  # the schema takes its time
            continue
        seen.add(shape(chart.spec))
        kind = altair.LayerChart if "layer" in chart.spec else altair.Chart
        kind.from_dict({"data": {"values": []}, **chart.spec})
        lines = chart.csv.splitlines()
        assert len(lines) == 1 + len(next(iter(chart.data.values())))
        made = made_by(chart.spec) | {"at"}
        assert fields(without_own_data(chart.spec)) <= set(chart.data) | made, chart.title


def shape(spec: Any) -> str:
    if isinstance(spec, dict):
        return f"{{{','.join(f'{key}:{shape(value)}' for key, value in spec.items())}}}"
    return (
        f"[{shape(spec[0])}]"
        if isinstance(spec, list) and spec and isinstance(spec[0], str)
        else (f"[{','.join(map(shape, spec))}]" if isinstance(spec, list) else type(spec).__name__)
    )


def made_by(spec: Any) -> set[str]:
    """Columns that transforms make."""
    if isinstance(spec, list):
        return set().union(*map(made_by, spec)) if spec else set()
    if not isinstance(spec, dict):
        return set()
    own = spec.get("as", [])
    return {own} if isinstance(own, str) else set(own).union(*map(made_by, spec.values()))


def without_own_data(spec: Any) -> Any:
    if isinstance(spec, dict):
        return {} if "data" in spec else {key: without_own_data(value) for key, value in spec.items()}
    return [without_own_data(one) for one in spec] if isinstance(spec, list) else spec


def fields(spec: Any) -> set[str]:
    if isinstance(spec, list):
        return set().union(*map(fields, spec)) if spec else set()
    if not isinstance(spec, dict):
        return set()
    own = {spec["field"]} if isinstance(spec.get("field"), str) else set()
    return own.union(*map(fields, spec.values()))


def test_gains_are_paired_and_in_the_better_direction(tmp_path: Path) -> None:
    page = page_of(run(tmp_path / "run", seeds=2))
    table = next(block for block in section(page, "scores").blocks if isinstance(block, Table))
    rows = {row[0]: [str(cell) for cell in row] for row in table.rows}
    # the model's seeds are 0 and 0.01 above the shared base, the single-task networks 0.03 below it
    assert rows["click"] == ["click", "AUC", "0.67 ± 0", "0.705 ± 0.0071", "+0.035", "+5.2 %"]
    assert rows["watch"][1] == "R²"
    assert "click, like and watch gain" in page.verdict and "test rows" in page.verdict


def test_one_seed_says_nothing_about_noise(tmp_path: Path) -> None:
    assert "one seed says nothing about noise" in page_of(run(tmp_path / "run", seeds=1)).verdict


def test_what_is_missing_is_said_with_what_makes_it(tmp_path: Path) -> None:
    page = page_of(run(tmp_path / "run", baselines=False))
    gaps = {gap.where: gap for gap in page.gaps}
    assert "--baselines" in gaps["Single-task baselines"].remedy
    assert "polytask compare" in gaps["Comparison"].remedy
    assert "polytask sweep" in gaps["Sweep"].remedy and "polytask pareto" in gaps["Pareto front"].remedy


def test_a_run_in_the_middle_of_training_has_curves_and_no_scores(tmp_path: Path) -> None:
    page = page_of(run(tmp_path / "run", seeds=1, finished=False, baselines=False))
    assert page.verdict == "Not finished: 40 steps trained so far, no scores yet."
    assert section(page, "learning").blocks and section(page, "conflict").blocks and section(page, "gates").blocks
    assert not section(page, "scores").blocks


def test_seeds_that_are_not_there_yet_are_told(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seeds=3)
    assert not page_of(folder).verdict.startswith("Not finished")
    (folder / "seeds" / "2" / "scores.json").unlink()
    assert page_of(folder).verdict.startswith("Not finished, 2 of 3 seeds. ")


def test_several_runs_are_laid_over_one_another(tmp_path: Path) -> None:
    page = page_of(run(tmp_path / "a" / "x"), run(tmp_path / "b" / "x"))
    assert page.title == "a/x and b/x"
    chart = next(block for block in section(page, "learning").blocks if isinstance(block, Chart))
    assert set(chart.data["series"]) == {"a/x", "b/x"}


def test_many_tasks_get_one_chart_with_a_list(tmp_path: Path) -> None:
    tasks = [f"task {number}" for number in range(40)]
    page = page_of(run(tmp_path / "run", tasks, seeds=1, steps=30))
    charts = [block for block in section(page, "learning").blocks if isinstance(block, Chart)]
    assert [chart.title for chart in charts] == ["Training loss", "Validation"]
    assert charts[0].spec["params"][-1]["bind"]["options"] == tasks
    assert write_report([tmp_path / "run"], tmp_path / "many.html").stat().st_size < 3e6


def test_gates_in_words() -> None:
    even = list(findings(["a", "b"], np.full((2, 4), 0.25), [1.0, 1.0]))
    assert even == ["All gates mix the experts nearly evenly: they tell the tasks hardly apart."]
    polarised = " ".join(findings(["a", "b"], np.array([[0.995, 0.005, 0.0], [0.0, 0.6, 0.4]]), [0.03, 0.6]))
    assert "Polarised: a gives one expert nearly everything." in polarised
    assert "Owned: expert 0 by a, expert 1 by b and expert 2 by b." in polarised
    unused = " ".join(findings(["a", "b"], np.array([[0.5, 0.5, 0.0], [0.45, 0.55, 0.0]]), [0.6, 0.6]))
    assert unused == "Unused: no gate gives expert 2 more than 1 % on average."


def test_dead_units_are_named(tmp_path: Path) -> None:
    assert "Dead in experts: expert 1 is silent on all rows." in words(page_of(run(tmp_path / "run")), "gates")


def test_cosines_and_condition_against_numpy() -> None:
    jacobian = np.random.default_rng(0).normal(size=(3, 8))
    gramian = jacobian @ jacobian.T
    unit = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines(gramian), unit @ unit.T)
    assert condition(gramian) == pytest.approx(np.linalg.cond(gramian))
    gramian[1] = gramian[:, 1] = np.nan  # absent
    assert condition(gramian) == pytest.approx(np.linalg.cond(np.delete(np.delete(gramian, 1, 0), 1, 1)))
    assert condition(np.ones((2, 2))) == np.inf


def test_conflict_names_the_pair(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seeds=1)
    probe = {"kind": "probe", "step": 41, "gramian": [[1, -0.8, 0], [-0.8, 1, 0.1], [0, 0.1, 4]], "gates": {}}
    lines = [json.dumps({**probe, "step": step}) for step in range(41, 45)]
    (folder / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
    text = words(page_of(folder), "conflict")
    assert "The greatest conflict is between click and like, −0.8 on average, below 0 in 100 % of 4 probes." in text
    assert "watch has the largest gradients, 2 times those of click on average." in text


def test_a_front_knows_what_is_efficient_and_what_was_chosen(tmp_path: Path) -> None:
    columns = {
        "label": ["a"] * 4, "seed": [0] * 4, "preference.x": [0.1, 0.5, 0.9, 0.4], "preference.y": [0.9, 0.5, 0.1, 0.6],
        "greater.x": [1.0, 2.0, 3.0, 1.5], "smaller.y": [1.0, 2.0, 3.0, 2.5],
    }  # fmt: skip
    found = read_front(columns, {"chosen": {"method": "a", "preference": [0.5, 0.5], "words": "knee"}})
    assert found.efficient == [True, True, True, False] and found.chosen == 1
    page = page_of(front(tmp_path / "front"))
    assert "Shipped: click" in words(page, "front")
    choice = next(block for block in section(page, "front").blocks if isinstance(block, Choice))
    assert np.min(choice.scaled) == 0 and np.max(choice.scaled) == 1 and choice.points[choice.start]["number"] == 2


def test_seeds_of_a_front_are_averaged() -> None:
    columns = {"label": ["a", "a"], "seed": [0, 1], "preference.x": [1, 1], "greater.x": [1.0, 3.0]}
    found = read_front(columns, {})
    assert found.values.tolist() == [[2.0]] and found.seeds == 2 and found.chosen is None


def test_a_comparison_speaks_first_and_brings_its_best_run(tmp_path: Path) -> None:
    page = page_of(comparison(tmp_path / "cmp"))
    assert page.verdict == "Sharing pays." and "Nobody pays." in words(page, "comparison")
    assert "mmoe + equal, seed 2" in words(page, "learning")
    failed = [
        block for block in section(page, "comparison").blocks if isinstance(block, Table) and "failed" in block.title
    ]
    assert failed[0].rows == [["b", "crashed", "no memory"]]


def test_a_sweep_names_its_best_trial(tmp_path: Path) -> None:
    text = words(page_of(sweep(tmp_path / "sweep")), "sweep")
    assert "8 trials: 7 complete, 1 failed. Best: trial 1 (mmoe + equal)" in text
    assert "train.rate 0.8 and sharing.widths 0.2" in text


def test_affinities_name_groups(tmp_path: Path) -> None:
    text = words(page_of(affinity(tmp_path / "groups")), "affinity")
    assert "Suggested groups: click and like + watch (score 0.5)." in text


def test_affinities_of_one_step_are_told_in_millionths(tmp_path: Path) -> None:
    file = affinity(tmp_path / "groups") / "affinity.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    found["affinity"] = [[4e-5 if row == column else 1e-6 * (row - column) for column in range(3)] for row in range(3)]
    file.write_text(json.dumps(found), encoding="utf-8")
    text = words(page_of(file.parent), "affinity")
    assert "Most helpful: watch to click (+2); least: click to watch (−2). In ppm of the loss." in text


def test_importance_says_what_tasks_share(tmp_path: Path) -> None:
    text = words(page_of(run(tmp_path / "run")), "importance")
    assert f"of {len(TASKS)} tasks" in text


def test_files_may_be_named_themselves(tmp_path: Path) -> None:
    sweep(tmp_path)
    other = tmp_path / "renamed.json"
    other.write_text((tmp_path / "sweep.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert section(page_of(other), "sweep").blocks


def test_nothing_outside_a_folder_is_read(tmp_path: Path) -> None:
    run(tmp_path / "secret", seeds=1)
    found = json.loads((comparison(tmp_path / "cmp") / "comparison.json").read_text(encoding="utf-8"))
    for best in ("../secret/bundle", str(tmp_path / "secret" / "bundle")):
        write(tmp_path / "cmp" / "comparison.json", {**found, "best": best})
        assert not section(page_of(tmp_path / "cmp"), "learning").blocks
