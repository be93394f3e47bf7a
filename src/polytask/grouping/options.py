"""What a grouping is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polytask.config import Config
from polytask.errors import Problem, suggest
from polytask.grouping.affinity import chain_units

METHODS = {"lookahead": 1, "pairs": 3}
"""Seeds of the measurement if nobody says how many."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a grouping does; see `group`.

    Attributes:
        method: How affinities are measured.
        groups: Largest number of groups.
        overlap: Whether a group may hold tasks that another one serves.
        seeds: Seeds of the measurement.
        check: Seeds of the check.
        workers: Runs at a time.
        resume: Go on with what the folder holds.
    """

    method: str = "lookahead"
    groups: int | None = None
    overlap: bool = False
    seeds: int | None = None
    check: int | None = None
    workers: int = 1
    resume: bool = False

    @property
    def measured(self) -> int:
        """Seeds of the measurement."""
        return self.seeds or METHODS[self.method]

    def problems(self, config: Config, run: Path | None = None) -> list[Problem]:
        """What is wrong with them.

        Args:
            config: What is to be grouped.
            run: The run folder that has measured affinities, if there is one.
        """
        found = []
        if run is not None:
            what = f"given beside {run}, whose affinities are measured"
            given = {"seeds": self.seeds is not None, "method": self.method == "pairs"}
            found = [
                Problem(name, what, "leave it out, or group its config.toml")
                for name, beside in given.items()
                if beside
            ]
        if self.method not in METHODS:
            found.append(Problem("method", f"'{self.method}' is unknown", suggest(self.method, list(METHODS))))
        for name in ("groups", "seeds", "check"):
            value = getattr(self, name)
            if value is not None and value < 1:
                found.append(Problem(name, f"{value} given", "give 1 or more"))
        if len(config.tasks) < 2:
            found.append(Problem("tasks", "one task makes no groups", "name two tasks or more"))
        elif len(chain_units(config)) < 2:
            what = f"all {len(config.tasks)} are one chain, which stays together"
            found.append(Problem("tasks", what, "nothing is to be grouped"))
        return found
