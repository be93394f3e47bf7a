"""Folders as polytask writes them, made by hand: small, of any number of tasks, with any names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

TASKS = ("click", "like", "watch")
KINDS = ("binary", "binary", "regression")


def write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def scores(tasks: Sequence[str], offset: float = 0.0) -> dict[str, Any]:
    found = {}
    for place, task in enumerate(tasks):
        kind = KINDS[place % len(KINDS)]
        metrics = {"auc": 0.7, "log_loss": 0.5} if kind == "binary" else {"rmse": 1.0, "r2": 0.3}
        found[task] = {name: value + offset for name, value in metrics.items()} | {"improvement": 0.1, "rows": 90}
    return found


def config(tasks: Sequence[str], seeds: int = 1) -> dict[str, Any]:
    return {
        "data": {"source": "log.parquet"},
        "tasks": {task: {"kind": KINDS[place % len(KINDS)], "label": task} for place, task in enumerate(tasks)},
        "sharing": {"use": "mmoe", "experts": 3},
        "balancer": {"use": "uncertainty"},
        "train": {"seeds": seeds},
    }


def gates(tasks: Sequence[str], rng: np.random.Generator, experts: int = 3) -> dict[str, Any]:
    mean = rng.dirichlet(np.ones(experts), len(tasks))
    entropy = (-(mean * np.log(mean)).sum(1) / np.log(experts)).tolist()
    return {"rows": list(tasks), "mean": mean.tolist(), "entropy": entropy}


def records(tasks: Sequence[str], steps: int, *, probes: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        losses: list[float | None] = (1 / np.sqrt(step) + 0.1 * rng.random(len(tasks))).tolist()
        if step % 7 == 0:
            losses[0] = None
        weights = [0.0 if loss is None else 1 + 0.01 * step for loss in losses]
        line = {"kind": "step", "step": step, "epoch": 0, "rows": 64, "losses": losses, "weights": weights}
        found.append(line | {"learning_rate": 1.0})
        if step % max(steps // 4, 1) == 0:
            best = step <= steps // 2
            own = scores(tasks, 0.05 * step / steps)
            found.append({"kind": "evaluation", "step": step, "scores": own, "score": 0.1, "best": best})
        if probes and step % max(steps // probes, 1) == 0:
            jacobian = rng.normal(size=(len(tasks), 6))
            found.append(
                {
                    "kind": "probe",
                    "step": step,
                    "gramian": (jacobian @ jacobian.T).tolist(),
                    "gates": {"level1": gates(tasks, rng)},
                    "affinity": rng.normal(size=(len(tasks), len(tasks))).tolist(),
                }
            )
    return found


def diagnostics(tasks: Sequence[str]) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    own = {}
    for place, task in enumerate(tasks):
        kind = KINDS[place % len(KINDS)]
        grid = np.linspace(0.05, 0.95, 10)
        curve = {"predicted": grid.tolist(), "observed": (grid ** (1.1 + place / 40)).tolist(), "rows": [20] * 10}
        gain = {"share": grid.tolist(), "captured": (grid ** (0.5 - place / 90)).tolist()}
        importance = {f"column {n}": {"rise": float(rng.random() / (n + 1)), "spread": 0.01} for n in range(6)}
        own[task] = {"kind": kind, "calibration": curve, "gain": gain if kind == "binary" else None} | {
            "importance": importance
        }
    size = len(tasks)
    level = gates(tasks, rng)
    return {
        "format": 1, "part": "test", "rows": 90, "tasks": own, "importance": {"rows": 90, "repeats": 3},
        "gates": [{"level": "level1", **level}], "units": [{"bank": "experts", "dead": [0.0, 1.0, 0.6]}],
        "segments": {
            "column": "country", "values": ["de", "fr"], "rows": [50, 40],
            "gates": {"level1": [gates(tasks, rng)["mean"], gates(tasks, rng)["mean"]]},
            "scores": {task: {"metric": "auc", "values": [0.7, None]} for task in tasks},
        },
        "data": {
            "parts": {"train": 500, "test": 90},
            "labels": {
                task: {"kind": "binary", "observed": {"train": 400, "test": 80}, "mean": {"train": 0.2, "test": None},
                       "std": 0.4, "classes": {"0": 320, "1": 80}}
                for task in tasks
            },
            "overlap": np.full((size, size), 0.5).tolist(),
            "correlation": [[1.0 if i == j else None if i + j == 1 else 0.3 for j in range(size)] for i in range(size)],
            "findings": [{"where": "column 'age'", "what": "3 rows", "remedy": "clip", "severity": "warning"}],
        },
    }  # fmt: skip


def fusion(tasks: Sequence[str]) -> dict[str, Any]:
    """The first two tasks, weighted from one alone to the other alone; the first has a floor."""
    first, second = tasks[:2]
    points = [
        {"weights": {first: share, second: 1 - share}, "objective": 0.9 - 0.2 * share,
         "quality": {first: 0.5 + 0.3 * share, second: None}, "met": share >= 0.5, "efficient": share != 0.25}
        for share in (0.0, 0.25, 0.5, 1.0)
    ]  # fmt: skip
    parts = {"validation": {"objective": 0.8, first: 0.65, second: None}, "test": {"objective": 0.7, first: 0.6}}
    return {
        "format": 1, "form": "product", "weights": points[2]["weights"], "objective": "ndcg", "value": "price * bought",
        "group": "user", "at": 10, "floors": {first: 0.64}, "met": True, "metrics": {first: "gauc", second: "ndcg"},
        "rows": 90, "groups": 9, "parts": parts, "chosen": 2, "points": points,
    }  # fmt: skip


def decisions(tasks: Sequence[str]) -> dict[str, Any]:
    before, after = {"log_loss": 0.5, "ece": 0.03}, {"log_loss": 0.45, "ece": 0.04}
    cut = {"value": 0.25, "rule": "f1", "reached": {"precision": 0.5, "recall": 0.75, "f1": 0.6}, "met": None}
    return {
        "calibration": {tasks[0]: {"map": {"method": "platt"}, "rows": 500, "before": before, "after": after}},
        "thresholds": {tasks[0]: cut},
    }


def training(folder: Path, tasks: Sequence[str], *, steps: int, seed: int, finished: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record) for record in records(tasks, steps, seed=seed)]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "config.toml").write_text(tomlkit.dumps(config(tasks)), encoding="utf-8")
    if finished:
        own = {"validation": scores(tasks, 0.02 + 0.01 * seed), "test": scores(tasks, 0.01 * seed)}
        facts = {"seed": seed, "steps": steps, "best_step": steps // 2, "seconds": 3.2, "parameters": 1234}
        write(folder / "scores.json", {"scores": own, **facts, "part_rows": {"train": 500, "test": 90}})
        if len(tasks) > 1:
            write(folder / "fusion.json", fusion(tasks))
            write(folder / "bundle" / "schema.json", {"format": 3, "decisions": decisions(tasks)})


def run(
    folder: Path, tasks: Sequence[str] = TASKS, *, seeds: int = 2, steps: int = 40, baselines: bool = True,
    finished: bool = True,
) -> Path:  # fmt: skip
    """A run folder with all that a report knows; without scores and diagnostics where it is not finished."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(tomlkit.dumps(config(tasks, seeds)), encoding="utf-8")
    write(
        folder / "environment.json", {"polytask": "0.1.0", "python": "3.11", "packages": {"torch": "2.13"}, "data": {}}
    )
    for seed in range(seeds):
        own = folder if seeds == 1 else folder / "seeds" / str(seed)
        training(own, tasks, steps=steps, seed=seed, finished=finished)
    if seeds == 1:  # its configuration stands in its own folder
        (folder / "config.toml").write_text(tomlkit.dumps(config(tasks, seeds)), encoding="utf-8")
    if finished:
        write((folder if seeds == 1 else folder / "seeds" / "0") / "diagnostics.json", diagnostics(tasks))
    if finished and seeds > 1:
        write(folder / "scores.json", {"scores": {"test": scores(tasks)}, "seeds": {}})
    for place, task in enumerate(tasks if baselines else ()):
        for seed in range(seeds):
            own = folder / "baselines" / f"b{place}" if "/" in task else folder / "baselines" / task
            own = own if seeds == 1 else own / "seeds" / str(seed)
            write(own / "scores.json", {"scores": {"test": scores([*tasks[:place], task], -0.03)}, "seed": seed})
    return folder


