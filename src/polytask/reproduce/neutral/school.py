"""School: exam scores of 15,362 pupils of 139 schools (Inner London Education Authority), as shipped with MALSAR."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from polytask.data.images.places import candidates, looked_in
from polytask.errors import MissingExtraError, Problem, UserError

FILE, FOLDERS = "school.mat", ("school",)
Numbers = npt.NDArray[np.float64]


def school(schools: int) -> tuple[list[Numbers], list[Numbers]]:
    """Features ``[pupils, 27]`` and scores ``[pupils]`` of the largest schools, in the file's order.

    Args:
        schools: How many.

    Raises:
        UserError: The file is not there, or holds fewer schools.
        MissingExtraError: The package that reads it is not installed.
    """
    file = next((place / FILE for place in candidates(FOLDERS) if (place / FILE).is_file()), None)
    if file is None:
        what = f"{FILE} is not in {looked_in(FOLDERS)}"
        raise UserError(Problem("data set 'school'", what, "set POLYTASK_DATA to the folder that holds it"))
    content = _scipy().loadmat(file)
    # bytes: arithmetic before the conversion would wrap around; the last column is one throughout
    features = [np.asarray(part, dtype=np.float64)[:, :-1] for part in content["X"].ravel()]
    scores = [np.asarray(part, dtype=np.float64).ravel() for part in content["Y"].ravel()]
    if len(scores) < schools:
        raise UserError(Problem("data.schools", f"{schools} asked for, {len(scores)} are there", "ask for fewer"))
    largest = np.sort(np.argsort([-len(part) for part in scores], kind="stable")[:schools])
    return [features[number] for number in largest], [scores[number] for number in largest]


def _scipy() -> Any:
    try:
        return importlib.import_module("scipy.io")
    except ModuleNotFoundError as error:
        raise MissingExtraError("scipy", extra="baselines", purpose="reading the data set 'school'") from error
