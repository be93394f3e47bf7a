"""`polytask fuse`: one ranking score for a bundle that exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polytask.cli.assigned import assigned, listed
from polytask.cli.calibrate import NewBundle
from polytask.cli.options import AllowCode, BundlePath, Table
from polytask.cli.output import console, grid, number, show_problems

if TYPE_CHECKING:
    from rich.console import Console

    from polytask.deciding import TradeOff


def fuse(
    bundle: BundlePath,
    data: Table,
    out: NewBundle,
    value: Annotated[
        str,
        typer.Option(
            "--value", metavar="VALUE", help="What good rows have much of: a task, or an expression over columns."
        ),
    ],
    group: Annotated[
        str, typer.Option("--group", metavar="COLUMN", help="Rows are ranked within its values: user, query, session.")
    ],
    objective: Annotated[
        str, typer.Option("--objective", metavar="NAME", help="ndcg of the value, or gauc of a value that is 0 or 1.")
    ] = "ndcg",
    form: Annotated[str, typer.Option("--form", metavar="NAME", help="product: prod p^w; sum: sum w p.")] = "product",
    at: Annotated[int, typer.Option("--at", min=1, help="How many places NDCG looks at.")] = 10,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="a,b", help="Predictions to fuse; all single numbers by default.")
    ] = None,
    floor: Annotated[
        list[str] | None,
        typer.Option(
            "--floor",
            metavar="TASK=0.6",
            help="The least ranking quality for a task: GAUC of a binary one, NDCG of another; several times.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=10, help="How many weightings are tried.")] = 300,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the search.")] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the trade-off: .png, .svg or .pdf.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all weightings that were tried.")
    ] = None,
    allow_code: AllowCode = None,
) -> None:
    """Fit one ranking score from a bundle's predictions, on labelled rows; predict then writes a column `score`.

    Examples:
      polytask fuse runs/feed/bundle validation.parquet --value play_time --group user_id -o runs/feed/fused

      polytask fuse runs/feed/bundle validation.parquet --value play_time --group user_id --floor like=0.6
      --plot trade-off.png -o runs/feed/fused
    """
    from polytask.deciding import fuse as fit
    from polytask.deciding.figure import check_figure
    from polytask.files import check_file
    from polytask.serving import load_bundle
    from polytask.serving.bundle import check_place

    target, floors = console(), assigned("--floor", floor)
    if plot is not None:
        check_figure(plot)
    for file in (plot, json_file):
        if file is not None:
            check_file(file)
    check_place(out)
    loaded = load_bundle(bundle, allow_code=allow_code or ())
    found, trade_off = fit(
        loaded, data, value=value, group=group, objective=objective, form=form,  # type: ignore[arg-type]
        at=at, tasks=listed(tasks) or (), floors=floors, samples=samples, seed=seed,
        tell=lambda problem: show_problems([problem]), console=target,
    )  # fmt: skip
    found.save(out)
    if json_file is not None:
        trade_off.save(json_file)
    if plot is not None:
        trade_off.plot(plot)
    show_trade_off(trade_off, target)
    target.print(f"bundle: {out}", markup=False, soft_wrap=True)


def show_trade_off(trade_off: TradeOff, target: Console) -> None:
    """Prints the chosen weights, and what the score reaches beside each prediction alone."""
    fusion = trade_off.fusion
    places = f"@{fusion.at}" if fusion.objective == "ndcg" else ""
    goal = f"{fusion.objective}{places} of {fusion.value}"
    metrics = [f"{name} {metric}" for name, metric in trade_off.metrics.items()]
    rows = [
        [name, weight, number(point.objective), *(number(point.quality[task]) for task in trade_off.metrics)]
        for name, weight, point in [
            ("score", "", trade_off.points[trade_off.chosen]),
            *((f"{name} alone", f"{fusion.weights[name]:.4f}", point) for name, point in trade_off.alone.items()),
        ]
    ]
    if fusion.floors:
        floors = [f"{fusion.floors[task]:.5f}" if task in fusion.floors else "" for task in trade_off.metrics]
        rows.append(["floor", "", "", *floors])
    title = f"ranking {trade_off.rows:,} rows in {trade_off.groups:,} groups of {fusion.group} by a {fusion.form}"
    target.print(grid(title, ["ranked by", "weight", goal, *metrics], rows, right=["weight", goal, *metrics]))
