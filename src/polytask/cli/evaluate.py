"""`polytask evaluate`: scores of a bundle on labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from polytask.cli.options import AllowCode, BundlePath, Table
from polytask.cli.output import console, grid, score_table
from polytask.files import write_json

if TYPE_CHECKING:
    from polytask.evaluation import GateReport, UnitReport


def evaluate(
    bundle: BundlePath,
    data: Table,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the scores.")] = None,
    gates: Annotated[bool, typer.Option("--gates", help="Also show what each gate takes from each expert.")] = False,
    allow_code: AllowCode = None,
) -> None:
    """Score a bundle on labelled rows, task by task, with metrics of each task's own kind.

    Examples:
      polytask evaluate runs/census/bundle test.parquet

      polytask evaluate runs/census/bundle 'days/2024-*.parquet' --json scores.json

      polytask evaluate runs/census/bundle test.parquet --gates
    """
    from polytask.evaluation import bundle_gates, evaluate_bundle
    from polytask.serving import load_bundle

    target = console()
    loaded = load_bundle(bundle, allow_code=allow_code or ())
    scores = evaluate_bundle(loaded, data, target)
    target.print(score_table(f"{bundle} on {data}", scores))
    if gates:
        _show_gates(*bundle_gates(loaded, data), target)
    if json_file is not None:
        write_json(json_file, scores)


def _show_gates(levels: Sequence[GateReport], banks: Sequence[UnitReport], target: Console) -> None:
    if not levels:
        target.print("this architecture has no gates")
    for level in levels:
        experts = [str(expert) for expert in range(len(level.mean[0]))]
        rows = [
            [row, *(f"{weight:.2f}" for weight in weights), f"{entropy:.2f}"]
            for row, weights, entropy in zip(level.rows, level.mean, level.entropy, strict=True)
        ]
        title = f"{level.level}: mean weight per expert; entropy 1 is even, 0 is one expert"
        target.print(grid(title, ["gate", *experts, "entropy"], rows, right=[*experts, "entropy"]))
        for row in level.polarised:
            remedy = "try [sharing.gate] dropout = 0.1"
            target.print(f"warning  {level.level}: the gate {row} leans on one expert; {remedy}", style="yellow")
    for bank in banks:
        shares = ", ".join(f"{share:.0%}" for share in bank.dead)
        target.print(f"dead units of the experts in {bank.bank}: {shares}", highlight=False)
