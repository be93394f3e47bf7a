"""A reproduction from its file to results and figures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from polytask.files import write_json
from polytask.reproduce import figures
from polytask.reproduce.claims import Finding, judge
from polytask.reproduce.experiment import Expected, Experiment, load_experiment
from polytask.reproduce.network import MODELS
from polytask.reproduce.settings import enter
from polytask.reproduce.synthetic import Study, Values, run_study
from polytask.reproduce.work import Workshop

RESULTS, CELLS = "results.json", "cells"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A finished reproduction.

    Attributes:
        experiment: Its settings.
        expected: What was published.
        study: What was measured.
        findings: Per claim its statements.
        spent: Per part the seconds on the clock and of all processors, without what an earlier try had done.
    """

    experiment: Experiment
    expected: Expected
    study: Study
    findings: Mapping[str, list[Finding]]
    spent: Mapping[str, tuple[float, float]]

    def held(self, key: str) -> bool:
        """Whether every statement of a claim is."""
        return all(finding.held for finding in self.findings[key])


def reproduce(
    folder: Path,
    out: Path,
    *,
    quick: bool = False,
    resume: bool = False,
    threads: int | None = None,
    console: Console | None = None,
) -> Reproduction:
    """Runs an experiment, evaluates the paper's claims, and writes ``results.json`` and the figures.

    Every block of runs is kept in ``out`` as soon as it is done; after an interruption ``resume`` goes on from there.

    Args:
        folder: With ``experiment.toml`` and ``expected.toml``.
        out: The folder to write.
        quick: A few runs of a few steps, to see that everything works.
        resume: Go on with what ``out`` holds.
        threads: CPU threads; all by default.
        console: Where progress is shown; None: nowhere.

    Raises:
        UserError: The files are at fault, or ``out`` holds something else.
    """
    figures.require_matplotlib()
    experiment, expected = load_experiment(folder)
    experiment = experiment.quick() if quick else experiment
    # what the claims are called decides nothing that is kept
    enter(out, experiment.model_dump(mode="json"), free=("claims",), resume=resume)
    workshop = Workshop(out / CELLS, threads or os.cpu_count() or 1, console)
    study = run_study(experiment, workshop)
    findings = judge(study.final_losses(), experiment.figure4.correlations, experiment.claims, seed=experiment.seed)
    result = Reproduction(experiment, expected, study, findings, workshop.spent)
    write_json(out / RESULTS, _record(result, quick=quick))
    _draw(study, out)
    return result


def _record(result: Reproduction, *, quick: bool) -> dict[str, Any]:
    """What ``results.json`` holds."""
    study = result.study
    cells = [
        {"model": model, "correlation": p, "learning_rate": study.learning_rates[model, p], **_cell(losses)}
        for (model, p), losses in study.comparison.items()
    ]
    claims = [
        {**claim.model_dump(), "held": result.held(claim.key), "statements": [_statement(f) for f in found]}
        for claim in result.expected.claims
        for found in [result.findings[claim.key]]
    ]
    return {
        "title": result.experiment.title,
        "paper": result.experiment.paper,
        "quick": quick,
        "torch": torch.__version__,
        "seconds": {part: {"clock": one, "processors": all_} for part, (one, all_) in result.spent.items()},
        "claims": claims,
        "figures_4_and_5": cells,
        "pilot": [
            {"model": model, "correlation": p, "learning_rate": rate, "validation_loss": loss}
            for (model, p, rate), loss in study.pilot.items()
        ],
        "figure_3": [_spread(p, losses[:, -1]) for p, losses in study.shared_bottom.items()],
        "figure_2": [_spread(p, found) for p, found in study.label_correlations.items()],
    }


def _cell(losses: Values) -> dict[str, Any]:
    """Of curves ``[runs, points]``; the lowest point of a run need not be its last one."""
    final = losses[:, -1]
    return {
        "runs": len(final),
        "diverged": int((~np.isfinite(final)).sum()),
        "mean": float(final.mean()),
        "std": float(final.std(ddof=1)),
        "best": float(final.min()),
        "median": float(np.median(final)),
        "worst": float(final.max()),
        "mean_of_lowest_points": float(losses.min(1).mean()),
        "losses": final.tolist(),
        "lowest_points": losses.min(1).tolist(),
    }


def _spread(correlation: float, values: Values) -> dict[str, float]:
    return {"correlation": correlation, "mean": float(values.mean()), "std": float(values.std(ddof=1))}


def _statement(finding: Finding) -> dict[str, Any]:
    bounds = {"above": finding.above, "below": finding.below}
    given = {name: bound for name, bound in bounds.items() if np.isfinite(bound)}
    return {
        "text": finding.text, "estimate": finding.estimate, "interval": [finding.low, finding.high],
        "must_be": given, "held": finding.held,
    }  # fmt: skip


def _draw(study: Study, out: Path) -> None:
    labels = study.label_correlations
    figures.draw_correlations(out / "figure2.png", list(labels), list(labels.values()))
    figures.draw_shared_bottom(out / "figure3.png", study.shared_bottom_steps, study.shared_bottom)
    figures.draw_comparison(out / "figure4.png", study.comparison_steps, study.comparison)
    figures.draw_distributions(out / "figure5.png", study.comparison)


def summary_rows(result: Reproduction) -> list[list[str]]:
    """Per model and correlation: learning rate, mean, standard deviation, best, median and worst final loss."""
    rows = []
    for p in result.experiment.figure4.correlations:
        for model in MODELS:
            final = result.study.comparison[model, p][:, -1]
            numbers = (final.mean(), final.std(ddof=1), final.min(), float(np.median(final)), final.max())
            rate = result.study.learning_rates[model, p]
            rows.append([f"{p:g}", model, f"{rate:g}", *(f"{value:.4f}" for value in numbers)])
    return rows
