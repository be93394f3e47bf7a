"""MLflow: a server, or a database beside the run folder; seeds and baselines are nested in the run folder's run."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from polytask.errors import Problem, UserError
from polytask.tracking.base import Logger, Point, TrackedRun, flat, needed

ENOUGH = 100 * 2**20
"""Bytes of a bundle that are uploaded; of a larger one only its path is noted."""
_METRICS, _PARAMETERS = 1_000, 100  # what one request may hold
_NAME, _LENGTH = 250, 6_000  # letters of a name, and of the value of a parameter
_SMALL = ("config.toml", "environment.json", "scores.json")


def mlflow(run: TrackedRun) -> Logger:
    """Runs of MLflow, at ``MLFLOW_TRACKING_URI`` or in ``mlflow.db`` beside the run folder.

    The experiment is ``MLFLOW_EXPERIMENT_NAME`` or ``polytask``.

    Args:
        run: The run.

    Raises:
        MissingExtraError: Without the extra ``mlflow``.
        UserError: ``MLFLOW_TRACKING_URI`` is a folder, which MLflow no longer writes.
    """
    return _MLflow(run)


def place(run_folder: Path) -> str:
    """Where the runs of a run folder are kept.

    Raises:
        UserError: See `mlflow`.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_beside(run_folder, 'mlflow.db')}"
    if "://" not in uri or uri.startswith("file:"):
        what = f"'{uri}' is a folder, which MLflow no longer writes"
        raise UserError(Problem("MLFLOW_TRACKING_URI", what, f"say sqlite:///{uri.removeprefix('file://')}/mlflow.db"))
    return uri


class _MLflow:
    points = 200  # a metric costs half a millisecond of a core, however many are sent at once

    def __init__(self, run: TrackedRun) -> None:
        package = needed("mlflow", extra="mlflow", purpose='train.log = ["mlflow"]')
        self._entities: Any = needed("mlflow.entities", extra="mlflow", purpose='train.log = ["mlflow"]')
        # a server that is gone should be given up in seconds, not in minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        # how a database is made is of no interest
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        self._run, self._last = run, 0
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            _make(_beside(run.root, "mlflow.db"), package)
        self._client: Any = package.MlflowClient(tracking_uri=place(run.root))
        if run.id is not None:
            self.id = run.id
            self._client.update_run(self.id, status="RUNNING")
            return
        about = {**run.tags, "folder": str(run.folder.absolute())}
        tags = {f"polytask.{name}": value for name, value in about.items()}
        if run.parent is not None:
            tags["mlflow.parentRunId"] = run.parent
        self.id = self._client.create_run(self._experiment(), tags=tags, run_name=run.name).info.run_id
        values = {_allowed(key): str(value)[:_LENGTH] for key, value in flat(run.config).items()}
        parameters = [self._entities.Param(key, value) for key, value in values.items()]
        for batch in _batches(parameters, _PARAMETERS):
            self._client.log_batch(self.id, params=batch)

    def log(self, points: Sequence[Point]) -> None:
        metrics = [
            self._entities.Metric(_allowed(name), value, int(1000 * point.time), point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for batch in _batches(metrics, _METRICS):
            self._client.log_batch(self.id, metrics=batch)
        self._last = points[-1].step

    def finish(self, scores: Mapping[str, float] | None) -> None:
        if scores is None:
            self._client.set_terminated(self.id, status="KILLED")
            return
        self.log([Point(int(scores.get("final/steps", self._last)), time.time(), scores)])
        for file in (self._run.folder / name for name in _SMALL):
            if file.exists():
                self._client.log_artifact(self.id, str(file))
        bundle = self._run.folder / "bundle"
        if bundle.exists():
            self._client.set_tag(self.id, "polytask.bundle", str(bundle.absolute()))
            if sum(file.stat().st_size for file in bundle.rglob("*")) <= ENOUGH:
                self._client.log_artifacts(self.id, str(bundle), "bundle")
        self._client.set_terminated(self.id)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "polytask"
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # else MLflow would put the files of a local database into the current folder
        own = None if os.environ.get("MLFLOW_TRACKING_URI") else str(_beside(self._run.root, "mlflow-artifacts"))
        return str(self._client.create_experiment(name, artifact_location=own))


def _beside(run_folder: Path, name: str) -> Path:
    return run_folder.absolute().parent / name


def _make(file: Path, package: Any) -> None:
    """An empty database, whole or not at all: MLflow takes seconds for it, and cannot open the half of one."""
    if file.exists():
        return
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".mlflow-") as folder:
        made = Path(folder, file.name)
        package.MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # another run was quicker
            os.link(made, file)


def _allowed(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:_NAME]


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
