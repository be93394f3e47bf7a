"""What `polytask init` proposes for a table: tasks, columns to leave out, and a split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polytask.config import source_kind
from polytask.data import named, simulators
from polytask.data.checks import Parts, find_leaks
from polytask.data.checks.bound import bind_tasks
from polytask.data.checks.times import event_times
from polytask.data.inference import RoleGuess, infer_roles
from polytask.data.label_kinds import ProposedTask, propose_tasks, tally_labels
from polytask.data.named import PreparedDataset
from polytask.data.parts import Part
from polytask.data.sources import TableSource, open_source
from polytask.data.splits import SplitSpec, fit_split
from polytask.errors import Problem, UserError, suggest

SAMPLE_ROWS = 50_000
_WEIGHT = re.compile(r"(^|_)(weight|wgt|fnlwgt)s?($|_)|^w$", re.IGNORECASE)
_GROUP = re.compile(r"^(user|uid|member|viewer|customer|query|session)(_?id)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A first configuration.

    Attributes:
        source: What to write as ``data.source``.
        rows: Rows of the table.
        tasks: The objectives.
        keys: Columns to pass through.
        drop: Columns to leave out, each with the reason.
        split: The split table, empty where the data set brings its own; with the reason.
        roles: What every other column was taken for.
        batch_size: Rows a step.
    """

    source: str
    rows: int
    tasks: tuple[ProposedTask, ...]
    keys: tuple[str, ...] = ()
    drop: dict[str, str] = field(default_factory=dict)
    split: tuple[dict[str, Any], str] = field(default_factory=lambda: ({}, ""))
    roles: dict[str, RoleGuess] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """A power of two that leaves at least some sixteen steps an epoch."""
        return min(1024, max(16, 1 << max(0, (self.rows // 16).bit_length() - 1)))


def propose(data: str, labels: Sequence[str], keys: Sequence[str], out: Path) -> Proposal:
    """Looks at a table.

    Args:
        data: A path, a named data set, or ``simulator:short-video``.
        labels: Label columns; may be empty for data sets that bring their tasks.
        keys: Columns to pass through.
        out: Where the configuration will lie; paths are written relative to it.

    Raises:
        UserError: A label or key does not exist, has no value, or one value only; all of them at once.
    """
    if source_kind(data, Path()) != "path":
        return _propose_prepared(data, _prepared(data), labels)
    source = open_source(data)
    _refuse(source, labels, keys)
    proposed = propose_tasks(source, labels)
    sample = Parts({"train": Part(source)}).sample(source.schema.names, SAMPLE_ROWS)["train"]
    guesses = infer_roles(source.schema, sample, rows=source.rows, skip=(*labels, *keys))
    row_keys = tuple(name for name, guess in guesses.items() if guess.kind == "drop" and "row key" in guess.reason)
    drop = {name: guess.reason for name, guess in guesses.items() if guess.kind == "drop" and name not in row_keys}
    drop |= {name: "named like a sample weight" for name in guesses if name not in drop and _WEIGHT.search(name)}
    split = _split(source)
    if "column" in split[0] and split[0]["column"] in guesses:
        drop.setdefault(split[0]["column"], "orders the split: as a feature it would only tell old rows from new ones")
    kinds = {name: guess.kind for name, guess in guesses.items() if name not in drop}
    bound, _ = bind_tasks([task.spec for task in proposed], source.schema)
    for leak in find_leaks(bound, sample, kinds):
        drop.setdefault(leak.column, f"gives away the label of {leak.task} ({leak.score})")
    group = next((name for name, guess in guesses.items() if _GROUP.match(name) and guess.kind == "categorical"), None)
    proposed = tuple(task.grouped(group) if task.kind == "binary" and group else task for task in proposed)
    path = _relative(data, out)
    roles = {name: guess for name, guess in guesses.items() if name not in drop and name not in row_keys}
    return Proposal(path, source.rows, proposed, (*keys, *row_keys), drop, split, roles)


def write_proposal(proposal: Proposal) -> str:
    """The proposal as commented TOML."""
    from polytask.cli.proposal_toml import to_toml

    return to_toml(proposal)


def _prepared(data: str) -> PreparedDataset:
    if data.startswith("simulator:"):
        return simulators.get(data.removeprefix("simulator:"))().prepare()
    return named.get(data).prepare()


def _propose_prepared(data: str, prepared: PreparedDataset, labels: Sequence[str]) -> Proposal:
    names = [spec.task for spec in prepared.tasks]
    unknown = [name for name in labels if name not in names]
    if unknown:
        what = f"'{data}' has no such task"
        raise UserError(Problem(f"--labels {name}", what, suggest(name, names)) for name in unknown)
    specs = [spec for spec in prepared.tasks if not labels or spec.task in labels]
    source = open_source(prepared.train)
    tasks, tallies = tally_labels(source, specs)
    proposed = tuple(ProposedTask.given(task.spec, tallies[task.spec.task]) for task in tasks)
    roles = {name: RoleGuess(kind, "known of this data set") for name, kind in prepared.kinds.items()}  # type: ignore[arg-type]
    return Proposal(data, source.rows, proposed, split=({}, prepared.split), roles=roles)


def _refuse(source: TableSource, labels: Sequence[str], keys: Sequence[str]) -> None:
    names = source.schema.names
    if not labels:
        example = ", ".join(names[-2:])
        raise UserError(Problem("--labels", "missing", f"name the label columns: --labels {example.replace(' ', '')}"))
    problems = [
        Problem(f"{option} {name}", f"no column '{name}' in {source.name}", suggest(name, names))
        for option, given in (("--labels", labels), ("--keys", keys))
        for name in given
        if name not in names
    ]
    if problems:
        raise UserError(problems)


def _split(source: TableSource) -> tuple[dict[str, Any], str]:
    """By time where an event time is at hand that can divide the rows, otherwise at random."""
    for column in event_times(source.schema):
        try:
            fit_split(SplitSpec("time", column=column), source)
        except UserError:
            continue  # missing times, or too few different ones: the next column, or chance
        reason = "the newest rows test, those before them validate: no learning from the future"
        return {"by": "time", "column": column, "validation": 0.1, "test": 0.1}, reason
    reason = 'every row on its own; use by = "hash", column = ... to keep all rows of a user together'
    return {"by": "random", "validation": 0.1, "test": 0.1, "seed": 0}, reason


def _relative(data: str, out: Path) -> str:
    path, base = Path(data).expanduser().absolute(), out.absolute().parent
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
