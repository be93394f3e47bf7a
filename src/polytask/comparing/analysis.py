"""From outcomes to a leaderboard: gains over single-task networks, paired over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polytask.comparing.outcome import Outcome
from polytask.comparing.plan import Method, Plan
from polytask.comparing.statistics import Interval, Values, holm, interval, paired_test, ranks

Outcomes = Mapping[str, Outcome]
NEAR_ZERO = 0.05
"""A single-task score below which a relative gain says little."""


@dataclass(frozen=True, slots=True)
class Measure:
    """The metric in which a task is compared.

    Attributes:
        task: The task.
        metric: Its primary metric.
        higher_is_better: Its direction.
    """

    task: str
    metric: str
    higher_is_better: bool


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """What one seed of a method costs; of single-task models, all of them together.

    Attributes:
        seconds: Of training, mean over seeds.
        parameters: Numbers in the models.
        rows_per_second: Rows a second for which all tasks are predicted, mean over seeds.
        memory: Peak in MiB, the largest; NaN where it is not known.
    """

    seconds: float
    parameters: int
    rows_per_second: float
    memory: float


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One line of the leaderboard.

    Attributes:
        method: What was trained.
        scores: Primary metrics ``[tasks, seeds]`` on the reported part; NaN where a run failed.
        gains: Per task the gain over the single-task network in the metric's unit, positive where better.
        deltas: Per seed the mean relative gain over the tasks, Delta-m.
        delta: Its interval over seeds.
        validation: Mean Delta-m on the validation part, which selects.
        rank: Mean rank over tasks and seeds.
        versus_baseline: Holm-corrected p-value against the best baseline.
        versus_leader: Likewise against the leader.
        failed: Runs that failed.
        runs: Runs in all.
        cost: What it costs.
    """

    method: Method
    scores: Values
    gains: tuple[Interval, ...]
    deltas: Values
    delta: Interval
    validation: float
    rank: float
    failed: int
    runs: int
    cost: Cost
    versus_baseline: float = math.nan
    versus_leader: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """All numbers of a comparison.

    Attributes:
        measures: How each task is measured.
        seeds: The seeds.
        part: The part that is reported: ``test``, or ``validation`` where there is none.
        entries: Candidates by validation Delta-m, the best first; then the baselines.
        leader: The candidate that validation chooses; None where no run of a candidate finished.
        best_baseline: The better baseline on validation; None where none finished.
        best_run: The key of the leader's run with the highest validation score; None where its models are several.
        left_out: Tasks whose metric is undefined on the reported part, or 0 for the single-task networks, and which
            Delta-m does not know.
    """

    measures: tuple[Measure, ...]
    seeds: tuple[int, ...]
    part: str
    entries: tuple[Entry, ...]
    leader: Entry | None
    best_baseline: Entry | None
    best_run: str | None
    left_out: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[Entry, ...]:
        """The entries that share."""
        return tuple(entry for entry in self.entries if entry.method.kind == "shared")

    def baseline(self, kind: str) -> Entry | None:
        """The baseline of one kind, if it is there."""
        return next((entry for entry in self.entries if entry.method.kind == kind), None)


def analyse(plan: Plan, measures: Sequence[Measure], outcomes: Outcomes) -> Analysis:
    """Compares all methods on the test part, or on validation where there is no test part.

    Gains are differences to the single-task network of the same seed. ``Delta-m`` is the mean over tasks of the gain in
    shares of that network's score (Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019, eq. 4),
    tasks weighing alike. Both have t intervals over seeds. p-values are of paired t tests on Delta-m, corrected by Holm
    over the methods. The leader and the best baseline are chosen by Delta-m on the validation part; a method with
    failed runs is chosen only if none is without.

    Args:
        plan: What was trained.
        measures: Per task, how it is measured.
        outcomes: Of every run.
    """
    parts = {part for outcome in outcomes.values() for part in outcome.scores}
    part = "validation" if "test" not in parts and parts else "test"
    shown = {method.name: _scores(plan, method, measures, outcomes, part) for method in plan.methods}
    chosen = {method.name: _scores(plan, method, measures, outcomes, "validation") for method in plan.methods}
    alone = plan.baselines[0].name
    kept = _usable(shown[alone])
    places = _mean_ranks(list(shown.values()), measures)
    found: list[Entry] = []
    for method, rank in zip(plan.methods, places, strict=True):
        scores = shown[method.name]
        gains = _gains(scores, shown[alone], measures)
        deltas = _delta(gains, shown[alone], kept)
        validation = _delta(_gains(chosen[method.name], chosen[alone], measures), chosen[alone], kept)
        own = [outcomes[run.key] for seed in plan.seeds for run in plan.of(method, seed) if run.key in outcomes]
        failed = sum(one.failure is not None for one in own)
        entry = Entry(
            method, scores, tuple(interval(gain) for gain in gains), deltas, interval(deltas), _mean(validation),
            rank, failed, len(own), _cost(plan, method, outcomes),
        )  # fmt: skip
        found.append(entry)
    baselines, candidates = found[: len(plan.baselines)], found[len(plan.baselines) :]
    candidates.sort(key=_choice)
    leader, baseline = _first(candidates), _first(sorted(baselines, key=_choice))
    entries = _tested([*candidates, *baselines], leader, baseline)
    leader, baseline = (_again(entries, one) for one in (leader, baseline))
    left_out = tuple(one.task for one, used in zip(measures, kept, strict=True) if not used)
    best = None if leader is None or leader.method.groups else _best_run(plan, leader, outcomes)
    return Analysis(tuple(measures), plan.seeds, part, tuple(entries), leader, baseline, best, left_out)


