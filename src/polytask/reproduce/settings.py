"""The settings of an experiment: read from its files, and kept beside its results."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from polytask.config.base import Table
from polytask.config.loading import read_toml
from polytask.config.problems import problems_of
from polytask.errors import Problem, UserError
from polytask.files import make_folder, write_json

SETTINGS = "experiment.json"

AnyTable = TypeVar("AnyTable", bound=Table)


def read_settings(file: Path, model: type[AnyTable]) -> AnyTable:
    """A TOML file as the given model.

    Raises:
        UserError: With everything that is wrong with the file.
    """
    try:
        return model.model_validate(read_toml(file))
    except ValidationError as error:
        found = problems_of(error, model)
        raise UserError(Problem(f"{file.name}: {one.where}", one.what, one.remedy) for one in found) from error


def enter(out: Path, settings: Mapping[str, Any], *, free: Collection[str], resume: bool) -> None:
    """Makes the folder of the results, or finds there what the same settings began.

    Args:
        out: The folder.
        settings: Everything that the results depend on.
        free: Keys that may differ from those of results that are there already.
        resume: Whether to go on with results that are there already.

    Raises:
        UserError: The folder holds results already, or those of other settings; or it cannot be made.
    """
    file = out / SETTINGS
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(key for key in settings if key not in free and settings[key] != before.get(key))
        if changed:
            what = f"holds results under other settings ({', '.join(changed)})"
            raise UserError(Problem(f"--out {out}", what, "choose another folder"))
        if not resume:
            raise UserError(Problem(f"--out {out}", "holds results already", "add --resume, or choose another folder"))
    make_folder(out)
    write_json(file, settings)
