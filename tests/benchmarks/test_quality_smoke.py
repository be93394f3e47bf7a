"""The quality benchmark on a small simulated log: it measures what it says, and goes on where it stopped."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

pytest.importorskip("lightgbm")

from benchmarks.quality.bootstrap import Ranking, exact_auc, resample, task_aucs
from benchmarks.quality.cli import CONFIGS, main, parse
from benchmarks.quality.features import Matrix, read_matrix
from benchmarks.quality.labels import Labels, read_labels
from benchmarks.quality.published import PUBLISHED, best

from polytask.config import load_config
from polytask.data.simulators import ShortVideo
from polytask.tables import open_tables
from polytask.training.prepared import Prepared, prepare

CONFIG = """
[data]
source = "train.parquet"
validation = "validation.parquet"
test = "test.parquet"
drop = ["impression_id", "time", "play_time_s", "like", "follow"]

[features]
user_id = { kind = "categorical" }
video_id = { kind = "categorical" }
author_id = { kind = "categorical" }
hour = { kind = "categorical" }
account_days = { kind = "numeric" }
duration_s = { kind = "numeric" }
recent_videos = { kind = "sequence" }

[tasks.click]
kind = "binary"
label = "click"
group = "user_id"

[tasks.long_view]
kind = "binary"
label = "long_view"
group = "user_id"

[tasks.share]
kind = "binary"
label = "share"
where = "click == 1"
group = "user_id"

[encoder]
embedding = 4

[sharing]
use = "mmoe"
experts = 2
widths = [8]

