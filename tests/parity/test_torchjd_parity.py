"""The directions of our methods beside those of TorchJD, an implementation of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from polytask import balancing
from polytask.balancing.interfaces import Aggregator, Balancer, Weighting
from polytask.types import Step

aggregation = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed: pip install 'torchjd[full]'")
pytestmark = pytest.mark.filterwarnings("ignore:You are solving a parameterized problem")

# ours, theirs, and how near they are on regular Jacobians: theirs stop earlier, or add to the diagonal
METHODS: dict[str, tuple[Callable[[int], Balancer], Callable[[int], Callable[[Tensor], Tensor]], float]] = {
    "mean": (lambda tasks: balancing.mean(), lambda tasks: aggregation.Mean(), 1e-12),
    "mgda": (lambda tasks: balancing.mgda(), lambda tasks: aggregation.MGDA(epsilon=1e-9, max_iters=20_000), 0.02),
    "cagrad": (lambda tasks: balancing.cagrad(c=0.4), lambda tasks: aggregation.CAGrad(c=0.4, norm_eps=1e-12), 1e-4),
    "imtl_g": (lambda tasks: balancing.imtl_g(), lambda tasks: aggregation.IMTLG(), 1e-10),
    "nash_mtl": (
        lambda tasks: balancing.nash_mtl(normalise=True, max_norm=1.0),
        lambda tasks: aggregation.NashMTL(n_tasks=tasks, max_norm=1.0),
        1e-6,
    ),
    "aligned_mtl": (lambda tasks: balancing.aligned_mtl(), lambda tasks: aggregation.AlignedMTL(), 1e-10),
    "upgrad": (lambda tasks: balancing.upgrad(), lambda tasks: aggregation.UPGrad(), 0.01),
    "dualproj": (lambda tasks: balancing.dualproj(), lambda tasks: aggregation.DualProj(), 0.01),
    "config": (lambda tasks: balancing.config(), lambda tasks: aggregation.ConFIG(), 1e-10),
    "fairgrad": (lambda tasks: balancing.fairgrad(alpha=2.0), lambda tasks: aggregation.FairGrad(alpha=2.0), 1e-8),
    "trimmed_mean": (
        lambda tasks: balancing.trimmed_mean(),
        lambda tasks: aggregation.TrimmedMean(trim_number=1),
        1e-12,
    ),
}
DEFICIENT = {**{name: tolerance for name, (_, _, tolerance) in METHODS.items()}, "upgrad": 0.03, "dualproj": 0.03}
DEFICIENT.pop("imtl_g")
ZERO_ROW = {name: tolerance for name, tolerance in DEFICIENT.items() if name not in ("cagrad", "nash_mtl")}


def jacobian(tasks: int, width: int, seed: int) -> Tensor:
    return torch.randn(tasks, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ours(balancer: Balancer, rows: Tensor) -> Tensor:
    present = torch.ones(len(rows), dtype=torch.bool)
    step = Step(0, 0, present, torch.ones(len(rows), dtype=rows.dtype))
    if isinstance(balancer, Weighting):
        return balancer(rows @ rows.T, step) @ rows
    assert isinstance(balancer, Aggregator)
    return balancer(rows, step)


def compare(name: str, rows: Tensor, tolerance: float) -> None:
    build, their, _ = METHODS[name]
    one, other = ours(build(len(rows)), rows), their(len(rows))(rows)
    assert (one - other).norm() <= tolerance * other.norm(), f"{(one - other).norm() / other.norm():.1e} apart"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", METHODS)
def test_independent_gradients(name: str, seed: int) -> None:
    compare(name, jacobian(4, 20, seed), METHODS[name][2])
    compare(name, jacobian(5, 6, seed), METHODS[name][2])


@pytest.mark.parametrize("name", DEFICIENT)
def test_more_tasks_than_dimensions(name: str) -> None:
    compare(name, jacobian(5, 3, 1), DEFICIENT[name])


@pytest.mark.parametrize("name", ZERO_ROW)
def test_a_gradient_of_zero(name: str) -> None:
    rows = jacobian(4, 20, 0)
    rows[1] = 0.0
    compare(name, rows, ZERO_ROW[name])


@pytest.mark.parametrize("name", [name for name in METHODS if name != "nash_mtl"])
def test_no_gradient_at_all(name: str) -> None:
    rows = torch.zeros(3, 5, dtype=torch.float64)
    build, their, _ = METHODS[name]
    assert not ours(build(3), rows).any() and not their(3)(rows).any()


@pytest.mark.parametrize("name", ["pcgrad", "gradvac"])
def test_two_tasks_leave_the_order_no_choice(name: str) -> None:
    for seed in range(8):
        rows = jacobian(2, 4, seed)
        their = aggregation.PCGrad() if name == "pcgrad" else aggregation.GradVac()  # it remembers
        build = balancing.pcgrad() if name == "pcgrad" else balancing.gradvac(2)
        torch.testing.assert_close(ours(build, rows), their(rows), rtol=1e-6, atol=1e-7)


def test_graddrop_where_all_signs_agree_is_the_sum_in_both() -> None:
    rows = jacobian(4, 20, 0).abs()
    torch.testing.assert_close(ours(balancing.graddrop(4), rows), aggregation.GradDrop()(rows))


# --- where they differ by definition ----------------------------------------------------------------------------------


def test_mgda_with_their_defaults_is_not_at_the_end() -> None:
    rows = jacobian(5, 6, 1)
    assert ours(balancing.mgda(), rows).norm() < aggregation.MGDA()(rows).norm()


def test_upgrad_of_theirs_leaves_small_conflicts() -> None:
    rows = jacobian(5, 3, 8)
    found = [ours(balancing.upgrad(), rows), aggregation.UPGrad()(rows)]
    conflicts = [(rows @ direction).min().item() for direction in found]
    assert conflicts[0] >= -1e-7 > conflicts[1]


def test_imtl_g_of_dependent_gradients_has_no_equal_projections_and_rests() -> None:
    rows = jacobian(5, 3, 1)
    assert ours(balancing.imtl_g(), rows).norm() < 1e-6 < aggregation.IMTLG()(rows).norm()


def test_cagrad_leaves_a_solved_task_out_where_theirs_stays_at_the_mean() -> None:
    """The worst task is then the solved one whatever is done, and theirs maximises the gain of a task without one."""
    rows = jacobian(4, 20, 0)
    rows[1] = 0.0
    one, other = ours(balancing.cagrad(c=0.4), rows), aggregation.CAGrad(c=0.4)(rows)
    served = [direction @ rows[[0, 2, 3]].T for direction in (one, other)]
    assert served[0].min() > served[1].min()
