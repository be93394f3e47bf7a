"""Records, in the form of ``records.jsonl``, become named values; steps are averaged over a window."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

PAIRS = 28
"""Pairs of tasks that get curves of their own: those of 8 tasks."""


def values_of(record: Mapping[str, Any], tasks: Sequence[str], peak: float = 1.0) -> dict[str, float]:
    """The finite values of one record by their names.

    Args:
        record: A line of ``records.jsonl``.
        tasks: Their names, in the order of the losses.
        peak: The learning rate at its peak.

    Example:
        >>> step = {"kind": "step", "step": 3, "losses": [0.5, None], "weights": [1.0, 0.0], "learning_rate": 0.5}
        >>> values_of(step, ["click", "like"], peak=0.01)
        {'loss/click': 0.5, 'weight/click': 1.0, 'learning_rate': 0.005}
    """
    readers = {"step": _step, "evaluation": _evaluation, "probe": _probe}
    found = readers.get(record["kind"], _unknown)(record, tasks)
    if "learning_rate" in found:
        found["learning_rate"] *= peak
    return found


def final_values(scores: Mapping[str, Any]) -> dict[str, float]:
    """The finite values of ``scores.json`` by their names.

    Example:
        >>> final_values({"scores": {"test": {"click": {"auc": 0.7, "ece": None}}}, "seconds": 2.0})
        {'final/test/click/auc': 0.7, 'final/seconds': 2.0}
    """
    facts = ("seconds", "steps", "best_step", "parameters")
    found = {
        f"final/{part}/{task}/{metric}": value
        for part, tasks in scores["scores"].items()
        for task, metrics in tasks.items()
        for metric, value in metrics.items()
    }
    found |= {f"final/{name}": scores[name] for name in facts if name in scores}
    return _finite(found)


class Window:
    """Averages steps until ``every`` of them are there, or something else than a step comes.

    Args:
        tasks: Their names.
        every: Steps to one point.
        peak: The learning rate at its peak.
    """

    def __init__(self, tasks: Sequence[str], every: int, peak: float) -> None:
        self._tasks, self._every, self._peak = tasks, every, peak
        self._steps = 0
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, record: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
        """What is to be logged now, with its step; after it nothing is held back if anything came."""
        values = values_of(record, self._tasks, self._peak)
        if record["kind"] == "step":
            self._steps += 1
            for name, value in values.items():
                total = self._sums[name]
                total[0] += value
                total[1] += 1
            if self._steps < self._every:
                return
            values = {}
        if self._steps:
            values = {name: total / count for name, (total, count) in self._sums.items()} | values
            self._steps = 0
            self._sums.clear()
        yield record["step"], values


def _step(record: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, float]:
    present = [(name, *pair) for name, *pair in zip(tasks, record["losses"], record["weights"], strict=True)]
    present = [one for one in present if _is_finite(one[1])]
    found = {f"loss/{name}": loss for name, loss, _ in present}
    found |= {f"weight/{name}": weight for name, _, weight in present}
    return _finite(found | {"learning_rate": record["learning_rate"]})


def _evaluation(record: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, float]:
    found = {
        f"validation/{task}/{metric}": value
        for task, metrics in record["scores"].items()
        for metric, value in metrics.items()
    }
    return _finite(found | {"validation/score": record["score"]})


def _probe(record: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, float]:
    """Norms of the tasks' gradients, cosines between them, entropy of gates, affinity."""
    found: dict[str, Any] = {}
    gramian, affinity = record.get("gramian"), record.get("affinity")
    pairs = list(combinations(range(len(tasks)), 2))
    if gramian is not None:
        norms = [math.sqrt(row[i]) if _is_finite(row[i]) and row[i] > 0 else math.nan for i, row in enumerate(gramian)]
        found |= {f"gradient_norm/{name}": norm for name, norm in zip(tasks, norms, strict=True)}
        products = {(i, j): gramian[i][j] for i, j in pairs if _is_finite(gramian[i][j])}
        cosines = {(i, j): product / (norms[i] * norms[j]) for (i, j), product in products.items()}
        cosines = {pair: cosine for pair, cosine in cosines.items() if _is_finite(cosine)}
        if cosines:
            found["cosine/smallest"] = min(cosines.values())
            found["cosine/share_in_conflict"] = sum(value < 0 for value in cosines.values()) / len(cosines)
        if len(pairs) <= PAIRS:
            found |= {f"cosine/{tasks[i]}/{tasks[j]}": cosine for (i, j), cosine in cosines.items()}
    if affinity is not None and len(pairs) <= PAIRS:
        both = [(i, j) for i in range(len(tasks)) for j in range(len(tasks)) if i != j]
        found |= {f"affinity/{tasks[i]}/{tasks[j]}": affinity[i][j] for i, j in both}
    for level, gate in (record.get("gates") or {}).items():
        rows = zip(gate.get("rows", ()), gate.get("entropy", ()), strict=False)
        found |= {f"gate_entropy/{level}/{row}": entropy for row, entropy in rows}
    return _finite(found)


def _unknown(record: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, float]:
    """Of a kind that is not known here: its plain numbers."""
    return _finite({f"{record['kind']}/{key}": value for key, value in record.items() if key != "step"})


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if _is_finite(value)}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