def comparison(folder: Path, tasks: Sequence[str] = TASKS) -> Path:
    def interval(mean: float) -> dict[str, Any]:
        return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "count": 3}

    def method(name: str, kind: str, gain: float) -> dict[str, Any]:
        own = {task: {"metric": "auc", "scores": [0.7, 0.71, 0.69], "gain": interval(gain)} for task in tasks}
        cost = {"seconds": 4.5, "parameters": 1000, "rows_per_second": 2e4, "memory": None}
        return {
            "name": name, "kind": kind, "folder": f"runs/{name}", "tasks": own, "cost": cost,
            "delta": {**interval(gain), "seeds": [gain, gain + 0.01, gain - 0.01]}, "rank": 1.5,
            "p_baseline": 0.03, "p_leader": None, "runs": 3, "failed": 1 if kind == "lightgbm" else 0,
        }  # fmt: skip

    methods = [method("mmoe + equal", "shared", 0.03), method("ple + equal", "shared", -0.03)]
    methods += [method("one network per task", "single", 0.0), method("LightGBM per task", "lightgbm", 0.01)]
    run(folder / "runs" / "mmoe" / "2", tasks, seeds=1, baselines=False)
    found = {
        "verdict": ["Sharing pays.", "Nobody pays."], "leader": "mmoe + equal", "best": "runs/mmoe/2/bundle",
        "part": "test", "seeds": [0, 1, 2], "left_out": [], "methods": methods,
        "measures": [{"task": task, "metric": "auc", "higher_is_better": True} for task in tasks],
        "runs": {"a": {"failure": None}, "b": {"failure": {"kind": "crashed", "what": "no memory", "trace": ""}}},
    }  # fmt: skip
    write(folder / "comparison.json", found)
    return folder


