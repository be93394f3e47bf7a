"""Runs that die in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polytask.errors import Problem


class KilledError(Exception):
    """Stands for a process that ends without warning."""


class Bomb:
    """A watcher at which a run dies."""

    def __init__(self, step: int) -> None:
        self._step = step

    def tell(self, problem: Problem) -> None: ...

    def start(self, title: str, training: Any, folder: Path) -> None: ...

    def see(self, record: Any) -> None:
        if record.step == self._step:
            raise KilledError

    def finish(self) -> None: ...
