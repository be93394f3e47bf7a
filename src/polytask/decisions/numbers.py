"""What numbers of a file must be."""

from __future__ import annotations

import math
from collections.abc import Iterable


def all_finite(values: Iterable[float]) -> bool:
    """Whether no value is NaN or infinite.

    Example:
        >>> all_finite((1.0, 2.0)), all_finite((1.0, math.nan))
        (True, False)
    """
    return all(math.isfinite(value) for value in values)
