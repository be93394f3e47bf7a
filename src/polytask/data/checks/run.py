"""All data checks: one pass over every row for the counts, one bounded sample for what is dear."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from polytask.data.checks.bound import BoundTask, bind_tasks
from polytask.data.checks.chains import ChainScan
from polytask.data.checks.columns import role_problems, schema_differences
from polytask.data.checks.duplicates import DuplicateScan
from polytask.data.checks.labels import label_problems
from polytask.data.checks.leaks import find_leaks
from polytask.data.checks.literals import LiteralScan
from polytask.data.checks.numbers import NumericScan, WeightScan
from polytask.data.checks.parts import PartName, Parts
from polytask.data.checks.scales import scale_problems
from polytask.data.checks.scan import Scan, run_scans
from polytask.data.checks.sizes import RowScan
from polytask.data.checks.tally import LabelScan, LabelTally
from polytask.data.checks.times import TimeScan, event_times
from polytask.data.columns import ColumnOptions
from polytask.data.parts import Part
from polytask.errors import Problem
from polytask.specs import LabelSpec

SAMPLE_ROWS = 50_000
MOST_ROWS_COMPARED = 2_000_000  # beyond, whole rows are not hashed: it would take longer than it tells
_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What the checks must know beside the tables.

    Attributes:
        batch_size: Rows of a training step.
        balancer: The name of the balancer.
        unscaled: Regression tasks whose target is used in its own unit.
        given: Features whose role the user named.
    """

    batch_size: int = 1024
    balancer: str = "equal"
    unscaled: Collection[str] = ()
    given: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class DataReport:
    """What the checks found.

    Attributes:
        problems: Errors first, then warnings, then notes.
        rows: Rows per part.
        tallies: Per task and part, the label counts; tasks whose expressions are wrong have none.
    """

    problems: tuple[Problem, ...]
    rows: Mapping[PartName, int] = field(default_factory=dict)
    tallies: Mapping[str, Mapping[PartName, LabelTally]] = field(default_factory=dict)


def check_data(
    parts: Mapping[str, Part],
    labels: Sequence[LabelSpec],
    roles: Mapping[str, ColumnOptions],
    settings: CheckSettings | None = None,
) -> DataReport:
    """Looks at labels, features, weights and splits before any training.

    Args:
        parts: The rows by part.
        labels: The tasks' labels.
        roles: How each column is used.
        settings: Further knowledge from the configuration.

    Returns:
        All findings together; nothing is raised for what the data hold.
    """
    settings = settings or CheckSettings()
    tables = Parts(parts)
    features = {
        name: option.kind for name, option in roles.items() if option.kind != "drop" and name in tables.schema.names
    }
    tasks, problems = bind_tasks(labels, tables.schema)
    sample = tables.sample(sorted({*features, *_label_columns(tasks)}), SAMPLE_ROWS)
    problems += schema_differences(tables, list(dict.fromkeys([*features, *_label_columns(tasks)])))
    problems += role_problems(
        {name: kind for name, kind in features.items() if name in settings.given},
        {name: option.separator for name, option in roles.items() if option.separator},
        sample.get("train", pa.table({})),
    )
    row_scan, label_scan = RowScan(batch_size=settings.batch_size, parts=tables.names), LabelScan(tuple(tasks))
    problems += run_scans(tables, [row_scan, label_scan, *_other_scans(tables, tasks, features, roles)])
    tallies = label_scan.tallies
    if row_scan.rows["train"] > 1:
        problems += [problem for task in tasks for problem in label_problems(task, tallies[task.spec.task])]
        problems += scale_problems(tasks, tallies, unscaled=settings.unscaled, balancer=settings.balancer)
    if "train" in sample:
        leaks = find_leaks(tasks, sample["train"], features)
        problems += [leak.problem() for leak in leaks]
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: _ORDER[problem.severity])
    return DataReport(tuple(ordered), row_scan.rows, tallies)


def _other_scans(
    tables: Parts, tasks: Sequence[BoundTask], features: Mapping[str, str], roles: Mapping[str, ColumnOptions]
) -> list[Scan]:
    numeric = frozenset(name for name, kind in features.items() if kind == "numeric")
    scans: list[Scan] = [
        NumericScan(numeric, {name: roles[name].impute for name in numeric}),
        TimeScan(event_times(tables.schema), split=tables.split),
        LiteralScan(tasks, tables.schema),
        ChainScan(tasks, tables.schema),
        *(WeightScan(task) for task in tasks if task.spec.weight),
    ]
    if len(tables.names) > 1 and tables.rows <= MOST_ROWS_COMPARED and features:
        scans.append(DuplicateScan(sorted({*features, *_label_columns(tasks)})))
    return scans


def _label_columns(tasks: Sequence[BoundTask]) -> list[str]:
    return sorted({column for task in tasks for column in task.columns})
