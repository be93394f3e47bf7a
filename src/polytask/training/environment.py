"""Where and on what a run was made: versions, machine, data."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import torch

import polytask
from polytask.tables import Tables


def describe_environment(tables: Tables) -> dict[str, Any]:
    """Versions, machine and a fingerprint of every table."""
    packages = ("torch", "numpy", "pyarrow")
    return {
        "polytask": polytask.__version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "data": fingerprints(tables),
    }


def fingerprints(tables: Tables) -> dict[str, str]:
    """Per part, a hash that changes with its table."""
    return {name: part.source.fingerprint() for name, part in tables.parts.items()}
