"""What explainers hide and show: rows of a background, in columns of any type."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from jaxtyping import Bool, Shaped


@final
class Background:
    """Rows that stand in for what is hidden of a row: a masker for `shap.Explainer`.

    SHAP's own maskers compare and multiply values and stop at text, dates and missing values; this one only replaces.

    Args:
        rows: A DataFrame or an array.

    Attributes:
        shape: Of the background.

    Example:
        >>> background = Background(np.array([["a", 1], ["b", 2]], dtype=object))
        >>> background(np.array([False, True]), np.array(["c", 9], dtype=object))[0].tolist()
        [['a', 9], ['b', 9]]
    """

    immutable_outputs = True
    """A new array a call, which need not be copied."""
    default_batch_size = 256
    """Masks per call of the model."""

    def __init__(self, rows: Any) -> None:
        self.data: np.ndarray = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asarray(rows)
        self.shape = self.data.shape

    def __call__(
        self, mask: Bool[np.ndarray, "columns"], row: Shaped[np.ndarray, "columns"]
    ) -> tuple[Shaped[np.ndarray, "rows columns"]]:
        """The background with what ``mask`` shows of the row."""
        return (np.where(mask, row, self.data),)
