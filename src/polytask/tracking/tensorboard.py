"""TensorBoard: event files in ``RUN/tensorboard``, one folder per seed and baseline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.tracking.base import Logger, Point, TrackedRun, flat, needed


def tensorboard(run: TrackedRun) -> Logger:
    """Event files for TensorBoard in ``RUN/tensorboard``: scalars, the configuration as text, hyperparameters.

    Args:
        run: The run.

    Raises:
        MissingExtraError: Without the extra ``tensorboard``.
    """
    return _TensorBoard(run)


class _TensorBoard:
    points = 1_000  # TensorBoard itself shows a thousand points a curve

    def __init__(self, run: TrackedRun) -> None:
        writers = _package("tensorboard.summary.writer.event_file_writer")
        self._events = _package("tensorboard.compat.proto.event_pb2")
        self._summaries = _package("tensorboard.compat.proto.summary_pb2")
        self._writer = writers.EventFileWriter(str(run.root / "tensorboard" / run.place), flush_secs=5)
        self._last = 0
        self.id = run.name
        if run.id is None:
            hyper = _package("tensorboard.plugins.hparams.summary_v2")
            texts = _package("tensorboard.plugins.text.summary_v2")
            about = {key: value if isinstance(value, bool | int | float) else str(value)
                     for key, value in {**flat(run.config), **run.tags}.items()}  # fmt: skip
            lines = ["| key | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in about.items())]
            self._write(0, time.time(), hyper.hparams_pb(about, trial_id=run.name))
            self._write(0, time.time(), texts.text_pb("config", "\n".join(lines)))

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            values = [
                self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()
            ]
            self._write(point.step, point.time, self._summaries.Summary(value=values))
            self._last = point.step
        self._writer.flush()

    def finish(self, scores: Mapping[str, float] | None) -> None:
        if scores is not None:
            self.log([Point(int(scores.get("final/steps", self._last)), time.time(), scores)])
        self._writer.close()

    def _write(self, step: int, when: float, summary: Any) -> None:
        self._writer.add_event(self._events.Event(wall_time=when, step=step, summary=summary))


def _package(name: str) -> Any:
    return needed(name, extra="tensorboard", purpose='train.log = ["tensorboard"]')
