from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.comparing.lab import Lab
from polytask.comparing.outcome import Failure, Outcome
from polytask.comparing.plan import Run
from polytask.config import Config, dump_config, load_config
from polytask.errors import UserError
from polytask.grouping import Grouping, group
from polytask.grouping.lookahead import read_affinities
from polytask.grouping.options import Options
from polytask.grouping.result import place_problems
from polytask.grouping.run import run_grouping
from polytask.tables import open_tables
from polytask.training.run import train_run

QUICK = {"steps": 20, "batch_size": 64}
TASKS = ("click", "spend", "visits")
CHAIN = {
    "click": {"kind": "binary", "label": "click"},
    "like": {"kind": "binary", "label": "(click == 1) and (topic == 'sport')", "after": "click"},
    "spend": {"kind": "regression", "label": "spend", "weight": "weight"},
}


@pytest.fixture(scope="module")
def lookahead(
    tmp_path_factory: pytest.TempPathFactory, new_table: Callable[..., pa.Table], new_config: Any
) -> Grouping:
    out = tmp_path_factory.mktemp("group") / "lookahead"
    return run_grouping(new_config(TASKS, train=QUICK), Options(), out, data=new_table())


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, new_table: Callable[..., pa.Table], new_config: Any) -> Grouping:
    out = tmp_path_factory.mktemp("group") / "pairs"
    return run_grouping(new_config(TASKS, train=QUICK), Options("pairs", seeds=2), out, data=new_table())


def probes(run: Path) -> np.ndarray:
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    return np.array([line["affinity"] for line in lines if line["kind"] == "probe"], dtype=float)


def test_lookahead_averages_the_probes_of_one_training(lookahead: Grouping) -> None:
    recorded = probes(lookahead.path / "runs" / "lookahead" / "0")
    assert len(recorded) == 16  # two epochs of eight steps: a short run is probed more often than every 10
    assert lookahead.affinity.mean == pytest.approx(recorded.mean(0))
    assert len(lookahead.affinity.samples) == 10
    assert lookahead.affinity.samples[0] == pytest.approx(recorded[:2].mean(0))
    assert "only --check trains the groups themselves" in lookahead.verdict


def test_the_file_has_the_agreed_keys(lookahead: Grouping) -> None:
    found = json.loads((lookahead.path / "affinity.json").read_text())
    assert found["format"] == 1 and found["method"] == "lookahead" and found["tasks"] == list(TASKS)
    assert np.array(found["affinity"]).shape == np.array(found["spread"]).shape == (3, 3)
    assert sorted(task for one in found["groups"] for task in one) == sorted(TASKS)
    assert len(found["candidates"]) == 3 and {"groups", "score"} <= found["candidates"][0].keys()
    best = max(found["candidates"], key=lambda one: one["score"])
    assert found["score"] <= best["score"]
    page = (lookahead.path / "grouping.md").read_text()
    assert all(sentence in page for sentence in lookahead.sentences)


def test_pairs_are_gains_in_loss_beside_each_partner(pairs: Grouping) -> None:
    def loss(folder: str, task: str, seed: int) -> float:
        scores = json.loads((pairs.path / "runs" / "groups" / folder / str(seed) / "scores.json").read_text())
        return 1.0 - float(scores["scores"]["validation"][task]["improvement"])

    for seed in (0, 1):
        gain = 1.0 - loss("click+spend", "spend", seed) / loss("spend", "spend", seed)
        assert pairs.affinity.samples[seed, 0, 1] == pytest.approx(gain)
    assert np.isnan(np.diag(pairs.affinity.mean)).all()
    assert len(list((pairs.path / "runs" / "groups").iterdir())) == 6  # three tasks, three pairs


