"""Does one run: trains, scores, measures what it costs, and keeps all of it in the run's folder."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from polytask.balancing.engine import NonFiniteError
from polytask.comparing.checks import group_config, task_config
from polytask.comparing.memory import PeakMemory
from polytask.comparing.outcome import Failure, Outcome
from polytask.comparing.plan import Run
from polytask.comparing.trees import Trees
from polytask.config import Config, undecided
from polytask.errors import Problem
from polytask.evaluation.scores import Scores
from polytask.files import read_json
from polytask.model import Model
from polytask.serving import load_bundle
from polytask.training.loop import EVALUATION_ROWS, Record, Training
from polytask.training.prepared import Prepared
from polytask.training.single import Watcher, choose_device, train_one

Tell = Callable[[float], None]
SHORTEST = 0.2
"""Seconds over which the speed of inference is measured at least."""


@dataclass(eq=False)
class Lab:
    """Trains runs of one comparison; the data are prepared once for all of them.

    Attributes:
        config: The configuration.
        prepared: Its data.
        out: The folder of the comparison.
    """

    config: Config
    prepared: Prepared
    out: Path
    _trees: Trees | None = field(default=None, init=False)

    def attempt(self, run: Run, tell: Tell) -> Outcome:
        """Does a run and keeps its outcome; what it raises is its outcome, too.

        Args:
            run: What to train.
            tell: Hears which share of the run is done.

        Raises:
            KeyboardInterrupt: After Ctrl-C; the last step is saved.
        """
        folder = self.out / run.key
        try:
            outcome = self._do(run, folder, tell)
        except NonFiniteError as error:
            outcome = Outcome(failure=Failure("diverged", str(error)))
        except Exception as error:  # noqa: BLE001  # whatever a run raises, it loses that run alone
            what = f"{type(error).__name__}: {error}"
            outcome = Outcome(failure=Failure("crashed", what, traceback.format_exc()))
        outcome.write(folder)
        return outcome

    def _do(self, run: Run, folder: Path, tell: Tell) -> Outcome:
        if run.method.kind == "lightgbm":
            if self._trees is None:
                self._trees = Trees(self.config, self.prepared)
            return self._trees.train(str(run.task), run.seed)  # how many rounds are left is not known
        prepared, config = self.prepared, run.method.config(self.config)
        if run.task is not None:
            config, prepared = task_config(self.config, run.method, run.task, prepared), prepared.only(run.task)
        elif run.group is not None:
            config, prepared = group_config(config, run.group.tasks), prepared.only(*run.group.tasks)
        train = config.train.model_copy(update={"seeds": 1, "seed": run.seed, "baselines": False})
        # predictions as models give them: trees are not calibrated either
        config, watcher = undecided(config.model_copy(update={"train": train})), _Listener(tell)
        with PeakMemory() as memory:
            scores = self.train(run, config, prepared, folder, watcher)
        facts = read_json(folder / "scores.json")
        device = str(choose_device(config.train.device))
        model = load_bundle(folder / "bundle", allow_code=config.allow_code, device=device).model
        # an interrupted run knows the time of its last part alone
        timed = facts["timed_steps"]
        seconds = facts["seconds"] * facts["steps"] / timed if timed else math.nan
        return Outcome(
            scores, seconds, facts["parameters"], inference_speed(model, prepared), memory.mib,
            facts["steps"], facts["best_step"], tuple(watcher.notes),
        )  # fmt: skip

    def train(self, run: Run, config: Config, prepared: Prepared, folder: Path, watcher: Watcher) -> dict[str, Scores]:
        """Trains one network into a folder, which then holds ``scores.json`` and ``bundle``."""
        return train_one(config, prepared, folder, seed=run.seed, title=run.title, watcher=watcher)


class _Listener:
    """Hears of steps, and passes on which share of them is done."""

    def __init__(self, tell: Tell) -> None:
        self.notes: list[str] = []
        self._tell, self._steps, self._next = tell, 1, 0.0

    def tell(self, problem: Problem) -> None:
        """Keeps a finding."""
        self.notes.append(str(problem))

    def start(self, title: str, training: Training, folder: Path) -> None:
        """Learns how long the run is."""
        self._steps = max(training.steps, 1)

    def see(self, record: Record) -> None:
        """Tells, twice a second at most."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + 0.5
            self._tell(record.step / self._steps)

    def finish(self) -> None:
        """Nothing is open."""


def inference_speed(model: Model, prepared: Prepared) -> float:
    """Rows a second through the model, on one batch of the validation part."""
    device = next(model.parameters()).device
    features = next(iter(prepared.reader("validation").ordered(EVALUATION_ROWS))).features.to(device)
    model.eval()

    def predict() -> None:
        model.predict(features)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # else only the launch of its kernels is timed

    predict()  # the first pass allocates
    passes, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < SHORTEST or not passes:
        predict()
        passes += 1
    return passes * len(features) / spent if spent else math.nan
