"""School: linear multi-task models on 139 schools, beside the published explained variance.

python experiments/evgeniou-2004-school/run.py --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

import polytask.linear
from polytask.errors import Problem, UserError
from polytask.linear import select

HERE = Path(__file__).parent


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features with the column of ones last, exam scores and the school of every pupil."""
    found = [place for place in (folder / "school.mat", folder / "school" / "school.mat") if place.is_file()]
    if not found:
        raise UserError(Problem(str(folder), "holds no school.mat", "set POLYTASK_DATA, or give --data"))
    content = scipy.io.loadmat(found[0])
    # stored as uint8: arithmetic before the conversion would wrap around
    X = [part.astype(np.float64) for part in content["X"].ravel()]
    y = [part.astype(np.float64).ravel() for part in content["Y"].ravel()]
    return np.concatenate(X), np.concatenate(y), np.repeat(np.arange(len(X)), [len(part) for part in X])


def split(tasks: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Marks the training rows: ``share`` of every school's, at random."""
    order = np.lexsort((np.random.default_rng(seed).random(len(tasks)), tasks))
    counts = np.bincount(tasks)
    rank = np.empty(len(tasks), dtype=np.intp)
    rank[order] = np.arange(len(tasks)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank < np.round(share * counts)[tasks]


def standardize(X: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 over the training rows of all schools; the column of ones stays."""
    mean, deviation = X[train].mean(0), X[train].std(0)
    mean[-1], deviation[-1] = 0.0, 1.0
    return (X - mean) / np.where(deviation > 0, deviation, 1.0)


def measures(y: np.ndarray, guess: np.ndarray, tasks: np.ndarray) -> dict[str, float]:
    """Explained variance over all test rows, its mean over schools, and two errors that papers use."""
    error, schools, counts = (y - guess) ** 2, tasks, np.bincount(tasks)
    mean = np.bincount(schools, y) / counts
    within = np.bincount(schools, (y - mean[schools]) ** 2)
    return {
        "explained": 100 * (1 - float(error.sum() / ((y - y.mean()) ** 2).sum())),
        "explained_within": 100 * float((1 - np.bincount(schools, error) / within).mean()),
        "nmse": float((np.bincount(schools, error) / within).mean()),
        "rmse": float(np.sqrt(error.mean())),
    }


def one_split(experiment: Mapping[str, Any], data: tuple[np.ndarray, ...], seed: int) -> dict[str, dict[str, Any]]:
    """Every model: options chosen on a part of the training rows, fitted to all of them, scored on the test rows."""
    X, y, tasks = data
    train = split(tasks, experiment["split"]["train"], seed)
    X, centre = standardize(X, train), y[train].mean()
    results = {}
    for name, table in experiment["models"].items():
        start = time.process_time()
        template = getattr(polytask.linear, table["use"])(**experiment["options"], **table.get("options", {}))
        given = X[train], y[train] - centre, tasks[train]
        chosen = select(template, table["grid"], *given, share=experiment["split"]["validation"], seed=seed)
        guess = centre + chosen.model.predict(X[~train], tasks[~train])
        edge = [key for key, values in table["grid"].items() if chosen.options[key] in (values[0], values[-1])]
        scores = measures(y[~train], guess, tasks[~train])
        results[name] = {**scores, "options": chosen.options, "edge": edge, "seconds": time.process_time() - start}
    return results


def table(runs: list[dict[str, dict[str, Any]]]) -> str:
    """Mean and standard deviation over the splits."""
    lines = [
        "| model | explained variance % | beats independent | mean within school % | nMSE | RMSE "
        "| options (first split) | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in runs[0]:
        cells = []
        for measure, digits in (("explained", 2), ("explained_within", 2), ("nmse", 4), ("rmse", 3)):
            values = np.array([run[name][measure] for run in runs])
            cells.append(f"{values.mean():.{digits}f} ± {values.std(ddof=1) if len(values) > 1 else 0:.{digits}f}")
        wins = sum(run[name]["explained"] > next(iter(run.values()))["explained"] for run in runs)
        cells.insert(1, "" if name == next(iter(runs[0])) else f"{wins} of {len(runs)}")
        options = ", ".join(f"{key} {value:g}" for key, value in runs[0][name]["options"].items())
        seconds = sum(run[name]["seconds"] for run in runs)
        lines.append(f"| {name} | {' | '.join(cells)} | {options} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the experiment, prints the table and the published numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("POLYTASK_DATA", ".")))
    parser.add_argument("--splits", type=int, help="fewer splits than in experiment.toml")
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, help="write every split's numbers to this JSON file")
    given = parser.parse_args()
    experiment = tomllib.loads((HERE / "experiment.toml").read_text(encoding="utf-8"))
    if given.models:
        experiment["models"] = {name: experiment["models"][name] for name in given.models}
    data = load(given.data)
    splits = given.splits or experiment["split"]["repeats"]
    runs = [one_split(experiment, data, seed) for seed in range(splits)]
    print(f"{splits} random splits, {experiment['split']['train']:.0%} of every school's rows train\n")
    print(table(runs))
    for name in runs[0]:
        edges = sum(bool(run[name]["edge"]) for run in runs)
        if edges:
            print(f"{name}: an option at the end of its grid in {edges} of {splits} splits")
    expected = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))
    print("\npublished:")
    for row in expected["published"]:
        print(f"- {row['model']}: {row['value']} ± {row.get('spread', '?')} ({row['measure']}, {row['source']})")
    if given.out:
        given.out.write_text(json.dumps(runs, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
