"""A finished comparison: what Python gets, and what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from polytask.comparing import tables
from polytask.comparing.analysis import Analysis, Entry
from polytask.comparing.figure import draw
from polytask.comparing.outcome import Outcome
from polytask.comparing.verdict import verdict
from polytask.errors import MissingExtraError
from polytask.files import whole_file, write_json

COMPARISON, LEADERBOARD, FIGURE = "comparison.json", "leaderboard.md", "comparison.png"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A finished comparison.

    Attributes:
        path: Its folder.
        analysis: All numbers.
        outcomes: What every run gave, by its folder within `path`.
    """

    path: Path
    analysis: Analysis
    outcomes: Mapping[str, Outcome]

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, sentence by sentence."""
        return verdict(self.analysis)

    @property
    def verdict(self) -> str:
        """What the numbers say, in plain words."""
        return " ".join(self.sentences)

    @property
    def best(self) -> Path | None:
        """The bundle that validation chooses: of the leader, the seed with the best validation score.

        None where no candidate finished, or the leader is several models.
        """
        return None if self.analysis.best_run is None else self.path / self.analysis.best_run / "bundle"

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Runs without scores, and why."""
        return tuple((key, one.failure.what) for key, one in self.outcomes.items() if one.failure is not None)

    @cached_property
    def leaderboard(self) -> pa.Table:
        """A row per method: names, Delta-m with interval, rank, tests, costs, and four columns per task."""
        return pa.Table.from_pylist([self._row(entry) for entry in self.analysis.entries])

    def _row(self, entry: Entry) -> dict[str, Any]:
        shared = entry.method.kind == "shared"
        row: dict[str, Any] = {
            "method": entry.method.name,
            "kind": entry.method.kind,
            "sharing": None if entry.method.kind == "lightgbm" else entry.method.sharing.use,
            "balancer": entry.method.balancer.use if shared else None,
            "delta": entry.delta.mean, "delta_low": entry.delta.low, "delta_high": entry.delta.high,
            "validation_delta": entry.validation, "rank": entry.rank,
            "p_baseline": entry.versus_baseline, "p_leader": entry.versus_leader,
            "runs": entry.runs, "failed": entry.failed,
            **asdict(entry.cost),
        }  # fmt: skip
        for measure, scores, gain in zip(self.analysis.measures, entry.scores, entry.gains, strict=True):
            known = scores[scores == scores]
            row[f"{measure.task}.{measure.metric}"] = float(known.mean()) if known.size else None
            row |= {
                f"{measure.task}.gain": gain.mean,
                f"{measure.task}.low": gain.low,
                f"{measure.task}.high": gain.high,
            }
        return {key: None if isinstance(value, float) and value != value else value for key, value in row.items()}

    def write(self, facts: Mapping[str, Any]) -> str | None:
        """Writes ``comparison.json``, ``leaderboard.md`` and the figure; returns why there is no figure, if so.

        Args:
            facts: What else belongs into the JSON: configuration, environment.
        """
        missing = None
        try:
            draw(self.analysis, self.path / FIGURE)
        except MissingExtraError as error:
            missing = str(error)
        with whole_file(self.path / LEADERBOARD) as partial:
            figure = FIGURE if missing is None else None
            partial.write_text(tables.markdown(self.analysis, self.sentences, self.failures, figure), encoding="utf-8")
        write_json(self.path / COMPARISON, {**self._json(), **facts})
        return missing

    def _json(self) -> dict[str, Any]:
        found = self.analysis
        return {
            "verdict": list(self.sentences),
            "leader": None if found.leader is None else found.leader.method.name,
            "best": None if self.best is None else f"{found.best_run}/bundle",
            "part": found.part,
            "seeds": list(found.seeds),
            "measures": [asdict(one) for one in found.measures],
            "left_out": list(found.left_out),
            "methods": [_entry(entry, found) for entry in found.entries],
            "runs": {key: asdict(outcome) for key, outcome in self.outcomes.items()},
        }


def _entry(entry: Entry, found: Analysis) -> dict[str, Any]:
    method = entry.method
    tasks = {
        measure.task: {"metric": measure.metric, "scores": scores.tolist(), "gain": asdict(gain)}
        for measure, scores, gain in zip(found.measures, entry.scores, entry.gains, strict=True)
    }
    return {
        "name": method.name, "kind": method.kind, "folder": method.folder,
        "sharing": method.sharing.model_dump(), "balancer": method.balancer.model_dump(),
        "tasks": tasks, "delta": {**asdict(entry.delta), "seeds": entry.deltas.tolist()},
        "validation_delta": entry.validation, "rank": entry.rank,
        "p_baseline": entry.versus_baseline, "p_leader": entry.versus_leader,
        "runs": entry.runs, "failed": entry.failed, "cost": asdict(entry.cost),
    }  # fmt: skip
