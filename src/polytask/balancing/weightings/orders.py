"""In which order a task meets the others."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from polytask.balancing.chance import generator
from polytask.types import Step


def orders(seed: int, step: Step, count: int) -> Int64[np.ndarray, "count count"]:
    """A random order of all tasks for each of ``count`` tasks; its own place in it means nothing.

    Example:
        >>> import torch
        >>> sorted(orders(0, Step(3, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)), 2)[1].tolist())
        [0, 1]
    """
    return generator(seed, step).permuted(np.tile(np.arange(count), (count, 1)), axis=1)
