"""All loggers of one run folder: begun with each seed and baseline, fed with records, never twice with the same one."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from polytask.errors import Problem, UserError
from polytask.files import read_json
from polytask.tracking.base import LoggerBuilder, Point, RunKind, TrackedRun
from polytask.tracking.memory import Known, read_known, write_known
from polytask.tracking.points import Window, final_values
from polytask.tracking.sender import Sender

SHORTEST = 10
"""Steps to one point, at least."""


class Tracking:
    """The loggers of a run folder.

    A logger has a place in ``records.jsonl``. A resumed run goes on from there: what it trains again after the last
    checkpoint and the logger already has is passed over, what the logger missed is handed in.

    Args:
        builders: The loggers by their names in ``train.log``.
        root: The run folder.
        version: Of polytask.
        tell: Hears of what stops nothing.
    """

    def __init__(
        self, builders: Mapping[str, LoggerBuilder], root: Path, *, version: str, tell: Callable[[Problem], None]
    ) -> None:
        self._builders, self._root, self._version, self._tell = dict(builders), root, version, tell
        self._mean: _Tracked | None = None
        self._current: _Tracked | None = None
        self._begun = False

    def begin(self, folder: Path, *, tasks: Sequence[str], steps: int, records: Iterable[Mapping[str, Any]]) -> None:
        """A seed or a baseline begins, or goes on.

        Args:
            folder: Where it stands; its configuration is there.
            tasks: Their names, in the order of the losses.
            steps: How many steps it may have.
            records: Those of ``records.jsonl`` that it will not make again.

        Raises:
            UserError: A logger cannot begin, and nothing has been trained yet in this process.
        """
        if not self._builders:
            return
        if folder != self._root and self._mean is None and not (self._root / "records.jsonl").exists():
            self._mean = self._open(self._root, "mean", tasks, steps)
        kind: RunKind = "run" if folder == self._root else "seed"
        if "baselines" in folder.relative_to(self._root).parts[:1]:
            kind = "baseline"
        self._current = self._open(folder, kind, tasks, steps)
        for record in records:
            self._current.see(record)
        self._begun = True

    def see(self, record: Mapping[str, Any]) -> None:
        """One record, in the form of ``records.jsonl``."""
        if self._current is not None:
            self._current.see(record)

    def finish(self) -> None:
        """The seed or baseline is over, or interrupted."""
        if self._current is not None:
            self._current.close()
            self._current = None

    def close(self) -> None:
        """The whole run is over, or interrupted."""
        self.finish()
        if self._mean is not None:
            self._mean.close()
            self._mean = None

    def _open(self, folder: Path, kind: RunKind, tasks: Sequence[str], steps: int) -> _Tracked:
        config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
        known, above = read_known(folder), read_known(self._root) if folder != self._root else {}
        tags = {"version": self._version, "kind": kind}
        if kind != "mean":
            tags["seed"] = str(config["train"]["seed"])
        tracked = _Tracked(TrackedRun(folder, self._root, kind, config, tags, None, None), known, self._tell)
        for name, builder in list(self._builders.items()):
            ids = (one[name].id if name in one else None for one in (known, above))
            try:
                tracked.add(name, builder, *ids, tasks=tasks, steps=steps)
            except Exception as error:  # of another package: it loses its own curves alone
                if self._begun:
                    del self._builders[name]
                    self._tell(_failed(name, "cannot begin", error))
                    continue
                tracked.close()
                if isinstance(error, UserError):
                    raise
                remedy = "see to it, or leave the logger out of train.log"
                raise UserError(Problem(f"logger {name}", _said("cannot begin", error), remedy)) from error
        return tracked


class _Tracked:
    """The loggers of one seed or baseline."""

    def __init__(self, run: TrackedRun, known: dict[str, Known], tell: Callable[[Problem], None]) -> None:
        self._run, self._known, self._tell = run, known, tell
        self._feeds: dict[str, _Feed] = {}
        self._lock = Lock()  # every logger has a thread, and all of them one file

    def add(
        self,
        name: str,
        builder: LoggerBuilder,
        known: str | None,
        parent: str | None,
        *,
        tasks: Sequence[str],
        steps: int,
    ) -> None:
        run = replace(self._run, id=known, parent=parent)
        logger = builder(run)
        have = self._known[name].records if run.id is not None else 0

        def sent(records: int) -> None:
            with self._lock:
                self._known[name] = Known(logger.id, records)
                write_known(self._run.folder, self._known)

        sent(have)
        every = max(SHORTEST, -(-steps // logger.points))
        window = Window(tasks, every, run.config["train"]["learning_rate"])
        self._feeds[name] = _Feed(Sender(logger, sent), window, have)

    def see(self, record: Mapping[str, Any]) -> None:
        for name, feed in list(self._feeds.items()):
            feed.see(record)
            if feed.sender.failure is not None:
                del self._feeds[name]
                self._tell(_failed(name, "failed", feed.sender.failure))

    def close(self) -> None:
        file = self._run.folder / "scores.json"
        scores = final_values(read_json(file)) if file.exists() else None
        for name, feed in self._feeds.items():
            if not feed.sender.close(scores):
                what = "has not taken the last records in time"
                self._tell(Problem(f"logger {name}", what, "they are in records.jsonl", "warning"))
            elif feed.sender.failure is not None:
                self._tell(_failed(name, "failed", feed.sender.failure))
        self._feeds = {}


class _Feed:
    """Records on their way to one logger."""

    def __init__(self, sender: Sender, window: Window, have: int) -> None:
        self.sender = sender
        self._window, self._have, self._seen = window, have, 0

    def see(self, record: Mapping[str, Any]) -> None:
        self._seen += 1
        if self._seen <= self._have:
            return
        for step, values in self._window.add(record):
            self.sender.put(Point(step, time.time(), values), self._seen)


def _said(what: str, error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")  # databases show the whole of a statement
    return f"{what} ({type(error).__name__}: {first})"


def _failed(name: str, what: str, error: Exception) -> Problem:
    remedy = "training goes on without it; --resume would hand in what is missing"
    return Problem(f"logger {name}", _said(what, error), remedy, "warning")
