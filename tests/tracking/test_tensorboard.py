from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from killing import Bomb, KilledError

from polytask.config import Config
from polytask.training.records import read_records
from polytask.training.run import train_run

pytest.importorskip("tensorboard")


def events(folder: Path) -> Any:
    """What TensorBoard itself would read, every point of it."""
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    return accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def curve(folder: Path, name: str) -> dict[int, float]:
    points = events(folder).Scalars(name)
    assert len({point.step for point in points}) == len(points), "a step is there twice"
    return {point.step: point.value for point in points}


@pytest.fixture
def logged(new_config: Callable[..., Config]) -> Config:
    config: Config = new_config(("click", "spend"), train={"log": ["tensorboard"], "epochs": 5, "checkpoint_every": 3})
    return config


def test_a_run_can_be_read_back(tmp_path: Path, logged: Config, table: pa.Table) -> None:
    result = train_run(logged, tmp_path / "run", data=table)
    folder = tmp_path / "run" / "tensorboard"
    records = list(read_records(tmp_path / "run" / "records.jsonl"))
    evaluations = {one["step"]: one for one in records if one["kind"] == "evaluation"}
    aucs = curve(folder, "validation/click/auc")
    assert aucs == pytest.approx({step: one["scores"]["click"]["auc"] for step, one in evaluations.items()})
    # each point is the mean of the steps since the one before; an evaluation closes it
    losses = {one["step"]: one["losses"][0] for one in records if one["kind"] == "step"}
    start, points = 0, curve(folder, "loss/click")
    assert max(points) == max(losses) == 40
    for stop, value in points.items():
        assert value == pytest.approx(sum(losses[step] for step in range(start + 1, stop + 1)) / (stop - start))
        start = stop
    rates = curve(folder, "learning_rate")
    assert logged.train.learning_rate >= rates[min(rates)] > rates[max(rates)] > 0.0
    (final,) = curve(folder, "final/test/spend/r2").values()
    assert final == pytest.approx(result.scores["test"]["spend"]["r2"])
    read = events(folder)
    (text,) = (read.Tensors(tag) for tag in read.Tags()["tensors"] if tag.startswith("config"))
    assert b"| sharing.use | mmoe |" in text[0].tensor_proto.string_val[0]
    hyper = importlib.import_module("tensorboard.plugins.hparams.metadata")
    assert read.SummaryMetadata(hyper.SESSION_START_INFO_TAG).plugin_data.plugin_name == "hparams"


def test_a_killed_run_goes_on_without_a_step_twice(tmp_path: Path, logged: Config, table: pa.Table) -> None:
    train_run(logged, tmp_path / "straight", data=table)
    for step in (14, 23):
        with pytest.raises(KilledError):
            train_run(logged, tmp_path / "run", data=table, resume=step > 14, watchers=[Bomb(step)])
    train_run(logged, tmp_path / "run", data=table, resume=True)
    for name in ("loss/click", "weight/spend", "learning_rate", "validation/spend/r2", "final/test/click/auc"):
        assert curve(tmp_path / "run/tensorboard", name) == curve(tmp_path / "straight/tensorboard", name)


def test_a_logger_may_join_a_run_that_was_begun_without(tmp_path: Path, logged: Config, table: pa.Table) -> None:
    silent = logged.model_copy(update={"train": logged.train.model_copy(update={"log": ()})})
    with pytest.raises(KilledError):
        train_run(silent, tmp_path / "run", data=table, watchers=[Bomb(21)])
    assert not (tmp_path / "run/tensorboard").exists()
    train_run(logged, tmp_path / "run", data=table, resume=True)
    assert list(curve(tmp_path / "run/tensorboard", "validation/score")) == [8, 16, 24, 32, 40]


def test_seeds_and_baselines_have_folders(tmp_path: Path, new_config: Callable[..., Config], table: pa.Table) -> None:
    train = {"log": ["tensorboard"], "epochs": 1, "seeds": 2, "baselines": True}
    result = train_run(new_config(("click",), train=train), tmp_path / "run", data=table)
    folder = tmp_path / "run/tensorboard"
    places = {file.parent.relative_to(folder).as_posix() for file in folder.rglob("events*")}
    assert places == {".", "seeds/0", "seeds/1", "baselines/click/seeds/0", "baselines/click/seeds/1"}
    (mean,) = curve(folder, "final/test/click/auc").values()
    assert mean == pytest.approx(result.scores["test"]["click"]["auc"])


def test_the_bundle_does_not_know_of_it(tmp_path: Path, new_config: Callable[..., Config], table: pa.Table) -> None:
    result = train_run(new_config(("click",), train={"log": ["tensorboard"], "epochs": 1}), tmp_path / "r", data=table)
    assert result.bundle.config.train.log == ()
