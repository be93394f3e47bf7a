"""`polytask check`: the configuration and its data, before any training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from polytask.cli.options import AllowCode, ConfigFile, Overrides
from polytask.cli.output import console, count_problems, grid, shortened, show_problems

if TYPE_CHECKING:
    from polytask.cli.inspection import Inspection
    from polytask.data.checks import DataReport, LabelTally
    from polytask.specs import LabelSpec


def check(config: ConfigFile, overrides: Overrides = None, allow_code: AllowCode = None) -> None:
    """Look at a configuration and its data, and list everything that is wrong, before any training.

    Prints a table of columns with their roles, a table of tasks with their label rates per part, and all problems. The
    exit code is 2 when one of them is an error.

    Examples:
      polytask check census.toml

      polytask check census.toml --set data.split.by=time --set data.split.column=day
    """
    from polytask.cli.inspection import inspect_config

    found = inspect_config(config, overrides or (), allow_code or ())
    target = console()
    if found.tables is not None and found.report is not None:
        target.print(grid("columns", ("column", "role", "encoding", "why"), _column_rows(found)))
        target.print()
        target.print(_task_table(found.report, found.tables.labels))
        target.print()
    show_problems(found.problems, None if found.errors else target)
    target.print(f"{count_problems(found.problems)}" + ("" if found.errors else f": polytask train {config} --out RUN"))
    if found.errors:
        sys.exit(2)


def _column_rows(found: Inspection) -> Iterator[tuple[str, ...]]:
    assert found.tables is not None
    for name, option in found.tables.roles.items():
        shown = {
            "numeric": option.encoding,
            "categorical": f"{option.hash_buckets:,} hash buckets"
            if option.hash_buckets
            else _vocabulary(option.vocabulary),
            "sequence": f"{option.pooling} of {_vocabulary(option.vocabulary)}",
            "datetime": "parts and age",
        }
        dropped = option.kind == "drop"
        yield name, "-" if dropped else option.kind, shown.get(option.kind, ""), found.tables.reasons.get(name, "")


def _vocabulary(shared: str | None) -> str:
    return f"vocabulary '{shared}'" if shared else "vocabulary"


def _task_table(report: DataReport, labels: tuple[LabelSpec, ...]) -> object:
    parts = [part for part, rows in report.rows.items() if rows]
    rows = [("", "", *(f"{report.rows[part]:,} rows" for part in parts), "")]
    for spec in labels:
        tallies = report.tallies.get(spec.task, {})
        cells = [_summary(spec, tallies[part]) if part in tallies else "" for part in parts]
        label = spec.label + (f" where {spec.where}" if spec.where else "")
        label += f" after {spec.after.task}" if spec.after else ""
        rows.append((spec.task, spec.kind, *cells, shortened(label)))
    return grid("tasks", ("task", "kind", *parts, "label"), rows, right=parts)


def _summary(spec: LabelSpec, tally: LabelTally) -> str:
    """One cell: the positive rate, the number of classes, or mean and spread; and how much is observed."""
    from polytask.data.checks import positive_value

    if not tally.observed:
        return "no label"
    if spec.kind == "binary":
        text = f"{tally.rate(positive_value(spec)):.2%} positive"
    elif spec.kind in ("multiclass", "ordinal"):
        text = f"{len(tally.counts):,}{'+' * tally.overflow} classes"
    else:
        text = f"mean {tally.mean:.4g} ± {tally.variance**0.5:.3g}"
    return text if tally.observed == tally.rows else f"{text}, {tally.observed / tally.rows:.1%} observed"
