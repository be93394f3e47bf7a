"""Comparisons of made-up numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.comparing.analysis import Analysis, Measure, analyse
from polytask.comparing.outcome import Failure, Outcome
from polytask.comparing.plan import Method, Plan
from polytask.config import BalancerConfig, ComponentConfig

TASKS = ("buy", "cost")
MEASURES = (Measure("buy", "auc", True), Measure("cost", "mae", False))
Scores = Mapping[str, Sequence[Sequence[float] | None]]


def method(name: str, kind: str = "shared") -> Method:
    return Method(name, kind, f"runs/{name}", ComponentConfig(use=name), BalancerConfig(use="equal"))  # type: ignore[arg-type]


def made(test: Scores, *, validation: Scores | None = None, parts: Sequence[str] = ("validation", "test")) -> Analysis:
    """Analyses ``{method: [[buy, cost] per seed]}``; None is a failed run, ``single`` and ``trees`` are baselines."""
    kinds = {"single": "single", "trees": "lightgbm"}
    methods = [method(name, kinds.get(name, "shared")) for name in test]
    baselines = tuple(one for kind in ("single", "lightgbm") for one in methods if one.kind == kind)
    seeds = tuple(range(len(next(iter(test.values())))))
    plan = Plan(tuple(one for one in methods if one.kind == "shared"), baselines, seeds, TASKS)
    return analyse(plan, MEASURES, outcomes(plan, {"validation": validation or test, "test": test}, parts))


def outcomes(plan: Plan, scores: Mapping[str, Scores], parts: Sequence[str]) -> dict[str, Outcome]:
    found = {}
    for run in plan.runs():
        values = scores["test"][run.method.name][run.seed]
        if values is None:
            found[run.key] = Outcome(failure=Failure("diverged", "a loss is NaN"))
            continue
        known = {}
        for part in parts:
            row = scores[part][run.method.name][run.seed]
            assert row is not None
            known[part] = {
                one.task: {one.metric: value, "improvement": 0.1 * run.seed}
                for one, value in zip(MEASURES, row, strict=True)
                if run.task in (None, one.task)
            }
        found[run.key] = Outcome(known, seconds=2.0, parameters=100, rows_per_second=1000.0, memory=10.0)
    return found
