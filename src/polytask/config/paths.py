"""What ``data.source`` names: a data set, a simulator, or files relative to the TOML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from polytask.config.models import Config

SourceKind = Literal["named", "simulator", "path"]
_NAME = re.compile(r"[a-z][a-z0-9\-]*")
_SIMULATOR = "simulator:"


def source_kind(source: str, relative_to: Path) -> SourceKind:
    """How to read one entry of ``data.source``.

    A bare lower-case word is a named data set unless a file or folder of that name lies beside the TOML file; folders
    that polytask has written do not count.

    Example:
        >>> [source_kind(text, Path("/nowhere")) for text in ("census-income", "simulator:short-video", "a/*.csv")]
        ['named', 'simulator', 'path']
    """
    if source.startswith(_SIMULATOR):
        return "simulator"
    beside = relative_to / source
    if _NAME.fullmatch(source) and (not beside.exists() or (beside / "config.toml").is_file()):
        return "named"
    return "path"


def absolute(config: Config) -> Config:
    """The same configuration with every path absolute, so that the file may be stored elsewhere."""
    base = config.relative_to
    data = config.data

    def fixed(source: str) -> str:
        return str(base / Path(source).expanduser()) if source_kind(source, base) == "path" else source

    source = fixed(data.source) if isinstance(data.source, str) else tuple(fixed(item) for item in data.source)
    parts = {part: fixed(path) for part in ("validation", "test") if (path := getattr(data, part)) is not None}
    update: dict[str, object] = {"data": data.model_copy(update={"source": source, **parts})}
    if config.train.warm_start is not None:
        bundle = str(base / Path(config.train.warm_start).expanduser())
        update["train"] = config.train.model_copy(update={"warm_start": bundle})
    return config.model_copy(update=update).placed(base)


def simulator_name(source: str) -> str:
    """``"short-video"`` of ``"simulator:short-video"``."""
    return source.removeprefix(_SIMULATOR)