def test_a_check_trains_what_is_missing(
    pairs: Grouping, table: pa.Table, new_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    attempt = Lab.attempt

    def seen(self: Lab, run: Run, tell: Any) -> Outcome:
        done.append(run.key)
        return attempt(self, run, tell)

    monkeypatch.setattr(Lab, "attempt", seen)
    config = new_config(TASKS, train=QUICK)
    with pytest.raises(UserError, match="holds a grouping already"):
        run_grouping(config, Options("pairs", seeds=2, check=2), pairs.path, data=table)
    found = run_grouping(config, Options("pairs", seeds=2, check=2, resume=True), pairs.path, data=table)
    assert {key.rsplit("/", 1)[0] for key in done} == {"runs/groups/click+spend+visits"}
    assert found.check is not None
    names = [entry.method.name for entry in found.check.analysis.entries]
    assert names[-1] == "one network per task" and "one model of all tasks" in names
    assert (found.path / "check" / "leaderboard.md").exists() and found.sentences[-1].startswith("Trained: ")


def test_a_failed_pair_is_not_known(
    tmp_path: Path, table: pa.Table, new_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Lab, run: Run, tell: Any) -> Outcome:
        if run.group is not None and run.group.tasks == ("click", "spend"):
            return Outcome(failure=Failure("diverged", "a loss is NaN"))
        tasks = run.group.tasks if run.group is not None else (run.task,)
        loss = 0.8 if run.group is None else 0.6
        return Outcome({"validation": {str(task): {"improvement": 1.0 - loss} for task in tasks}})

    monkeypatch.setattr(Lab, "attempt", fails)
    found = run_grouping(new_config(TASKS, train=QUICK), Options("pairs", seeds=2), tmp_path / "g", data=table)
    mean = found.affinity.mean
    assert math.isnan(mean[0, 1]) and math.isnan(mean[1, 0])
    assert mean[0, 2] == mean[2, 1] == pytest.approx(0.25)
    assert [key for key, _ in found.affinity.failures] == [f"runs/groups/click+spend/{seed}" for seed in (0, 1)]
    assert "2 runs failed" in found.verdict


def test_a_chain_stays_together(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    config = new_config(CHAIN, train=QUICK)
    found = run_grouping(config, Options("pairs", seeds=1), tmp_path / "g", data=table)
    assert {folder.name for folder in (found.path / "runs" / "groups").iterdir()} == {
        "click+like", "click+like+spend", "spend",
    }  # fmt: skip
    mean = found.affinity.mean
    assert math.isnan(mean[0, 1]) and math.isnan(mean[1, 0])  # what they give each other is not known
    assert mean[0, 2] == mean[1, 2]  # a partner is the whole chain
    assert all(("click" in one) == ("like" in one) for one in found.groups)
    assert "click and like are one chain" in found.verdict
    whole = {name: CHAIN[name] for name in ("click", "like")}
    with pytest.raises(UserError, match="all 2 are one chain, which stays together"):
        run_grouping(new_config(whole, train=QUICK), Options(), tmp_path / "h", data=table)


def test_a_run_with_affinities_is_grouped_and_its_groups_are_trained(
    tmp_path: Path, table: pa.Table, new_config: Any
) -> None:
    pq.write_table(table, tmp_path / "log.parquet")
    train = {**QUICK, "probe": 5, "probe_affinity": True}
    config = new_config(TASKS, train=train, data={"source": str(tmp_path / "log.parquet")})
    train_run(config, tmp_path / "run", check=False)
    found = group(tmp_path / "run", groups=2, verbose=False)
    assert found.path == tmp_path / "run" / "grouping"
    assert found.affinity.mean == pytest.approx(probes(tmp_path / "run").mean(0))
    before = open_tables(config).roles
    for file, tasks in zip(found.configs, found.groups, strict=True):
        one = load_config(file)
        assert tuple(one.tasks) == tasks
        after = open_tables(one).roles
        assert {name: role.kind for name, role in after.items()} == {name: role.kind for name, role in before.items()}
        train_run(one, tmp_path / file.stem, check=False)


def test_labels_of_other_tasks_become_no_features(tmp_path: Path, lookahead: Grouping, pairs: Grouping) -> None:
    """Whatever the suggestion, configurations of single groups drop what only other tasks read."""
    from polytask.grouping.configs import write_configs
    from polytask.serving import load_bundle

    config = load_config(lookahead.path / "config.toml", components=False)
    preprocessor = load_bundle(lookahead.path / "runs" / "lookahead" / "0" / "bundle").preprocessor
    (tmp_path / "group-7.toml").touch()
    files = write_configs(config, [("click",), ("spend", "visits")], preprocessor, tmp_path)
    assert sorted(tmp_path.iterdir()) == files  # an earlier suggestion is gone
    dropped = [set(tomllib.loads(file.read_text())["data"]["drop"]) - set(config.data.drop) for file in files]
    assert dropped == [{"spend", "visits", "weight"}, {"click"}]


def test_everything_is_refused_before_any_training(tmp_path: Path, table: pa.Table, new_config: Any) -> None:
    with pytest.raises(UserError) as found:
        run_grouping(new_config(("click",)), Options("lookahaed", groups=0), tmp_path / "g", data=table)
    assert [problem.where for problem in found.value.problems] == ["method", "groups", "tasks"]
    assert found.value.problems[0].remedy == "did you mean 'lookahead'?"
    config = new_config(TASKS, train=QUICK, balancer={"use": "constant", "weights": [1.0, 2.0, 3.0]})
    with pytest.raises(UserError, match=r"balancer.*\(together\)"):
        run_grouping(config, Options("pairs"), tmp_path / "g", data=table)
    config = new_config(TASKS, train={**QUICK, "warm_start": "bundle"})
    with pytest.raises(UserError, match=r"train\.warm_start: .*models of fewer tasks cannot start from it"):
        run_grouping(config, Options(), tmp_path / "g", data=table.drop_columns("spend"))
    assert not (tmp_path / "g").exists()


def test_a_run_without_affinities_is_refused(tmp_path: Path, pairs: Grouping) -> None:
    with pytest.raises(UserError, match=r"holds no affinities; group the configuration itself"):
        group(pairs.path / "runs" / "groups" / "click+spend" / "0", verbose=False)
    with pytest.raises(UserError, match=r"records\.jsonl: cannot be read"):
        group(pairs.path, verbose=False)


@pytest.mark.parametrize("method", ["lookahead", "pairs"])
def test_the_suggestion_has_a_figure_and_words(method: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra 'plot'")
    found: Grouping = request.getfixturevalue(method)
    assert (found.path / "affinity.png").exists()
    assert "![Affinities between tasks, groups framed](affinity.png)" in (found.path / "grouping.md").read_text()
    assert tomllib.loads(dump_config(load_config(found.configs[0], components=False)))["tasks"]


def test_a_run_with_affinities_is_not_measured_again_and_goes_into_no_other_folder(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"data": {"source": "x.csv"}, "tasks": {name: {"kind": "binary", "label": name} for name in "ab"}}
    )
    wrong = Options("pairs", seeds=2).problems(config, tmp_path)
    assert [(one.where, one.what) for one in wrong] == [
        (name, f"given beside {tmp_path}, whose affinities are measured") for name in ("seeds", "method")
    ]
    assert not Options().problems(config, tmp_path) and not Options("pairs", seeds=2).problems(config)
    assert not place_problems(tmp_path / "new") and not place_problems(tmp_path)
    (tmp_path / "affinity.json").touch()
    assert not place_problems(tmp_path)
    (tmp_path / "config.toml").touch()  # begun from a configuration
    assert [one.what for one in place_problems(tmp_path)] == ["exists and is no grouping of a run"]


def test_damaged_records_are_left_out_and_other_sizes_told(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    good = '{"kind": "probe", "affinity": [[1, null], [0.5, 2]]}'
    bad = [
        '{"kind": "probe"',
        '["probe"]',
        '{"kind": "probe", "affinity": "x"}',
        '{"kind": "probe", "affinity": [[1], [1, 2]]}',
    ]
    file.write_text("\n".join([*bad, good, "[" * 99_999 + '"probe"']))
    np.testing.assert_array_equal(read_affinities(file, 2), [[[1.0, math.nan], [0.5, 2.0]]])
    file.write_text('{"kind": "probe", "affinity": [1, 2]}\n' + good)
    with pytest.raises(UserError, match="its affinities are a table of 2, the configuration has 2 tasks"):
        read_affinities(file, 2)