def front(folder: Path, tasks: Sequence[str] = TASKS[:2]) -> Path:
    """The first task against the others; of each preference two seeds."""
    shares = np.linspace(0.1, 0.9, 5)
    columns: dict[str, list[Any]] = {"label": ["linear"] * 10, "seed": [0, 1] * 5}
    asked = {task: shares if place == 0 else (1 - shares) / (len(tasks) - 1) for place, task in enumerate(tasks)}
    columns |= {f"preference.{task}": np.repeat(share, 2).tolist() for task, share in asked.items()}
    for place, (task, share) in enumerate(asked.items()):
        better, sign = ("greater", 1) if place == 0 else ("smaller", -1)
        columns[f"{better}.{task}"] = [float(sign * np.sqrt(one) + 0.01 * seed) for one in share for seed in (0, 1)]
    write(folder / "front.json", {"format": 1, "columns": columns})
    chosen = {"words": "knee", "method": "linear", "preference": [columns[f"preference.{task}"][4] for task in tasks]}
    write(folder / "pareto.json", {"format": 1, "chosen": {**chosen, "seed": 0, "run": "runs/none"}})
    return folder


def sweep(folder: Path) -> Path:
    rng = np.random.default_rng(2)
    trials = [
        {
            "number": number, "method": "mmoe + equal", "state": "failed" if number == 3 else "complete",
            "params": {"train.rate": float(10 ** rng.uniform(-4, -1)), "sharing.widths": [16 * (number % 3 + 1)]},
            "values": None if number == 3 else [float(rng.random()), float(rng.random())], "seconds": 2.0, "step": 40,
        }
        for number in range(8)
    ]  # fmt: skip
    goals = [{"name": "click.auc", "direction": "maximize"}, {"name": "watch.rmse", "direction": "minimize"}]
    methods = [{"name": "mmoe + equal", "importances": {"train.rate": 0.8, "sharing.widths": 0.2}}]
    found = {"format": 1, "objectives": goals, "trials": trials, "best": 1, "front": [1, 2], "methods": methods}
    write(folder / "sweep.json", found)
    return folder


def affinity(folder: Path, tasks: Sequence[str] = TASKS) -> Path:
    values = np.random.default_rng(3).normal(size=(len(tasks), len(tasks))).tolist()
    groups = [[tasks[0]], list(tasks[1:])]
    found = {"format": 1, "method": "lookahead", "tasks": list(tasks), "affinity": values, "groups": groups}
    candidates = [{"groups": groups, "score": 0.5}, {"groups": [list(tasks)], "score": 0.4}]
    write(folder / "affinity.json", {**found, "score": 0.5, "spread": None, "candidates": candidates})
    return folder


def everything(folder: Path, tasks: Sequence[str] = TASKS) -> list[Path]:
    """One of each."""
    return [
        run(folder / "run", tasks), comparison(folder / "cmp", tasks), front(folder / "front", tasks[:2]),
        sweep(folder / "sweep"), affinity(folder / "groups", tasks),
    ]  # fmt: skip
