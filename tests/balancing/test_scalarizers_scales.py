"""Every scalarizer is finite for losses of all scales, in both precisions, over steps and epochs."""

import pytest
import torch
from scalarizer_steps import state_of, step_of, weights_of

from polytask.balancing import (
    annealed,
    dtp,
    dwa,
    famo,
    geometric_mean,
    go4align,
    imtl_l,
    random_weights,
    scalarizers,
    scale_invariant,
    smooth_tchebycheff,
)

BUILDERS = {
    "annealed": lambda: annealed([1.0] * 3, [0.9] * 3),
    "random_weights": lambda: random_weights(),
    "scale_invariant": lambda: scale_invariant(),
    "geometric_mean": lambda: geometric_mean(),
    "imtl_l": lambda: imtl_l(3),
    "dwa": lambda: dwa(3, window=1),
    "dtp": lambda: dtp(3),
    "smooth_tchebycheff": lambda: smooth_tchebycheff(3),
    "smooth_tchebycheff, libmtl": lambda: smooth_tchebycheff(3, form="libmtl", warmup=1),
    "go4align": lambda: go4align(3),
    "famo": lambda: famo(3),
}
SCALES = (0.0, 1e-30, 1e-15, 1.0, 1e6, 1e15)


def test_every_method_is_here():
    elsewhere = {"equal", "constant", "uncertainty", "auto_lambda", "tchebycheff"}
    assert {name.partition(",")[0] for name in BUILDERS} | elsewhere == set(scalarizers.__all__)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", BUILDERS)
def test_finite(name, scale, dtype):
    balancer = BUILDERS[name]()
    for number in range(4):
        losses = [scale, 2.0 * scale, 0.0 if number % 2 else 3.0]
        step = step_of(losses, number, number, absent=[1] if number == 2 else [], kpis=[0.0, 1.0, 0.5], dtype=dtype)
        weights = weights_of(balancer, step)
        assert weights.dtype == dtype
        assert bool(weights.isfinite().all()), f"{weights.tolist()} in step {number}"
        balancer.after_step(step, lambda step=step: torch.where(step.present, 0.5 * step.losses, 0.0))
    # a mean of DWA is NaN where a task was absent
    kept = {key: tensor for key, tensor in state_of(balancer).items() if key != "means"}
    assert all(bool(tensor.isfinite().all()) for tensor in kept.values())


@pytest.mark.parametrize("name", BUILDERS)
def test_the_state_of_an_absent_task_stays(name):
    balancer = BUILDERS[name]()

    def go(kpi, absent):
        step = step_of([1.0, 2.0, 3.0], 0, 1, absent=absent, kpis=[kpi] * 3)
        weights_of(balancer, step)
        balancer.after_step(step, lambda: torch.tensor([0.5, 1.9, 3.0]))
        return state_of(balancer)

    before = go(0.2, [])
    for key, tensor in go(0.4, [1]).items():
        if tensor.dim():
            torch.testing.assert_close(tensor[..., 1], before[key][..., 1], rtol=0.0, atol=0.0, equal_nan=True)
