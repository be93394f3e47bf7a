"""Docstrings here head their doctests with ``Example:``; griffe knows the section as ``Examples:``."""

from __future__ import annotations

import re
from typing import Any

import griffe

_HEADING = re.compile(r"^( *)Example:$", re.MULTILINE)


class Examples(griffe.Extension):
    """Renames the heading before docstrings are parsed, so that doctests are set as code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Looks at every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _HEADING.sub(r"\1Examples:", obj.docstring.value)
