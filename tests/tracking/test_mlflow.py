from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from killing import Bomb, KilledError

from polytask.config import Config
from polytask.errors import UserError
from polytask.tracking.mlflow import place
from polytask.training.run import train_run

pytest.importorskip("mlflow")
# SQLAlchemy 2.1 warns of what MLflow 3.17 does with it, and MLflow leaves a connection to its database open
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_runs_can_be_read_back(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds, the second one killed and taken up again: one database, nested runs, no step twice."""
    monkeypatch.chdir(tmp_path)
    config = new_config(
        ("click", "spend"), train={"log": ["mlflow"], "epochs": 3, "seeds": 2, "checkpoint_every": 3, "seed": 4}
    )
    with pytest.raises(KilledError):
        train_run(config, Path("runs/first"), data=table, watchers=[Bomb(23)])
    result = train_run(config, Path("runs/first"), data=table, resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]

    client: Any = importlib.import_module("mlflow").MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("polytask")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"first", "first/seeds/4", "first/seeds/5"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    mean, seed = runs["first"], runs["first/seeds/5"]
    assert seed.data.tags["mlflow.parentRunId"] == mean.info.run_id
    assert seed.data.tags["polytask.seed"] == "5" and seed.data.tags["polytask.kind"] == "seed"
    assert seed.data.params["sharing.use"] == "mmoe" and seed.data.params["train.batch_size"] == "64"
    assert mean.data.metrics["final/test/click/auc"] == pytest.approx(result.scores["test"]["click"]["auc"])
    assert seed.data.metrics["final/test/spend/r2"] == pytest.approx(result.seeds[1]["test"]["spend"]["r2"])
    for name in ("loss/click", "weight/spend", "learning_rate", "validation/click/auc"):
        steps = [point.step for point in client.get_metric_history(seed.info.run_id, name)]
        assert len(steps) == len(set(steps)) and {8, 16, 24} <= set(steps)
    artifacts = {item.path for item in client.list_artifacts(seed.info.run_id)}
    assert artifacts == {"config.toml", "scores.json", "bundle"}
    kept = client.download_artifacts(seed.info.run_id, "bundle", str(tmp_path))
    assert (Path(kept) / "model.safetensors").read_bytes() == (
        result.path / "seeds/5/bundle/model.safetensors"
    ).read_bytes()
    assert (
        json.loads((result.path / "seeds/5/tracking.json").read_text())["loggers"]["mlflow"]["id"] == seed.info.run_id
    )


def test_where_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(tmp_path / "runs/first") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert place(tmp_path / "runs/first") == "http://tracking:5000"


@pytest.mark.parametrize("uri", ["file:///data/mlruns", "mlruns", "./mlruns"])
def test_a_folder_is_refused(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(
        UserError, match=r"is a folder, which MLflow no longer writes; say sqlite:///.*mlruns/mlflow\.db"
    ):
        place(tmp_path)
