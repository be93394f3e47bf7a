"""Weights & Biases: offline unless ``WANDB_MODE`` says otherwise; one run per seed and baseline, in one group."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from polytask.tracking.base import Logger, Point, TrackedRun, needed


def wandb(run: TrackedRun) -> Logger:
    """Runs of Weights & Biases in ``RUN/wandb``, which ``wandb sync`` uploads; at once with ``WANDB_MODE=online``.

    The project is ``WANDB_PROJECT`` or ``polytask``.

    Args:
        run: The run.

    Raises:
        MissingExtraError: Without the extra ``wandb``.
    """
    return _Wandb(run)


class _Wandb:
    points = 1_000

    def __init__(self, run: TrackedRun) -> None:
        package = needed("wandb", extra="wandb", purpose='train.log = ["wandb"]')
        self.id = run.id or uuid.uuid4().hex[:8]
        # no console, git or machine statistics: a logger gets the records, nothing else of the user's process
        settings = package.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, save_code=False
        )
        about = {**run.tags, "folder": str(run.folder.absolute())}
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run: Any = package.init(
            dir=str(run.root), mode=mode, project=os.environ.get("WANDB_PROJECT", "polytask"),
            id=self.id, resume=None if mode == "offline" else "allow", name=run.name, group=run.root.name,
            job_type=run.kind, tags=[f"{name}:{value}" for name, value in run.tags.items()],
            config={**run.config, "polytask": about}, settings=settings, reinit="create_new",
        )  # fmt: skip

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self._run.log(dict(point.values), step=point.step)

    def finish(self, scores: Mapping[str, float] | None) -> None:
        self._run.summary.update(dict(scores or {}))
        self._run.finish(exit_code=0 if scores is not None else 1)
