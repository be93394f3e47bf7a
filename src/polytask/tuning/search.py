"""Which trial is next, and what is known when it begins: a schedule that does not depend on who is faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polytask.config import Config
from polytask.tuning.journal import Journal, Trial
from polytask.tuning.methods import Method
from polytask.tuning.suggest import suggest
from polytask.tuning.table import SweepConfig
from polytask.tuning.trial import Objective, Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Work for one process.

    Attributes:
        method: The name of the method.
        title: What the progress display calls it.
        index: The trial's number; of a final training its seed.
        config: What to train.
        earlier: Of a trial, what its rule may see.
        folder: Of a final training, its run folder.
    """

    method: str
    title: str
    index: int
    config: Config
    earlier: Sequence[Outcome] = ()
    folder: Path | None = None


class Search:
    """All trials of all methods, as many for each.

    Trial ``n`` of a method is suggested, and stopped early, by what the trials up to ``n - parallel`` have shown; it
    may begin when those are finished. So neither the number of processes nor their speed changes any result.

    Args:
        methods: What is compared.
        sweep: Budget and sampler.
        objectives: What is wanted.
        journal: Where trials are kept.
    """

    def __init__(
        self, methods: Sequence[Method], sweep: SweepConfig, objectives: Sequence[Objective], journal: Journal
    ) -> None:
        self._methods, self._sweep, self._objectives, self._journal = methods, sweep, objectives, journal
        self._budgets = {method.name: method.budget(sweep.trials) for method in methods}
        self._trials: dict[str, dict[int, Trial]] = {}
        for method in methods:
            kept = journal.finished(method)
            self._trials[method.name] = {index: one for index, one in kept.items() if index < sweep.trials}

    @property
    def trials(self) -> Mapping[str, Sequence[Trial]]:
        """The finished trials of every method, in their order."""
        return {
            name: [own[index] for index in sorted(own) if own[index].outcome is not None]
            for name, own in self._trials.items()
        }

    @property
    def left(self) -> dict[str, int]:
        """Per method, trials that are not finished."""
        return {name: self._budgets[name] - len(own) for name, own in self.trials.items()}

    def take(self) -> Job | None:
        """The next trial that may begin; None where all that are left wait for others, or none is left."""
        waiting = [(index, place) for place, method in enumerate(self._methods) if (index := self._next(method)) >= 0]
        if not waiting:
            return None
        index, place = min(waiting)
        method = self._methods[place]
        own = self._trials[method.name]
        known = [own[number] for number in range(index - self._sweep.parallel + 1)]
        pending = [own[number] for number in range(max(0, index - self._sweep.parallel + 1), index)]
        trial = Trial(index, suggest(method, index, known, pending, self._sweep, self._objectives))
        own[index] = trial
        self._journal.begin(method, trial)
        earlier = [one.outcome for one in known if one.outcome is not None]
        title = f"{method.name}, trial {index}"
        return Job(method.name, title, index, method.with_params(trial.params), earlier)

    def done(self, job: Job, outcome: Outcome) -> None:
        """A trial is over."""
        method = next(one for one in self._methods if one.name == job.method)
        own = self._trials[method.name]
        self._journal.end(method, job.index, outcome)
        own[job.index] = Trial(job.index, own[job.index].params, outcome)

    def _next(self, method: Method) -> int:
        """The number of the method's next trial; -1 where it has none now."""
        own = self._trials[method.name]
        index = next((number for number in range(self._budgets[method.name]) if number not in own), -1)
        needed = range(index - self._sweep.parallel + 1)
        ready = all(number in own and own[number].outcome is not None for number in needed)
        return index if index >= 0 and ready else -1
