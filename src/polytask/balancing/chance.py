"""Random draws of balancers: decided by a seed and the number of the step alone.

So a resumed run and all ranks of a distributed one draw alike, and nothing need be saved.
"""

from __future__ import annotations

import numpy as np

from polytask.types import Step

_OF_BALANCERS = 2
"""Tells these draws from others that a run makes from its seed and the number of a step."""


def generator(seed: int, step: Step) -> np.random.Generator:
    """The generator of one step.

    Example:
        >>> import torch
        >>> step = Step(3, 0, torch.ones(2, dtype=torch.bool), torch.ones(2))
        >>> bool(generator(0, step).integers(100) == generator(0, step).integers(100))
        True
    """
    return np.random.default_rng([seed, step.number, _OF_BALANCERS])