[train]
steps = 6
batch_size = 256
device = "cpu"
"""
TASKS = ("click", "long_view", "share")
LINES = [*TASKS, "mean of all 3"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality")
    for number, (part, rows) in enumerate({"train": 3_000, "validation": 1_200, "test": 1_000}.items()):
        log = ShortVideo(rows=rows, users=150, videos=60, seed=7 + number, share_rate=0.1)
        log.write_parquet(folder / f"{part}.parquet")
    file = folder / "small.toml"
    file.write_text(CONFIG, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def prepared(config: Path) -> Prepared:
    return prepare(open_tables(load_config(config)), buffer=10_000)


@pytest.fixture(scope="module")
def command(config: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("runs") / "small"
    sizes = ["--seeds", "2", "--resamples", "30", "--rounds", "5", "--threads", "1"]
    return ["--config", str(config), "--out", str(out), "--json", str(out.with_suffix(".json")), *sizes]


@pytest.fixture(scope="module")
def measured(command: list[str]) -> dict[str, Any]:
    main(command)
    return dict(json.loads(Path(command[5]).read_text(encoding="utf-8")))


def row(measured: dict[str, Any], kind: str, task: str, candidate: str, less: str | None = None) -> dict[str, Any]:
    wanted = {"kind": kind, "task": task, "candidate": candidate} | ({"less": less} if less else {})
    [found] = [one for one in measured["rows"] if wanted.items() <= one.items()]
    return dict(found)


def test_every_line_has_three_candidates_and_two_differences(measured: dict[str, Any]) -> None:
    assert list(measured["candidates"]) == ["LightGBM", "one network per task", "one model"]
    counted = {line: sum(one["task"] == line for one in measured["rows"]) for line in LINES}
    assert counted == dict.fromkeys(LINES, 5)
    assert len(measured["rows"]) == 5 * len(LINES)


def test_the_mean_line_is_the_mean_of_the_tasks(measured: dict[str, Any]) -> None:
    for candidate in measured["candidates"]:
        each = [row(measured, "auc", task, candidate)["seeds"] for task in TASKS]
        np.testing.assert_allclose(row(measured, "auc", "mean of all 3", candidate)["seeds"], np.mean(each, axis=0))


def test_differences_are_those_of_the_scores_and_lie_in_their_interval(measured: dict[str, Any]) -> None:
    ours = row(measured, "auc", "click", "one model")
    trees = row(measured, "auc", "click", "LightGBM")
    found = row(measured, "difference", "click", "one model", "LightGBM")
    assert found["mean_of_seeds"]["value"] == pytest.approx(ours["mean"] - trees["mean"])
    averaged = ours["averaged_predictions"] - trees["averaged_predictions"]
    assert found["averaged_predictions"]["value"] == pytest.approx(averaged)
    assert found["mean_of_seeds"]["low"] < found["mean_of_seeds"]["value"] < found["mean_of_seeds"]["high"]


def test_networks_score_as_their_own_run_says(measured: dict[str, Any], command: list[str]) -> None:
    for number, seed in enumerate(row(measured, "auc", "share", "one model")["seeds"]):
        file = Path(command[3]) / "networks" / "seeds" / str(number) / "scores.json"
        own = json.loads(file.read_text(encoding="utf-8"))["scores"]["test"]["share"]
        assert seed == pytest.approx(own["auc"], abs=2e-3)  # the run's own AUC is binned


def test_the_file_says_what_was_run_and_on_what(measured: dict[str, Any], command: list[str]) -> None:
    assert measured["command"].startswith("python benchmarks/quality.py --config ")
    assert measured["command"].endswith(command[-1])
    assert measured["machine"]["cores"] >= 1
    assert measured["environment"]["packages"].keys() >= {"torch", "numpy"}
    assert measured["bootstrap"] == {"resamples": 30, "unit": "user_id"}
    settings = measured["candidates"]["LightGBM"]["tasks"]["click"]["tried"]
    assert {one["num_leaves"] for one in settings} == {31, 63}


def test_again_nothing_is_trained_and_the_figures_are_the_same(
    measured: dict[str, Any], command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("lightgbm.train", refuse)
    monkeypatch.setattr("polytask.training.single.new_training", refuse)
    main(command)
    again = json.loads(Path(command[5]).read_text(encoding="utf-8"))
    assert again["rows"] == measured["rows"]
    text = capsys.readouterr().out
    assert "small: test AUC (1,000 rows), mean ± standard deviation over 2 seeds" in text
    assert "one model less one network per task: test AUC with 95 % interval, paired bootstrap over" in text
    assert "values of user_id (30 resamples)" in text


def test_results_of_other_settings_are_refused(measured: dict[str, Any], command: list[str]) -> None:
    other = [*command, "--rounds", "6"]
    with pytest.raises(SystemExit, match=r"click.json: holds LightGBM results of other data, seeds or settings"):
        main(other)
    other = [*command, "--no-lightgbm", "--set", "train.steps=7"]
    with pytest.raises(SystemExit, match=r"train.steps: was 6 when this run was begun, is 7 now"):
        main(other)


def test_only_binary_tasks_are_compared(command: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"tasks.share: is of kind 'regression'; .*binary tasks only"):
        main([*command, "--set", "tasks.share.kind=regression"])


def test_labels_know_the_sample_space_and_the_users(prepared: Prepared) -> None:
    labels = read_labels(prepared, "test")
    assert (labels.tasks, labels.rows, labels.unit) == (TASKS, 1_000, "user_id")
    assert labels.observed[:2].all()
    assert (labels.observed[2] == labels.positive[0]).all()
    assert set(labels.units) == set(range(labels.units.max() + 1))
    assert labels.rates()["share"] == pytest.approx(labels.positive[2].sum() / labels.positive[0].sum())


def test_matrix_has_the_features_of_the_networks(prepared: Prepared) -> None:
    matrix = read_matrix(prepared, "validation")
    assert matrix.values.shape == (1_200, len(matrix.names))
    raw = {name.partition(":")[0] for name in matrix.names}
    assert raw == set(prepared.preprocessor.feature_columns())
    assert "duration_s" not in matrix.categorical
    assert {"user_id", "recent_videos:1"} <= set(matrix.categorical)
    lengths, first = (matrix.values[:, matrix.names.index(f"recent_videos:{name}")] for name in ("length", "1"))
    np.testing.assert_array_equal(np.isnan(first), lengths == 0)


def test_ids_can_be_kept_or_left_out() -> None:
    matrix = Matrix(
        ("user", "age", "city"), np.array([[2.0, 30.0, 5.0], [3.0, 40.0, 5.0]]), ("user", "city"), ("user",)
    )
    values, categorical = matrix.with_ids("none")
    assert (values.tolist(), categorical) == ([[30.0, 5.0], [40.0, 5.0]], [1])
    values, categorical = matrix.with_ids("category")
    assert (values[:, 0].tolist(), categorical) == ([2.0, 3.0], [0, 2])


def test_weighted_auc_is_that_of_repeated_rows() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 20, 300) / 20, rng.random(300) < 0.2
    weights = rng.integers(0, 4, 300)
    expected = metrics.roc_auc_score(np.repeat(positive, weights), np.repeat(scores, weights))
    assert Ranking(scores, positive).auc(weights.astype(float)) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(exact_auc(scores, np.zeros(300, bool)))


def test_bootstrap_is_paired_draws_users_and_has_the_right_width() -> None:
    rng = np.random.default_rng(1)
    rows = 4_000
    positive = rng.random((1, rows)) < 0.3
    scores = (positive + rng.normal(size=(2, 1, rows))).astype(np.float32)
    labels = Labels(("a",), positive, np.ones((1, rows), bool), np.arange(rows), "row")
    found = resample({"x": scores, "same": scores}, labels, resamples=200)
    same = found.difference("x", "same", ["a"])
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    np.testing.assert_allclose(found.mean_of_seeds["x"][0], task_aucs(scores, labels).mean(axis=0))
    # standard error of AUC by Hanley and McNeil 1982 for one of the seeds
    one = resample({"x": scores[:1]}, labels, resamples=400).averaged["x"]
    area, n, m = one[0, 0], positive.sum(), (~positive).sum()
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    expected = np.sqrt((area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m))
    assert one[1:, 0].std() == pytest.approx(expected, rel=0.15)
    # every user stands for eight rows that agree: the same figures as of one eighth of the rows
    clustered = Labels(("a",), np.repeat(positive, 8, 1), np.ones((1, 8 * rows), bool), np.repeat(labels.units, 8), "u")
    wide = resample({"x": np.repeat(scores[:1], 8, 2)}, clustered, resamples=400).averaged["x"]
    np.testing.assert_allclose(wide, one)


def test_configurations_exist_for_the_named_data() -> None:
    for file in CONFIGS.values():
        path = Path(sys.modules["benchmarks.quality.cli"].__file__ or "").with_name(file)
        config = load_config(path)
        assert all(task.kind == "binary" for task in config.tasks.values())
        for entry in PUBLISHED.get(path.stem, ()):
            assert entry.auc.keys() == config.tasks.keys()
    assert best("census-income-group-1", "never_married") == 0.9945


def test_nothing_to_measure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--data", "kuairand", "--out", "x", "--no-networks", "--no-lightgbm"])
    assert "leave nothing to measure" in capsys.readouterr().err
