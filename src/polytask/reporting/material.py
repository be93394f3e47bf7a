"""What the given paths hold: runs, comparisons, fronts, sweeps, affinities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polytask.errors import Problem, UserError
from polytask.reporting.files import Gaps, read_json
from polytask.reporting.runs import Run, is_run, read_run

COMPARISON, FRONT, PARETO, SWEEP, AFFINITY, FUSION = (
    "comparison.json", "front.json", "pareto.json", "sweep.json", "affinity.json", "fusion.json",
)  # fmt: skip
KEYS = {"leader": COMPARISON, "columns": FRONT, "trials": SWEEP, "affinity": AFFINITY, "form": FUSION}
"""By which key a file of another name is known."""


@dataclass
class Material:
    """Everything that a report is made of, by name.

    Attributes:
        runs: Run folders.
        comparisons: ``comparison.json``.
        fronts: ``front.json``, each with ``pareto.json`` beside it.
        sweeps: ``sweep.json``.
        affinities: ``affinity.json``.
        fusions: What `polytask fuse --json` wrote; ``fusion.json`` of a run comes with the run.
    """

    runs: list[Run] = field(default_factory=list)
    comparisons: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    fronts: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)
    sweeps: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    affinities: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    fusions: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        files = (self.comparisons, self.fronts, self.sweeps, self.affinities, self.fusions)
        return not (self.runs or any(files))


def gather(paths: Sequence[Path], gaps: Gaps) -> Material:
    """Reads all paths.

    Args:
        paths: Folders or JSON files.
        gaps: Gets what cannot be read.

    Raises:
        UserError: Paths do not exist or hold nothing of this kind; all are named.
    """
    material, problems = Material(), []
    remedy = "name run folders, or folders of polytask compare, pareto, sweep and group"
    for path, name in zip(paths, unique_names(paths), strict=True):
        if not path.exists():
            problems.append(Problem(str(path), "does not exist", remedy))
        elif not (_file if path.is_file() else _folder)(path, name, material, gaps, len(paths)):
            holds = f"a file without any of the keys {', '.join(KEYS)}" if path.is_file() else "holds nothing to report"
            why = "; ".join(f"{Path(gap.where).name} {gap.what}" for gap in gaps.found if str(path) in gap.where)
            problems.append(Problem(str(path), f"{holds}{f' ({why})' if why else ''}", remedy))
    if problems:
        raise UserError(problems)
    return material


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Short names that tell paths apart: the last part, with the part before where that is not enough.

    Example:
        >>> unique_names([Path("/a/mmoe"), Path("/a/ple")]), unique_names([Path("/a/x"), Path("/b/x")])
        (['mmoe', 'ple'], ['a/x', 'b/x'])
    """
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    counts: Counter[str] = Counter()
    found = []
    for name in ["/".join(own[-1:]) for own in parts]:
        counts[name] += 1
        found.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return found


def _folder(folder: Path, name: str, material: Material, gaps: Gaps, given: int) -> bool:
    files = {kind: read_json(folder / kind, gaps) for kind in (COMPARISON, FRONT, PARETO, SWEEP, AFFINITY)}
    found = [_take(kind, one, name, folder, material, gaps) for kind, one in files.items() if one and kind != PARETO]
    if is_run(folder) and not any((folder / kind).exists() for kind in (COMPARISON, SWEEP, PARETO)):
        run = read_run(folder, gaps, name=name, curves=given)
        if run.config or any(one.scores or one.curves.last for one in run.seeds) or run.baselines:
            if (folder / "runs").is_dir() and not run.seeds[0].curves.last:
                gaps.add("Comparison", f"{name} is not finished", "polytask compare with --resume goes on with it")
            material.runs.append(run)
            return True
    return any(found)


def _file(file: Path, name: str, material: Material, gaps: Gaps, given: int) -> bool:
    found = read_json(file, gaps)
    kind = next((kind for key, kind in KEYS.items() if key in (found or {})), None)
    return found is not None and kind is not None and _take(kind, found, name, file.parent, material, gaps)


def _take(kind: str, found: Mapping[str, Any], name: str, folder: Path, material: Material, gaps: Gaps) -> bool:
    if kind == COMPARISON:
        material.comparisons[name] = found
        _inner_run(found.get("best"), folder, str(found.get("leader")), material, gaps)
    elif kind == FRONT:
        said = read_json(folder / PARETO, gaps) or {}
        material.fronts[name] = (found, said)
        chosen = said.get("chosen")
        if isinstance(chosen, dict):
            _inner_run(chosen.get("run"), folder, f"{name}: the shipped point", material, gaps)
    elif kind == SWEEP:
        material.sweeps[name] = found
    elif kind == FUSION:
        material.fusions[name] = found
    else:
        material.affinities[name] = found
    return True


def _inner_run(place: Any, folder: Path, name: str, material: Material, gaps: Gaps) -> None:
    """The run that a comparison or a front chooses: its curves and gates are shown as well."""
    if not isinstance(place, str) or not place or place.startswith("/") or ".." in Path(place).parts:
        return
    own = folder / place
    own = own.parent if own.name == "bundle" else own
    if is_run(own):
        run = read_run(own, gaps, name=f"{name}, seed {own.name}" if own.name.isdecimal() else name)
        run.compared = True
        material.runs.append(run)
