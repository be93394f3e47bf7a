"""Draws a run: how each task learned beside its single-task network, and what one model gains on the test rows.

    python examples/plot_run.py runs/demo -o demo.png

All panels show the improvement: the share of the constant prediction's loss that a model saves. It has no unit, so that
tasks of all kinds stand side by side. Several seeds are drawn as thin lines around their mean.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

Curve = list[tuple[int, float]]
ONE, ALONE = "#2b5d8c", "#c8762d"


def seed_folders(run: Path) -> list[Path]:
    """The folders that hold one training each."""
    return sorted((run / "seeds").iterdir(), key=lambda path: int(path.name)) if (run / "seeds").is_dir() else [run]


def curve(folder: Path, task: str) -> Curve:
    """Steps and improvements on the validation part, by the records of one training."""
    lines = (json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines())
    return [(line["step"], line["scores"][task]["improvement"]) for line in lines if line["kind"] == "evaluation"]


def test_scores(folder: Path) -> dict[str, float]:
    """Per task its improvement on the test part, or on the validation part where there is no other."""
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["scores"]
    return {task: found["improvement"] for task, found in scores.get("test", scores["validation"]).items()}


def draw_curves(axes: Axes, run: Path, task: str) -> None:
    """One model and, where the run has one, the network for this task alone."""
    for folder, colour, label in ((run, ONE, "one model"), (run / "baselines" / task, ALONE, "alone")):
        if not folder.is_dir():
            continue
        curves = [curve(seed, task) for seed in seed_folders(folder)]
        for points in curves if len(curves) > 1 else ():
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.6, alpha=0.5)
        shortest = min(len(points) for points in curves)
        steps = [step for step, _ in curves[0][:shortest]]
        means = [fmean(points[number][1] for points in curves) for number in range(shortest)]
        axes.plot(steps, means, color=colour, marker="o", markersize=3, label=label)
    axes.set_title(task, fontsize=10)
    axes.set_xlabel("step", fontsize=8)


def draw_gains(axes: Axes, run: Path, tasks: list[str]) -> None:
    """Improvement of one model minus that of the task's own network; the line spans the seeds."""
    ours = [test_scores(folder) for folder in seed_folders(run)]
    for place, task in enumerate(tasks):
        alone = [test_scores(folder)[task] for folder in seed_folders(run / "baselines" / task)]
        gains = [100 * (one[task] - other) for one, other in zip(ours, alone, strict=True)]
        known = [gain for gain in gains if not math.isnan(gain)] or [0.0]
        axes.barh(place, fmean(known), color=ONE if fmean(known) >= 0 else ALONE, height=0.6)
        axes.plot([min(known), max(known)], [place, place], color="black", linewidth=1)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(tasks)), tasks, fontsize=8)
    axes.invert_yaxis()
    axes.set_title("gain of one model, test", fontsize=10)
    axes.set_xlabel("percentage points of improvement", fontsize=8)


def draw(run: Path, file: Path) -> None:
    """Writes the picture of a finished run."""
    mpl.use("agg")
    tasks = list(test_scores(seed_folders(run)[0]))
    compared = (run / "baselines").is_dir()
    figure, panels = plt.subplots(1, len(tasks) + compared, figsize=(2.9 * (len(tasks) + compared), 2.9), squeeze=False)
    for axes, task in zip(panels[0], tasks, strict=False):
        draw_curves(axes, run, task)
    panels[0][0].set_ylabel("improvement, validation", fontsize=8)
    panels[0][0].legend(fontsize=8, frameon=False)
    if compared:
        draw_gains(panels[0][-1], run, tasks)
    for axes in panels[0]:
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description="Draw the learning curves and the gains of a run.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="PNG")
    arguments = parser.parse_args()
    draw(arguments.run, arguments.out)


if __name__ == "__main__":
    main()
