"""A thread that hands points to one logger: a slow one does not hold up training, and a broken one ends alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Condition, Thread

from polytask.tracking.base import Logger, Point

PAUSE = 2.0
"""Seconds between two calls of a logger, at least."""
SHARE = 0.02
"""Share of one core that a logger may take for its calls."""
LIMIT = 30.0
"""Seconds that a finished run waits for a logger."""


class Sender:
    """Hands points to a logger in batches.

    Args:
        logger: Whom.
        sent: Hears how many records the logger has, after every batch.

    Attributes:
        failure: What the logger raised; it is not called again.
    """

    def __init__(self, logger: Logger, sent: Callable[[int], None]) -> None:
        self.failure: Exception | None = None
        self._logger, self._sent = logger, sent
        self._waiting: list[Point] = []
        self._records = 0
        self._closing = False
        self._scores: Mapping[str, float] | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._serve, name="polytask logger", daemon=True)
        self._thread.start()

    def put(self, point: Point, records: int) -> None:
        """Takes a point, with the number of records that it and those before it hold."""
        with self._changed:
            self._waiting.append(point)
            self._records = records
            self._changed.notify()

    def close(self, scores: Mapping[str, float] | None, limit: float = LIMIT) -> bool:
        """Hands over what is left, then the final scores; whether that came to its end in ``limit`` seconds."""
        with self._changed:
            self._scores, self._closing = scores, True
            self._changed.notify()
        self._thread.join(limit)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        due, closing = 0.0, False
        try:
            while not closing:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._closing)
                    self._changed.wait_for(lambda: self._closing, timeout=max(due - time.monotonic(), 0.0))
                    points, records, closing = self._waiting, self._records, self._closing
                    self._waiting = []
                if points:
                    before = time.thread_time()
                    self._logger.log(points)
                    self._sent(records)
                    due = time.monotonic() + max(PAUSE, (time.thread_time() - before) / SHARE)
            self._logger.finish(self._scores)
        except Exception as error:  # noqa: BLE001  # whatever another package raises, it loses its own curves alone
            self.failure = error
