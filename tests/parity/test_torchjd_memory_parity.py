"""Methods that remember or draw, beside those of TorchJD over several steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polytask import balancing
from polytask.balancing.interfaces import Balancer, Weighting
from polytask.balancing.weightings.orders import orders
from polytask.types import Step

aggregation = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed: pip install 'torchjd[full]'")


def jacobian(tasks: int, width: int, seed: int) -> Tensor:
    return torch.randn(tasks, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step_of(tasks: int, number: int) -> Step:
    return Step(number, 0, torch.ones(tasks, dtype=torch.bool), torch.ones(tasks, dtype=torch.float64))


def ours(balancer: Balancer, rows: Tensor, number: int = 0) -> Tensor:
    step = step_of(len(rows), number)
    return balancer(rows @ rows.T, step) @ rows if isinstance(balancer, Weighting) else balancer(rows, step)


@pytest.mark.parametrize("width", [6, 1])
def test_gradvac_of_two_tasks_over_many_steps(width: int) -> None:
    """One task meets only the other, so that orders do not matter and the targets are those of the pair."""
    balancer, their = balancing.gradvac(2, beta=0.5), aggregation.GradVac(beta=0.5, eps=0.0)
    for number in range(20):
        rows = jacobian(2, width, number) + (0.3 if width > 1 else 0.0)
        if width == 1:
            rows = rows.abs()  # opposed gradients of one dimension have no plane to turn in
        torch.testing.assert_close(ours(balancer, rows, number), their(rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tasks", [3, 6])
def test_pcgrad_in_the_orders_that_we_draw(tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        given = iter(torch.from_numpy(orders(0, step_of(tasks, number), tasks)))
        monkeypatch.setattr(torch, "randperm", lambda count, given=given: next(given))
        rows = jacobian(tasks, 5, number)
        torch.testing.assert_close(ours(balancing.pcgrad(), rows, number), aggregation.PCGrad()(rows))


@pytest.mark.parametrize("leak", [None, [0.0, 0.5, 1.0, 0.2]])
def test_graddrop_with_the_numbers_that_we_draw(leak: list[float] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    balancer = balancing.graddrop(4, leak=leak or 0.0)
    for number in range(5):
        rows = jacobian(4, 30, number)
        rows[:, 3] = 0.0
        drawn = balancer._draws(rows, step_of(4, number)).double()
        expected = ours(balancer, rows, number)
        monkeypatch.setattr(torch, "rand", lambda *_, drawn=drawn, **__: drawn)
        their = aggregation.GradDrop(leak=None if leak is None else torch.tensor(leak, dtype=torch.float64))
        torch.testing.assert_close(expected, their(rows), rtol=1e-6, atol=1e-7)
        monkeypatch.undo()


@pytest.mark.parametrize("rank", [9, 2])
def test_sdmgrad_with_their_learning_rate(rank: int) -> None:
    """Theirs takes a product of two batches; of one batch it is the Gramian."""
    balancer, their = balancing.sdmgrad(4, learning_rate=10.0), aggregation.SDMGradWeighting(lr=10.0)
    for number in range(10):
        rows = jacobian(4, rank, number)
        torch.testing.assert_close(ours(balancer, rows, number), their(rows @ rows.T) @ rows, rtol=1e-5, atol=1e-6)


def test_excess_mtl_of_theirs_has_the_sum_1_and_moves_in_the_first_step_by_the_excess_itself() -> None:
    """From the same logits on, both multiply by the same factors: with our sum T, directions are T times as long."""
    rate, tasks = 0.5, 4
    balancer, their = balancing.excess_mtl(tasks, learning_rate=rate), aggregation.ExcessMTL(robust_step_size=rate)
    first = jacobian(tasks, 7, 0)
    their(first), ours(balancer, first)
    excess = (first**2 / (first**2 + 1e-7).sqrt()).sum(1)
    balancer.logits.copy_(torch.log_softmax(rate * excess, 0))
    for number in range(1, 10):
        rows = jacobian(tasks, 7, number) / number
        torch.testing.assert_close(ours(balancer, rows, number), tasks * their(rows), rtol=1e-5, atol=1e-8)


def test_trimmed_mean_of_theirs_drops_a_number_and_ours_a_share() -> None:
    rows = jacobian(10, 12, 0)
    for number in range(5):
        found = ours(balancing.trimmed_mean(share=number / 10), rows)
        torch.testing.assert_close(found, aggregation.TrimmedMean(trim_number=number)(rows))


def test_without_gradients_nobody_moves() -> None:
    rows = torch.zeros(3, 5, dtype=torch.float64)
    pairs = {
        "pcgrad": (balancing.pcgrad(), None),  # theirs divides by a length only where gradients conflict
        "gradvac": (balancing.gradvac(3), aggregation.GradVac()),
        "graddrop": (balancing.graddrop(3), aggregation.GradDrop()),
        "excess_mtl": (balancing.excess_mtl(3), aggregation.ExcessMTL()),
        "nash_mtl": (balancing.nash_mtl(), None),  # theirs divides the Gramian by its norm: NaN for the solver
    }
    for name, (balancer, their) in pairs.items():
        for number in range(3):
            assert not ours(balancer, rows, number).any(), name
            assert their is None or not their(rows).any(), name
