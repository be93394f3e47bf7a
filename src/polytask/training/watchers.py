"""Who looks at a run beside the terminal: several at once, and the loggers of ``train.log``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import polytask
from polytask import tracking
from polytask.config import Config, find
from polytask.errors import MissingExtraError, Problem, UserError
from polytask.tracking.base import LoggerBuilder
from polytask.tracking.session import Tracking
from polytask.training.folder import RECORDS
from polytask.training.loop import Record, Training
from polytask.training.records import plain, read_records
from polytask.training.single import Watcher


class Watchers:
    """Several watchers as one.

    Args:
        watchers: In the order in which they are told.
    """

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)

    def tell(self, problem: Problem) -> None:
        """A finding that stops nothing."""
        for watcher in self._watchers:
            watcher.tell(problem)

    def start(self, title: str, training: Training, folder: Path) -> None:
        """A run begins, or goes on."""
        for watcher in self._watchers:
            watcher.start(title, training, folder)

    def see(self, record: Record) -> None:
        """One record."""
        for watcher in self._watchers:
            watcher.see(record)

    def finish(self) -> None:
        """The run is over."""
        for watcher in self._watchers:
            watcher.finish()


def loggers(config: Config) -> dict[str, LoggerBuilder]:
    """What ``train.log`` names.

    Raises:
        UserError: A name is unknown, or a package is missing.
    """
    found = {
        name: find("polytask.tracking", name, path=f"train.log[{place}]", allow_code=config.allow_code)
        for place, name in enumerate(config.train.log)
    }
    # those of polytask are named after the package that they need, and so are the extras
    missing = [name for name in found if name in tracking.__all__ and find_spec(name) is None]
    errors = [MissingExtraError(name, extra=name, purpose=f'train.log = ["{name}"]') for name in missing]
    if errors:
        raise errors[0] if len(errors) == 1 else UserError(problem for error in errors for problem in error.problems)
    return found


@contextmanager
def tracked(
    builders: dict[str, LoggerBuilder], out: Path, *, tell: Callable[[Problem], None] | None
) -> Iterator[_TrackingWatcher]:
    """A watcher that hands all records to the loggers.

    Args:
        builders: The loggers.
        out: The run folder.
        tell: Hears what goes wrong with them; Python warnings without it.
    """
    tell = tell or (lambda problem: warnings.warn(str(problem), stacklevel=2))
    session = Tracking(builders, out, version=polytask.__version__, tell=tell)
    try:
        yield _TrackingWatcher(session, idle=not builders)
    finally:
        session.close()


class _TrackingWatcher:
    """The loggers as a watcher."""

    def __init__(self, session: Tracking, *, idle: bool) -> None:
        self._session, self._idle = session, idle

    def tell(self, problem: Problem) -> None:
        """Findings are for people."""

    def start(self, title: str, training: Training, folder: Path) -> None:
        if self._idle:
            return
        names, file = [task.name for task in training.model.tasks], folder / RECORDS
        records = read_records(file) if file.exists() else ()
        kept = (record for record in records if not training.owes(record))
        self._session.begin(folder, tasks=names, steps=training.steps, records=kept)

    def see(self, record: Record) -> None:
        if not self._idle:
            self._session.see(plain(record))

    def finish(self) -> None:
        self._session.finish()
