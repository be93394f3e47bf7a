"""Where experiments are found: a folder by its path, or one of a checkout by its name."""

from __future__ import annotations

from pathlib import Path

from polytask.config.loading import read_toml
from polytask.errors import Problem, UserError, suggest

FILE = "experiment.toml"
_GET = "experiments come with the source, not with the package: clone the repository and run polytask there"


def shipped() -> dict[str, Path]:
    """The folders with an experiment in ``experiments/`` of the current folder, of those above it, or of the checkout.

    Example:
        >>> all((folder / "experiment.toml").is_file() for folder in shipped().values())
        True
    """
    here = Path.cwd()
    places = [place / "experiments" for place in (here, *here.parents, Path(__file__).resolve().parents[3])]
    found: dict[str, Path] = {}
    for place in places:
        for file in sorted(place.glob(f"*/{FILE}")):
            found.setdefault(file.parent.name, file.parent)
    return found


def find(experiment: str) -> Path:
    """The folder of an experiment.

    Args:
        experiment: A folder, or a name as in `shipped`.

    Raises:
        UserError: There is none; says what there is, or where to get them.
    """
    folder = Path(experiment)
    if (folder / FILE).is_file():
        return folder
    if folder.is_dir():
        raise UserError(Problem(f"experiment '{experiment}'", f"the folder holds no {FILE}", _GET))
    names = shipped()
    if experiment in names:
        return names[experiment]
    remedy = suggest(experiment, list(names)) if names else _GET
    raise UserError(Problem(f"experiment '{experiment}'", "no such folder, and no experiment of that name", remedy))


def program(folder: Path) -> str:
    """The name of the program that an experiment's file asks for; empty if it names none."""
    return str(read_toml(folder / FILE).get("program", ""))
