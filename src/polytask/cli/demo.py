"""`polytask demo`: a whole run on real data, or on the simulator where there are none."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polytask.cli.output import console
from polytask.cli.report import report_on_result


class DemoData(StrEnum):
    """What the demo can run on."""

    CENSUS_INCOME = "census-income"
    SHORT_VIDEO = "short-video"


def demo(
    data: Annotated[DemoData | None, typer.Option("--data", help="Census-Income if it can be had, by default.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run folder to write.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Train MMoE on Census-Income for three tasks beside one network per task; print the comparison, write a report.

    Without the data set and without a network it says so and runs on the simulator.

    Examples:
      polytask demo

      polytask demo --data short-video --out runs/simulated
    """
    from polytask.training.demo import run_demo

    target = console()
    run_demo(data.value if data is not None else None, out, target)
    report_on_result(out, target)
