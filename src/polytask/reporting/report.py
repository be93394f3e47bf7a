"""From folders and files to one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from polytask.errors import Problem, UserError
from polytask.files import make_folder, whole_file
from polytask.reporting.blocks import Block, Section
from polytask.reporting.files import Gaps
from polytask.reporting.material import Material, gather
from polytask.reporting.page import Page, render
from polytask.reporting.sections.affinity import affinity
from polytask.reporting.sections.calibration import calibration
from polytask.reporting.sections.comparison import comparison
from polytask.reporting.sections.conflict import conflict
from polytask.reporting.sections.data import data
from polytask.reporting.sections.front import front
from polytask.reporting.sections.fusion import fusion
from polytask.reporting.sections.gates import gates
from polytask.reporting.sections.headline import headline
from polytask.reporting.sections.importance import importance
from polytask.reporting.sections.learning import learning
from polytask.reporting.sections.reproduction import reproduction
from polytask.reporting.sections.scores import scores
from polytask.reporting.sections.sweep import sweep
from polytask.reporting.sections.weights import weights

NAME = "report.html"
# what reading a file of another shape than expected ends in; a section that meets it is left out, and said so
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def write_report(paths: Sequence[Path | str], out: Path | str, *, refresh: float | None = None) -> Path:
    """Writes one HTML file that needs no network: charts, tables, their data, and how to do it again.

    Args:
        paths: Run folders, finished or not; folders or JSON files of comparisons, fronts, sweeps and affinities.
            Several runs are laid over one another.
        out: The file to write.
        refresh: Seconds after which a browser loads the page again, for a run that goes on.

    Returns:
        ``out``.

    Raises:
        UserError: A path does not exist or holds nothing to report, or the file cannot be written. Of damaged and
            unfinished folders the page shows what it can, and says what is missing.
    """
    gaps, out = Gaps(), Path(out)
    material = gather([Path(path) for path in paths], gaps)
    page = compose(material, gaps)
    make_folder(out.parent)
    with whole_file(out) as part:
        part.write_text(render(page, refresh=refresh), encoding="utf-8", errors="replace")
    return out


def report(paths: Path | str | Sequence[Path | str], out: Path | str | None = None) -> Path:
    """Writes a page about runs, as ``polytask report`` does.

    Args:
        paths: Run folders, folders or JSON files of comparisons, fronts, sweeps and task affinities; one or several.
        out: The HTML file; ``report.html`` in the first folder if left out.

    Returns:
        The file.

    Raises:
        UserError: A path does not exist or holds nothing to report, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> line = '{"kind": "step", "step": 1, "losses": [0.7, 1.1], "weights": [1, 1]}'
        >>> _ = (folder / "records.jsonl").write_text(line)
        >>> report(folder).name
        'report.html'
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not given:
        raise UserError(Problem("report", "no path is given", "name a run folder"))
    return write_report(given, default_file(given[0]) if out is None else out)


def default_file(path: Path) -> Path:
    """Where a report goes if nothing is said: into the folder, or beside the file."""
    return (path if path.is_dir() else path.parent) / NAME


def compose(material: Material, gaps: Gaps) -> Page:
    """All sections, and what is missing."""
    runs = material.runs
    own: list[Callable[[Gaps], Section]] = [
        partial(comparison, material.comparisons), partial(front, material.fronts), partial(sweep, material.sweeps),
    ]  # fmt: skip
    first, shared = [scores, learning, calibration], [gates, conflict, weights]
    last = [importance, data, reproduction]
    make: list[Callable[[Gaps], Section]] = [
        *own,
        *(partial(one, runs) for one in first),
        partial(fusion, runs, material.fusions),
        *(partial(one, runs) for one in shared),
        partial(affinity, runs, material.affinities),
        *(partial(one, runs) for one in last),
    ]
    unread = Gaps()
    sections = [section for one in make if (section := _safely(one, gaps, unread)) is not None]
    title, verdict, head = _headline(material, unread)
    return Page(title, verdict, head, sections, [*gaps.found, *unread.found])


def _safely(make: Callable[[Gaps], Section], gaps: Gaps, unread: Gaps) -> Section | None:
    """The section, or a line that says why there is none."""
    name = make.func.__name__ if isinstance(make, partial) else "section"
    try:
        return make(gaps)
    except DAMAGE as error:
        unread.add(name.capitalize(), f"cannot be made of these files ({type(error).__name__}: {_short(error)})")
        return None


def _headline(material: Material, unread: Gaps) -> tuple[str, str, Sequence[Block]]:
    try:
        return headline(material)
    except DAMAGE as error:
        unread.add("Headline", f"cannot be made of these files ({type(error).__name__}: {_short(error)})")
        return "Report", "Parts of these files cannot be read; what can be is below.", ()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
