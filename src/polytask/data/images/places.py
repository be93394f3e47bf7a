"""Where image data sets are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polytask.data.named.places import cache_folder, data_folder


def candidates(names: Sequence[str]) -> list[Path]:
    """``POLYTASK_DATA``, the folders of these names in it, and those in the user's cache, in that order.

    Raises:
        UserError: ``POLYTASK_DATA`` is set to something that is not a folder.
    """
    root = data_folder()
    places = [] if root is None else [root, *(root / name for name in names)]
    return [*places, *(cache_folder() / "raw" / name for name in names)]


def looked_in(names: Sequence[str]) -> str:
    """The same in words."""
    return " or ".join(str(place) for place in candidates(names))
