"""What methods claim, as assertions: each takes a builder (from the number of tasks) and the gradients of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.types import Step

Build = Callable[[int], Weighting]


def gradients_of(
    tasks: int, rank: int, *, seed: int = 0, scale: float = 1.0, spread: float = 0.0, drift: float = 0.0
) -> Tensor:
    """Random gradients that span ``rank`` dimensions; the norms differ by powers of ten, ``spread`` either way.

    With ``drift`` they have that much in common; below 0 they add up to zero (Pareto-stationary).
    """
    random = np.random.default_rng(seed)
    rows = random.normal(size=(tasks, rank))
    rows = rows + drift if drift >= 0 else rows - rows.mean(axis=0)
    return torch.from_numpy(scale * rows * 10 ** (spread * random.uniform(-1, 1, size=(tasks, 1))))


def step_for(tasks: int, number: int = 0, *, losses: Tensor | None = None, absent: tuple[int, ...] = ()) -> Step:
    present = torch.ones(tasks, dtype=torch.bool)
    present[list(absent)] = False
    return Step(number, 0, present, torch.ones(tasks) if losses is None else losses)


def weights_of(build: Build, gradients: Tensor, number: int = 0) -> Tensor:
    return build(len(gradients))(gradients @ gradients.T, step_for(len(gradients), number))


def direction_of(build: Build, gradients: Tensor) -> Tensor:
    return weights_of(build, gradients) @ gradients


def cosines(gradients: Tensor, direction: Tensor) -> Tensor:
    """Of the direction with every gradient; 0 where one of both is zero."""
    lengths = gradients.norm(dim=1) * direction.norm()
    return torch.where(lengths > 0, gradients @ direction / lengths.clamp_min(1e-300), 0.0)


def assert_non_conflicting(build: Build, gradients: Tensor, tolerance: float = 1e-6) -> None:
    """No loss increases. The tolerance is relative to the largest part of the sum: parts can cancel."""
    weights = weights_of(build, gradients)
    parts = (weights.abs() * gradients.norm(dim=1)).sum()
    slopes = gradients @ (weights @ gradients) / gradients.norm(dim=1).clamp_min(1e-300)
    assert (slopes >= -tolerance * parts).all(), f"conflicts: {(slopes / parts).min().item():.1e}"


def assert_permutation_invariant(build: Build, gradients: Tensor) -> None:
    order = torch.randperm(len(gradients), generator=torch.Generator().manual_seed(0))
    before, after = direction_of(build, gradients), direction_of(build, gradients[order])
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-7 * gradients.norm().item())


def assert_linear_under_scaling(build: Build, gradients: Tensor) -> None:
    """The direction is linear in the lengths of the gradients."""
    one, two = torch.rand(2, len(gradients), generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    both, first, second = (direction_of(build, c.unsqueeze(1) * gradients) for c in (2 * one + 3 * two, one, two))
    torch.testing.assert_close(both, 2 * first + 3 * second, rtol=1e-6, atol=1e-8)


def assert_direction_invariant_under_scaling(build: Build, gradients: Tensor) -> None:
    """Multiplying losses by constants does not turn the direction."""
    factors = 10 ** torch.linspace(-3, 3, len(gradients), dtype=torch.float64)
    one, two = direction_of(build, gradients), direction_of(build, factors.unsqueeze(1) * gradients)
    assert torch.cosine_similarity(one, two, dim=0).abs().item() > 1 - 1e-8


def assert_rests_when_stationary(build: Build, gradients: Tensor) -> None:
    """Where a convex combination of the gradients vanishes, so does the step."""
    weights = weights_of(build, gradients)
    size = gradients.norm(dim=1).max() * max(1.0, weights.abs().max().item())
    assert (weights @ gradients).norm() <= 1e-6 * size


def samples(*, regular: bool = False) -> Iterator[Tensor]:
    """Gradients of many kinds: few and many tasks, conflicting or not, all scales; with ``regular`` independent."""
    for tasks in (1, 2, 3, 8, 20):
        for rank in (4 * tasks, tasks) if regular else (4 * tasks, tasks, max(1, tasks // 2), 1):
            for drift in (0.0, 0.5, 3.0):
                for scale in (1e-12, 1.0, 1e12):
                    yield gradients_of(tasks, rank, seed=tasks + rank, scale=scale, drift=drift)
    for spread in (1.0, 3.0):
        yield gradients_of(6, 20, spread=spread)