def _scores(plan: Plan, method: Method, measures: Sequence[Measure], outcomes: Outcomes, part: str) -> Values:
    """``[tasks, seeds]``."""
    found = np.full((len(measures), len(plan.seeds)), np.nan)
    for column, seed in enumerate(plan.seeds):
        for run in plan.of(method, seed):
            tasks = outcomes[run.key].scores.get(part, {}) if run.key in outcomes else {}
            for row, measure in enumerate(measures):
                if measure.task in tasks and run.serves(measure.task):
                    found[row, column] = tasks[measure.task].get(measure.metric, math.nan)
    return found


def _gains(scores: Values, alone: Values, measures: Sequence[Measure]) -> Values:
    signs = np.array([1.0 if one.higher_is_better else -1.0 for one in measures])
    return signs[:, None] * (scores - alone) + 0.0  # no -0


def _usable(alone: Values) -> list[bool]:
    """Tasks for which a relative gain exists for some seed."""
    return [bool((np.isfinite(row) & (row != 0)).any()) for row in alone]


def _delta(gains: Values, alone: Values, kept: Sequence[bool]) -> Values:
    """Per seed the mean relative gain; NaN where a task has none."""
    if not any(kept):
        return np.full(gains.shape[1], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = gains[list(kept)] / np.abs(alone[list(kept)])
    return np.where(np.isfinite(relative).all(0), np.where(np.isfinite(relative), relative, 0.0).mean(0), np.nan)


def _mean_ranks(scores: Sequence[Values], measures: Sequence[Measure]) -> list[float]:
    """Per method the mean over tasks and seeds of its rank among the methods with a score there."""
    stacked = np.stack(scores)  # [methods, tasks, seeds]
    found = np.full_like(stacked, np.nan)
    for task, measure in enumerate(measures):
        for seed in range(stacked.shape[2]):
            found[:, task, seed] = ranks(stacked[:, task, seed], higher_is_better=measure.higher_is_better)
    return [_mean(one) for one in found]


def _choice(entry: Entry) -> tuple[bool, int, float]:
    """Sorts by validation Delta-m, the best first; failed runs come after all others."""
    unknown = math.isnan(entry.validation)
    return unknown, entry.failed, 0.0 if unknown else -entry.validation


def _first(entries: Sequence[Entry]) -> Entry | None:
    return next((entry for entry in entries if not math.isnan(entry.validation)), None)


def _tested(entries: Sequence[Entry], leader: Entry | None, baseline: Entry | None) -> list[Entry]:
    """The same entries with p-values."""
    to_baseline = _family([entry if entry.method.kind == "shared" else None for entry in entries], baseline)
    to_leader = _family([entry if entry is not leader else None for entry in entries], leader)
    return [
        replace(entry, versus_baseline=one, versus_leader=other)
        for entry, one, other in zip(entries, to_baseline, to_leader, strict=True)
    ]


def _family(members: Sequence[Entry | None], to: Entry | None) -> list[float]:
    """Corrected p-values of the members; NaN in the place of others."""
    if to is None:
        return [math.nan] * len(members)
    return holm([math.nan if one is None else paired_test(one.deltas - to.deltas) for one in members])


def _again(entries: Iterable[Entry], wanted: Entry | None) -> Entry | None:
    return None if wanted is None else next(entry for entry in entries if entry.method is wanted.method)


def _cost(plan: Plan, method: Method, outcomes: Outcomes) -> Cost:
    per_seed = []
    for seed in plan.seeds:
        own = [outcomes[run.key] for run in plan.of(method, seed) if run.key in outcomes]
        if own and all(one.failure is None for one in own):
            per_seed.append(own)
    if not per_seed:
        return Cost(math.nan, 0, math.nan, math.nan)
    seconds = [sum(one.seconds for one in own) for own in per_seed]
    speeds = [1 / sum(1 / one.rows_per_second for one in own) for own in per_seed]
    memory = [one.memory for own in per_seed for one in own if not math.isnan(one.memory)]
    parameters = round(float(np.mean([sum(one.parameters for one in own) for own in per_seed])))
    return Cost(_mean(seconds), parameters, _mean(speeds), max(memory, default=math.nan))


def _best_run(plan: Plan, leader: Entry, outcomes: Outcomes) -> str | None:
    """The leader's run with the highest validation score."""
    runs = [run for seed in plan.seeds for run in plan.of(leader.method, seed)]
    known = {run.key: _selection(outcomes[run.key], plan.tasks) for run in runs if run.key in outcomes}
    known = {key: value for key, value in known.items() if not math.isnan(value)}
    return max(known, key=lambda key: known[key]) if known else None


def _selection(outcome: Outcome, tasks: Sequence[str]) -> float:
    scores = outcome.scores.get("validation", {})
    return _mean([scores[task]["improvement"] for task in tasks if task in scores])


def _mean(values: Sequence[float] | Values) -> float:
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    return float(array.mean()) if array.size else math.nan
