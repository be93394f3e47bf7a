"""`polytask calibrate`: calibration and thresholds for a bundle that exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polytask.cli.assigned import assigned, listed
from polytask.cli.options import AllowCode, BundlePath, Table
from polytask.cli.output import console, grid, number, show_problems

if TYPE_CHECKING:
    from rich.console import Console

    from polytask.decisions import Decisions

NewBundle = Annotated[Path, typer.Option("--out", "-o", metavar="NEW_BUNDLE", help="The bundle to write.")]


def calibrate(
    bundle: BundlePath,
    data: Table,
    out: NewBundle,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="isotonic, platt or temperature; auto: isotonic for binary tasks, temperature for tasks with classes; "
            "none: take calibrations away; keep: leave them as they are.",
        ),
    ] = "auto",
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="a,b", help="Which tasks; all that the method is for by default.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="TASK=RULE",
            help="Where a task's probability says yes: 0.3, f1, youden, '{precision=0.9}', '{recall=0.8}', "
            "'{rate=0.05}' or '{cost=[1,5]}'; may be given several times.",
        ),
    ] = None,
    allow_code: AllowCode = None,
) -> None:
    """Calibrate a bundle's predictions on labelled rows, and fit thresholds.

    The rows should be those of the validation part, or later ones: neither rows that the model was trained on nor
    those that will test it.

    Examples:
      polytask calibrate runs/feed/bundle validation.parquet -o runs/feed/calibrated

      polytask calibrate runs/feed/bundle validation.parquet --method keep --threshold like=f1 -o runs/feed/cut
    """
    from polytask.deciding import calibrate as fit
    from polytask.serving import load_bundle
    from polytask.serving.bundle import check_place

    target, rules = console(), assigned("--threshold", threshold)
    check_place(out)
    loaded = load_bundle(bundle, allow_code=allow_code or ())
    found = fit(
        loaded, data, method=method, tasks=listed(tasks), thresholds=rules,  # type: ignore[arg-type]
        tell=lambda problem: show_problems([problem]), console=target,
    )  # fmt: skip
    found.save(out)
    show_decisions(found.decisions, target)
    target.print(f"bundle: {out}", markup=False, soft_wrap=True)


def show_decisions(decisions: Decisions, target: Console) -> None:
    """Prints calibrations and thresholds as tables."""
    from polytask.decisions.words import rule_text

    if decisions.calibration:
        headings = ["rows", "log loss", "calibrated", "ECE", "calibrated "]
        rows = [
            [name, own.map.method, f"{own.rows:,}", *(number(part.get(key)) for key in ("log_loss", "ece")
             for part in (own.before, own.after))]
            for name, own in decisions.calibration.items()
        ]  # fmt: skip
        title = "calibration; calibrated figures are cross-fitted"
        target.print(grid(title, ["task", "method", *headings], rows, right=headings))
    if decisions.thresholds:
        keys = ["precision", "recall", "f1", "rate"]
        rows = [
            [name, rule_text(own.rule), f"{own.value:.5g}", *(number(own.reached.get(key)) for key in keys)]
            for name, own in decisions.thresholds.items()
        ]
        title = "thresholds, and what they give on these rows"
        target.print(grid(title, ["task", "rule", "threshold", *keys], rows, right=["threshold", *keys]))
