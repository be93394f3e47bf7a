"""The result of a sweep, and its files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polytask.evaluation.scores import Scores
from polytask.fronts.dominance import non_dominated
from polytask.tuning.journal import Trial
from polytask.tuning.methods import Method
from polytask.tuning.trial import Objective, Outcome


@dataclass(frozen=True, slots=True, eq=False)
class Numbered:
    """A trial with its number within the sweep.

    Attributes:
        number: Within the sweep.
        method: What was trained.
        trial: The trial.
    """

    number: int
    method: Method
    trial: Trial

    @property
    def outcome(self) -> Outcome:
        """What came of it."""
        assert self.trial.outcome is not None
        return self.trial.outcome


@dataclass(frozen=True, eq=False)
class Sweep:
    """A finished sweep.

    Attributes:
        path: Its folder.
        objectives: What was wanted, on the validation part.
        measures: The primary metric of every task.
        methods: What was compared.
        numbered: All trials.
        importances: Per method and key, which keys decided; empty after few trials.
        finals: Per method, the scores of its best configuration trained again, the mean over seeds.
        failures: Final trainings that failed, and why.
    """

    path: Path
    objectives: tuple[Objective, ...]
    measures: tuple[Objective, ...]
    methods: tuple[Method, ...]
    numbered: tuple[Numbered, ...]
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    finals: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def front(self) -> tuple[Numbered, ...]:
        """Complete trials that no other beats in every objective; of one objective, the best alone."""
        return front_of(self.numbered, self.objectives)

    @cached_property
    def best(self) -> Numbered | None:
        """The best trial: by the objective; of several, the one of the front with the best mean score."""
        return best_of(self.front)

    def best_of(self, method: Method) -> Numbered | None:
        """The best trial of one method, likewise."""
        return best_of(front_of([one for one in self.numbered if one.method is method], self.objectives))

    @property
    def config(self) -> Path | None:
        """The file of the best configuration, ready for ``polytask train``; None where no trial was complete."""
        return None if self.best is None else self.path / "best.toml"

    @property
    def bundle(self) -> Path | None:
        """The bundle of the best configuration, of the first seed; None without a final training."""
        if self.best is None or self.best.method.name not in self.finals:
            return None
        return next(iter(sorted((self.path / "best" / self.best.method.slug).glob("**/bundle"))), None)

    @cached_property
    def trials(self) -> pa.Table:
        """A row per trial: number, method, state, objectives, score, cost, and a column per key of the space."""
        keys = dict.fromkeys(key for method in self.methods for key in method.space)
        rows = []
        for one in self.numbered:
            outcome = one.outcome
            values = outcome.values or (None,) * len(self.objectives)
            rows.append(
                {"number": one.number, "method": one.method.name, "trial": one.trial.index, "state": outcome.state}
                | dict(zip((each.name for each in self.objectives), values, strict=True))
                | {"score": outcome.score, "seconds": outcome.seconds, "step": outcome.step}
                | {"best_step": outcome.best_step, "parameters": outcome.parameters}
                | {key: one.trial.params.get(key) for key in keys}
            )
        columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
        return pa.table({name: _column(values) for name, values in columns.items()})

    def json(self) -> dict[str, Any]:
        """What ``sweep.json`` holds beside configuration and environment."""
        best = {method.name: None if (one := self.best_of(method)) is None else one.number for method in self.methods}
        return {
            "format": 1,
            "objectives": [
                {"name": one.name, "direction": "maximize" if one.higher_is_better else "minimize"}
                for one in self.objectives
            ],
            "trials": [_trial(one) for one in self.numbered],
            "best": None if self.best is None else self.best.number,
            "front": [one.number for one in self.front],
            "methods": [
                {
                    "name": method.name, "best": best[method.name], "config": f"best/{method.slug}.toml",
                    "space": {key: one.toml() for key, one in method.space.items()},
                    "importances": self.importances.get(method.name), "final": self.finals.get(method.name),
                }
                for method in self.methods
            ],
            "failures": dict(self.failures),
        }  # fmt: skip


def numbered(methods: Sequence[Method], trials: Mapping[str, Sequence[Trial]]) -> tuple[Numbered, ...]:
    """All trials in the order in which methods take turns."""
    rows = [(one.index, place, one) for place, method in enumerate(methods) for one in trials[method.name]]
    ordered = sorted(rows, key=lambda row: row[:2])
    return tuple(Numbered(number, methods[place], one) for number, (_, place, one) in enumerate(ordered))


def front_of(trials: Sequence[Numbered], objectives: Sequence[Objective]) -> tuple[Numbered, ...]:
    """Complete trials that no other one beats in every objective; of one objective, the first of the best ones."""
    complete = [one for one in trials if one.outcome.state == "complete"]
    if not complete:
        return ()
    losses = np.array(
        [[-each.gain(v) for each, v in zip(objectives, one.outcome.values, strict=True)] for one in complete]
    )
    kept = [one for one, efficient in zip(complete, non_dominated(losses), strict=True) if efficient]
    return tuple(kept if len(objectives) > 1 else kept[:1])


def best_of(front: Sequence[Numbered]) -> Numbered | None:
    """Of a front, the trial with the best mean score; the first of equal ones."""
    return max(front, key=lambda one: -math.inf if math.isnan(one.outcome.score) else one.outcome.score, default=None)


def _trial(one: Numbered) -> dict[str, Any]:
    outcome = one.outcome
    return {
        "number": one.number, "method": one.method.name, "params": dict(one.trial.params),
        "values": list(outcome.values) or None, "state": outcome.state, "seconds": outcome.seconds,
        "step": outcome.step, "trial": one.trial.index, "score": outcome.score, "scores": outcome.scores,
        "best_step": outcome.best_step, "parameters": outcome.parameters, "evaluations": list(outcome.steps),
        "curve": [list(row) for row in outcome.curve], "what": outcome.what or None,
    }  # fmt: skip


def _column(values: Sequence[Any]) -> pa.Array:
    """One kind of value a column: choices of several kinds as texts."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, list | tuple) for value in known) or len({type(value) for value in known}) > 1:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        values = [
            value if value is None else float(value) if numbers else str(value).replace("(", "[").replace(")", "]")
            for value in values
        ]
    values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    return pa.array(values)
