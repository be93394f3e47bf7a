"""What the numbers say, in plain words, and what they do not say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from polytask.comparing.analysis import NEAR_ZERO, Analysis, Entry
from polytask.comparing.statistics import Interval, Values, interval

ALPHA = 0.05


def verdict(found: Analysis) -> tuple[str, ...]:
    """Sentences, the answer first: is one model better than one per task, for which tasks, and which one.

    A difference is called one only where its 95 % interval over seeds excludes 0 (methods among each other: where the
    Holm-corrected p-value is below 0.05).
    """
    return tuple(_sentences(found))


def _sentences(found: Analysis) -> Iterator[str]:
    leader = found.leader
    if leader is None:
        failed = any(entry.failed for entry in found.entries)
        why = "see the failures" if failed else "no gain over the single-task networks is defined"
        yield f"No shared model can be judged: {why}."
    elif len(found.seeds) == 1:
        yield _one_seed(found, leader)
    else:
        yield _overall(found, leader)
        yield from _tasks(found, leader)
        yield from _trees(found, leader)
        yield from _others(found, leader)
    yield from _cautions(found)


def _one_seed(found: Analysis, leader: Entry) -> str:
    return (
        f"One seed says nothing about noise: {leader.method.name} is first on validation "
        f"({leader.delta.mean:+.2%} against one network per task on the {found.part} part), and another seed may order "
        "everything differently. Five seeds give an answer."
    )


def _overall(found: Analysis, leader: Entry) -> str:
    name, delta = leader.method.name, leader.delta
    if delta.count < 2:
        return (
            f"{name} is first on validation, but only {delta.count} of {len(found.seeds)} seeds can be compared with "
            "the single-task networks: that says nothing about noise."
        )
    where = f"over {delta.count} seeds on the {found.part} part"
    if delta.sign > 0:
        return f"Sharing pays: {name}, chosen on validation, is {_relative(delta)} above one network per task {where}."
    if delta.sign < 0:
        return (
            f"Sharing does not pay: {name}, the best on validation, is {_relative(_turned(delta))} below one network "
            f"per task {where}."
        )
    return (
        f"No difference larger than the noise of {delta.count} seeds between one network per task and {name}, the best "
        f"on validation: {_relative(delta)} on the {found.part} part."
    )


def _tasks(found: Analysis, leader: Entry) -> Iterator[str]:
    """Who gains and who pays."""
    named = list(zip(found.measures, leader.gains, strict=True))
    gains = [f"{one.task} ({one.metric} {gain.mean:+.4f})" for one, gain in named if gain.sign > 0]
    pays = [f"{one.task} ({one.metric} {gain.mean:+.4f})" for one, gain in named if gain.sign < 0]
    parts = [f"{listed(gains)} {_verb('gain', gains)}"] if gains else []
    parts += [f"{listed(pays)} {_verb('pay', pays)}"] if pays else []
    rest = len(named) - len(gains) - len(pays)
    if not parts:
        return
    others = f"; {rest} other{'s' * (rest > 1)} within noise" if rest else ""
    yield f"{'A seesaw' if gains and pays else 'By task'}: {' and '.join(parts)}{others}."


def _trees(found: Analysis, leader: Entry) -> Iterator[str]:
    trees = found.baseline("lightgbm")
    difference = interval(leader.deltas - trees.deltas) if trees is not None else None
    if trees is None or difference is None or difference.count < 2:
        return
    signs = np.array([1.0 if one.higher_is_better else -1.0 for one in found.measures])
    per_task = [interval(row) for row in signs[:, None] * (leader.scores - trees.scores)]
    better = [one.task for one, gain in zip(found.measures, per_task, strict=True) if gain.sign < 0]
    also = f" By task, LightGBM is better for {listed(better)}." if better else ""
    if difference.sign > 0:
        yield f"{leader.method.name} is {_relative(difference)} above one LightGBM model per task.{also}"
    elif difference.sign < 0:
        how = _relative(_turned(difference))
        yield f"Consider trees before any network: one LightGBM model per task is {how} above the leader.{also}"
    else:
        yield (
            f"No difference larger than the noise of {difference.count} seeds between {leader.method.name} and one "
            f"LightGBM model per task: {_relative(difference)}.{also}"
        )


def _others(found: Analysis, leader: Entry) -> Iterator[str]:
    """The leader among the candidates."""
    others = [entry for entry in found.candidates if entry is not leader and not math.isnan(entry.versus_leader)]
    close = [entry for entry in others if entry.versus_leader >= ALPHA]
    above = [entry for entry in others if entry not in close and _mean(entry.deltas - leader.deltas) > 0]
    name = leader.method.name
    if above:
        yield (
            f"On the {found.part} part {_names(above)} did better than {name} by more than noise; to choose by that "
            f"would be to choose on {found.part} rows."
        )
    tests = sum(not math.isnan(entry.versus_leader) for entry in found.entries)
    corrected = f", corrected for {tests} tests," if tests > 1 else ""
    behind, noise = len(others) - len(close) - len(above), f"the noise of {leader.delta.count} seeds{corrected}"
    if behind:
        of = _all(others) if behind == len(others) else _some(behind, others)
        yield f"{name} is ahead of {of} by more than noise."
    if not close:
        return
    of = _some(len(close), others) if behind else _all(close)
    yield f"No difference larger than {noise} between {name} and {of}."
    cheapest = min((leader, *close), key=lambda entry: entry.cost.seconds)
    if cheapest.cost.seconds < 0.8 * leader.cost.seconds:
        share = cheapest.cost.seconds / leader.cost.seconds
        yield f"Among these {cheapest.method.name} trains quickest, in {share:.0%} of the leader's time."


def _cautions(found: Analysis) -> Iterator[str]:
    failed, runs = sum(entry.failed for entry in found.entries), sum(entry.runs for entry in found.entries)
    if failed:
        yield f"{failed} of {runs} runs failed; what they would have scored is not known."
    if found.part == "validation":
        yield "There is no test part: the leader is shown on the rows that chose it, which flatters it."
    if found.left_out:
        yield f"Delta-m leaves out {listed(found.left_out)}: the single-task network has no score there, or 0."
    if small := _near_zero(found):
        yield (
            f"The single-task score of {listed(small)} is near 0, so that small gains are large relative ones there "
            "and rule Delta-m; look at the gains themselves."
        )
    sizes = [entry.cost.parameters for entry in found.candidates if entry.cost.parameters]
    if sizes and max(sizes) > 1.5 * min(sizes):
        few, many = f"{min(sizes):,}", f"{max(sizes):,}"
        yield f"The candidates differ in size, from {few} to {many} parameters: a difference may be one of size."


def _near_zero(found: Analysis) -> list[str]:
    single = found.baseline("single")
    if single is None:
        return []
    named = [(one.task, abs(_mean(row))) for one, row in zip(found.measures, single.scores, strict=True)]
    return [task for task, size in named if task not in found.left_out and size < NEAR_ZERO]


def _relative(delta: Interval) -> str:
    return f"{delta.mean:+.2%} [{delta.low:+.2%}, {delta.high:+.2%}]"


def _turned(delta: Interval) -> Interval:
    return Interval(-delta.mean, -delta.high, -delta.low, delta.count)


def _all(entries: Sequence[Entry]) -> str:
    return _names(entries) if len(entries) <= 2 else f"any of the {len(entries)} other candidates"


def _some(count: int, others: Sequence[Entry]) -> str:
    return f"{count} of the {len(others)} other candidates"


def _names(entries: Sequence[Entry]) -> str:
    return listed([entry.method.name for entry in entries])


def _verb(word: str, subjects: Sequence[str]) -> str:
    return f"{word}{'s' * (len(subjects) == 1)}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
