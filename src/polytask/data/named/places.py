"""Where data sets are looked for, and where what is downloaded or converted is kept."""

from __future__ import annotations

import os
from pathlib import Path

from polytask.errors import Problem, UserError


def data_folder() -> Path | None:
    """The folder named by the environment variable ``POLYTASK_DATA``, if it is set.

    Raises:
        UserError: The variable names something that is not a folder.
    """
    value = os.environ.get("POLYTASK_DATA", "")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        what = f"names '{value}', which is {'a file' if folder.exists() else 'not there'}"
        raise UserError(Problem("environment variable POLYTASK_DATA", what, "name an existing folder or unset it"))
    return folder


def cache_folder() -> Path:
    """The user's cache: ``$POLYTASK_CACHE``, else ``$XDG_CACHE_HOME/polytask``, else ``~/.cache/polytask``.

    The folder is not made here.
    """
    own = os.environ.get("POLYTASK_CACHE", "")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if shared else Path.home() / ".cache") / "polytask"
