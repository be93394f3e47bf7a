"""What loggers cost a training: their share of the time of its thread, and of a core in their own threads.

python benchmarks/tracking.py
python benchmarks/tracking.py --loggers tensorboard --steps 2000
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import polytask
from polytask.data.simulators import ShortVideo
from polytask.tracking.sender import Sender
from polytask.tracking.session import Tracking

LOGGERS = ("tensorboard", "mlflow", "wandb")


@dataclass
class Spent:
    """Seconds in the training thread, and of a core in the threads of loggers."""

    training: float = 0.0
    loggers: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What one logger took of a training.

    Attributes:
        logger: Its name.
        step: Milliseconds of a step, all in all.
        training: Share of the training thread.
        loggers: Share of a core in the logger's thread, beginning and end included.
    """

    logger: str
    step: float
    training: float
    loggers: float


@contextmanager
def measured() -> Iterator[Spent]:
    """Counts what loggers spend in the block."""
    spent, see, serve = Spent(), Tracking.see, Sender._serve

    def timed(self: Tracking, record: Mapping[str, object]) -> None:
        started = time.perf_counter()
        see(self, record)
        spent.training += time.perf_counter() - started

    def served(self: Sender) -> None:
        serve(self)
        spent.loggers += time.thread_time()

    with patch.object(Tracking, "see", timed), patch.object(Sender, "_serve", served):
        yield spent


def measure(logger: str, steps: int, batch_size: int) -> Result:
    """One training with one logger, two tasks, batch after batch of a simulated log."""
    train = {"log": [logger], "steps": steps, "epochs": steps, "batch_size": batch_size, "patience": 0, "threads": 1}
    with tempfile.TemporaryDirectory() as folder, measured() as spent:
        log = Path(folder) / "log.parquet"
        ShortVideo(rows=40_000, seed=0).write_parquet(log)
        run = polytask.fit(
            log, tasks=["click", "like"], drop=["play_time_s"], train=train, out=Path(folder) / "run", verbose=False
        )
        seconds = json.loads((run.path / "scores.json").read_text(encoding="utf-8"))["seconds"]
    return Result(logger, 1000 * seconds / steps, spent.training / seconds, spent.loggers / seconds)


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loggers", nargs="+", default=LOGGERS, choices=LOGGERS)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=512)
    options = parser.parse_args(arguments)
    print(f"{'logger':12} {'step':>9} {'training thread':>16} {'own thread':>11}")
    results = []
    for logger in options.loggers:
        result = measure(logger, options.steps, options.batch_size)
        print(f"{logger:12} {result.step:6.2f} ms {100 * result.training:14.2f} % {100 * result.loggers:9.2f} %")
        results.append(result)
    return results


if __name__ == "__main__":
    main()
