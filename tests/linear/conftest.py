from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


def make(T: int = 5, d: int = 4, seed: int = 0, noise: float = 0.5, W: np.ndarray | None = None) -> Data:
    """Rows of T tasks in mixed order, every task with a number of rows of its own."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(T, d)) if W is None else W
    T, d = W.shape
    tasks = rng.permutation(np.repeat(np.arange(T), rng.integers(20, 60, T)))
    X = rng.normal(size=(len(tasks), d)) + 0.5
    y = (X * W[tasks]).sum(1) + tasks + noise * rng.normal(size=len(tasks))
    return X, y, tasks


@pytest.fixture(scope="session")
def new_rows() -> Callable[..., Data]:
    """`make`."""
    return make
