"""What one run gave, in a file of its own folder."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from polytask.evaluation.scores import Scores
from polytask.files import make_folder, read_json, with_nan, write_json

FILE = "outcome.json"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there are no scores.

    Attributes:
        kind: ``diverged``: a loss or gradient was not finite, which the same seed would do again; ``crashed``:
            anything else, which is tried again by ``--resume``.
        what: The message.
        trace: Where it happened, for people who look for the cause.
    """

    kind: Literal["diverged", "crashed"]
    what: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run.

    Attributes:
        scores: ``{part: {task: {metric: value}}}``; empty after a failure.
        seconds: Of training.
        parameters: Numbers in the model; leaf values of trees.
        rows_per_second: Of inference on encoded rows, on the device and threads of training.
        memory: Peak of the process (CUDA: of the device) while it trained, in MiB; NaN where that is not known.
        steps: Steps trained; rounds of trees.
        best_step: The step that was kept.
        notes: What was said on the way.
        failure: Set where the run failed.
    """

    scores: dict[str, Scores] = field(default_factory=dict)
    seconds: float = math.nan
    parameters: int = 0
    rows_per_second: float = math.nan
    memory: float = math.nan
    steps: int = 0
    best_step: int = 0
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    def write(self, folder: Path) -> None:
        """Keeps it."""
        make_folder(folder)
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """The outcome in a folder; None where there is none, or one to be tried again."""
        try:
            found = read_json(folder / FILE)
            outcome = TypeAdapter(cls).validate_python({**with_nan(found), "failure": found["failure"]})
        except (OSError, ValueError, LookupError, TypeError):
            return None  # damaged: done again
        return None if outcome.failure is not None and outcome.failure.kind == "crashed" else outcome
