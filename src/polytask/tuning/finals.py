"""The best of each method, trained again: run folders with bundles and with scores that chose nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from polytask.config import Config, dump_config
from polytask.evaluation.scores import Scores
from polytask.files import make_folder, whole_file, write_json
from polytask.training.folder import CONFIG, ENVIRONMENT
from polytask.training.single import read_scores
from polytask.training.summary import average
from polytask.tuning.methods import Method
from polytask.tuning.result import Sweep
from polytask.tuning.search import Job
from polytask.tuning.trial import Outcome

SCORES = "scores.json"


class Finals:
    """The final trainings.

    Args:
        found: The sweep with all trials.
        config: The configuration.
        seeds: Of every method's best.

    Attributes:
        failures: Per method, why one of its trainings failed.
    """

    def __init__(self, found: Sweep, config: Config, seeds: int) -> None:
        self._seeds = range(config.train.seed, config.train.seed + seeds)
        self._found, self.failures = found, dict[str, str]()
        self._folders: dict[str, list[Path]] = {}
        self._jobs: list[Job] = []
        for method in found.methods:
            best = found.best_of(method)
            if best is not None and seeds:
                self._begin(method, method.with_params(best.trial.params))

    @property
    def left(self) -> dict[str, int]:
        """Per method, trainings that are not done."""
        return {name: sum(job.method == name for job in self._jobs) for name in self._folders}

    def take(self) -> Job | None:
        """The next training."""
        return self._jobs.pop(0) if self._jobs else None

    def done(self, job: Job, outcome: Outcome) -> None:
        """It is over."""
        if outcome.state == "failed":
            self.failures[job.method] = outcome.what

    def scores(self) -> Mapping[str, Mapping[str, Scores]]:
        """Per method the mean over seeds; methods of which a training failed have none."""
        found = {}
        for name, folders in self._folders.items():
            if name in self.failures:
                continue
            runs = [read_scores(folder / SCORES) for folder in folders]
            found[name] = average(runs)
            if len(runs) > 1:
                seeds = dict(zip(map(str, self._seeds), runs, strict=True))
                write_json(folders[0].parents[1] / SCORES, {"scores": found[name], "seeds": seeds})
        return found

    def _begin(self, method: Method, config: Config) -> None:
        """The run folder, with the layout of `polytask train`; one of other settings gives way."""
        folder = self._found.path / "best" / method.slug
        train = config.train.model_copy(update={"seeds": len(self._seeds)})
        text = dump_config(config.model_copy(update={"train": train}))
        if folder.exists() and not _holds(folder, text):
            shutil.rmtree(folder)
        if not folder.exists():
            make_folder(folder)
            shutil.copy(self._found.path / ENVIRONMENT, folder / ENVIRONMENT)
            with whole_file(folder / CONFIG) as partial:
                partial.write_text(text, encoding="utf-8")
        self._folders[method.name] = []
        for seed in self._seeds:
            own = folder if len(self._seeds) == 1 else folder / "seeds" / str(seed)
            self._folders[method.name].append(own)
            if not (own / SCORES).exists():
                title = f"{method.name}, seed {seed}"
                update = {"train": config.train.model_copy(update={"seed": seed})}
                alone = config.model_copy(update=update).placed(config.relative_to, allow_code=config.allow_code)
                self._jobs.append(Job(method.name, title, seed, alone, folder=own))


def _holds(folder: Path, text: str) -> bool:
    try:
        return (folder / CONFIG).read_text(encoding="utf-8") == text
    except OSError:
        return False
