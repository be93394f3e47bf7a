"""Proximal operators against their definition: no direction leads lower, and a general optimiser agrees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize

from polytask.linear import (
    Dirty,
    JointFeatures,
    Lasso,
    LinearModel,
    MeanRegularized,
    RobustFeatures,
    RobustLowRank,
    SparseLowRank,
    TraceNorm,
)
from polytask.linear.operators import fill_levels, project_l1_ball, project_trace_ball, shrink_peaks

MODELS = [
    Lasso(0.7),
    JointFeatures(0.7),
    TraceNorm(0.7),
    MeanRegularized(0.7),
    Dirty(0.7, 0.4),
    RobustFeatures(0.7, 0.4),
    RobustLowRank(0.7, 0.4),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("step", [0.1, 1.3])
def test_a_proximal_step_is_the_minimiser(model: LinearModel, step: float) -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=(model.parts, 4, 3))

    def objective(u: np.ndarray) -> float:
        u = u.reshape(v.shape)
        return float(((u - v) ** 2).sum() / 2 + step * model.penalty_value(u))

    found = model.proximal(v, step)
    reached = objective(found)
    # strongly convex: a minimiser beats every other point by half the squared distance
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(200):
            move = scale * rng.normal(size=v.shape) * (rng.random(v.shape) < 0.5)
            assert objective(found + move) >= reached + (move**2).sum() / 2 - 1e-12
    other = minimize(objective, found.ravel() + 0.1 * rng.normal(size=v.size), method="Powell", options={"xtol": 1e-8})
    assert other.fun >= reached - 1e-9
    assert other.fun == pytest.approx(reached, rel=0.05)  # it stalls at kinks, but near


@pytest.mark.parametrize("model", [*MODELS, SparseLowRank(0.4, 1.0)], ids=lambda model: type(model).__name__)
def test_no_step_is_a_projection(model: LinearModel) -> None:
    v = np.random.default_rng(0).normal(size=(model.parts, 4, 3))
    once = model.proximal(v, 0.0)
    np.testing.assert_allclose(model.proximal(once, 0.0), once, atol=1e-12)
    if not isinstance(model, SparseLowRank):
        np.testing.assert_allclose(once, v, atol=1e-12)


@pytest.mark.parametrize(
    ("project", "norm"),
    [
        (lambda v, r: project_l1_ball(v, r), lambda v: np.abs(v).sum(-1).max()),
        (project_trace_ball, lambda v: np.linalg.svd(v, compute_uv=False).sum()),
    ],
    ids=["l1", "trace"],
)
def test_projections_meet_the_obtuse_angle(project: Callable[..., np.ndarray], norm: Callable[..., float]) -> None:
    rng = np.random.default_rng(1)
    v = rng.normal(size=(5, 4))
    found = project(v, 1.5)
    assert norm(found) <= 1.5 + 1e-12
    for _ in range(300):
        inside = project(3 * rng.normal(size=v.shape), 1.5)
        assert np.vdot(v - found, inside - found) <= 1e-10
    np.testing.assert_array_equal(project_l1_ball(found, 1e3), found)


def test_the_empty_ball_holds_only_zero() -> None:
    assert not project_l1_ball(np.ones((2, 3)), 0.0).any()
    np.testing.assert_allclose(shrink_peaks(np.array([[1.0, -2.0]]), 10.0), 0.0)


@pytest.mark.parametrize("total", [1, 2, 3, 4])
@pytest.mark.parametrize("floor", [1e-3, 0.1, 3.0])
def test_levels_solve_the_knapsack(total: int, floor: float) -> None:
    values = np.array([3.0, 1.0, 0.5, 0.01])
    levels = fill_levels(values, floor, total)
    assert levels.sum() == pytest.approx(total)
    assert ((levels >= 0) & (levels <= 1)).all()
    other = minimize(
        lambda m: (values**2 / (floor + m)).sum(),
        np.full(4, total / 4),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda m: m.sum() - total},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert (values**2 / (floor + levels)).sum() <= other.fun * (1 + 1e-9)


def test_more_levels_than_directions_are_all_full() -> None:
    assert fill_levels(np.array([2.0, 0.0, 1.0]), 0.1, 3).tolist() == [1.0, 0.0, 1.0]
