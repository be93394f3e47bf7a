"""Images with the labels of several tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64, UInt8


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images as bytes, and one class per task and image.

    Attributes:
        pixels: From 0 to 255; may be mapped from a file.
        labels: Class numbers, from 0.
        tasks: Names of the tasks.
    """

    pixels: UInt8[np.ndarray, "images channels height width"]
    labels: Int64[np.ndarray, "tasks images"]
    tasks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    def first(self, count: int) -> LabelledImages:
        """At most the first ``count`` images."""
        return replace(self, pixels=self.pixels[:count], labels=self.labels[:, :count])
