"""The tuner: Optuna's tree-structured Parzen estimator, made to suggest the same after every interruption."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.errors import MissingExtraError
from polytask.reproduce.census.experiment import Space
from polytask.reproduce.census.settings import Settings

if TYPE_CHECKING:
    import optuna


def require_optuna() -> Any:
    """The package, or `MissingExtraError`; it reports errors only, the terminal is for the study."""
    try:
        package = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna", extra="tune", purpose="tuning the methods") from error
    package.logging.set_verbosity(package.logging.WARNING)
    return package


class Tuner:
    """Suggests settings, one trial after another; the first trial is the start of every range.

    Every trial has a random generator of its own, so that what it suggests depends on its number and the results so far
    only, and finished trials can be given back in a later process.

    Args:
        space: Where to look.
        seed: Decides the suggestions.
        random_trials: So many trials at random before results count.
    """

    def __init__(self, space: Space, *, seed: int, random_trials: int) -> None:
        self._optuna = require_optuna()
        self._space, self._seed, self._random_trials = space, seed, random_trials
        self._study = self._optuna.create_study(direction="maximize")
        self._trial: optuna.Trial | None = None
        self._number = 0

    def ask(self) -> Settings:
        """The settings of the next trial."""
        start = {name: bounds.start for name, bounds in self._space.items()} if not self._number else None
        return self._next(start)

    def tell(self, value: float) -> None:
        """The result of the trial that was asked for; NaN: it failed."""
        assert self._trial is not None
        if math.isnan(value):
            self._study.tell(self._trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._trial, value)
        self._number += 1

    def add(self, settings: Settings, value: float) -> None:
        """A trial that was done before."""
        self._next(settings)
        self.tell(value)

    def _next(self, given: Settings | None) -> Settings:
        own = int(np.random.SeedSequence([self._seed, self._number]).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(n_startup_trials=self._random_trials, seed=own)
        if given is not None:
            self._study.enqueue_trial(dict(given))
        self._trial = trial = self._study.ask()
        return {name: _suggest(trial, name, bounds) for name, bounds in self._space.items()}


def _suggest(trial: optuna.Trial, name: str, bounds: Any) -> int | float:
    if bounds.whole:
        return trial.suggest_int(name, int(bounds.low), int(bounds.high), log=bounds.log)
    return trial.suggest_float(name, float(bounds.low), float(bounds.high), log=bounds.log)
