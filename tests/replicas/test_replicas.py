"""Replicas: every copy ends where a run of its own ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock

import pytest
import torch
from torch import Tensor, nn

from polytask.replicas import Plan, Program, Replicas, Rows, batches, train
from polytask.reproduce.network import Network, network
from polytask.sharing import cgc, ple

COUNT, WIDTH, ROWS, BATCH, STEPS = 3, 6, 40, 16, 12
DRAWING = Lock()
PLAN = Plan(steps=STEPS, batch_size=BATCH, learning_rate=1e-2, evaluate_every=5)
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "mmoe": lambda: network("mmoe", WIDTH, experts=3, expert_width=4, tower_width=5),
    "omoe": lambda: network("omoe", WIDTH, experts=3, expert_width=4, tower_width=5),
    "shared-bottom": lambda: network("shared-bottom", WIDTH, bottom_width=7, tower_width=5),
    "cgc": lambda: Network(cgc(2, WIDTH, shared_experts=2, experts=1, widths=(4,)), tower_width=5),
    "ple": lambda: Network(ple(2, WIDTH, levels=2, shared_experts=1, experts=1, widths=(4,)), tower_width=5),
}


def rows_of(seed: int, count: int = ROWS, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 0].sin()]) + seed
    return x.to(dtype), y.to(dtype)


def stacked(seeds: range, dtype: torch.dtype) -> Rows:
    x, y = zip(*(rows_of(seed, dtype=dtype) for seed in seeds), strict=True)
    return Rows(torch.stack(x), torch.stack(y))


@contextmanager
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def replicas_of(modules: list[nn.Module]) -> Replicas:
    dtype = next(modules[0].parameters()).dtype
    return Replicas(modules, Program(modules[0], torch.zeros(WIDTH, dtype=dtype), rows={ROWS, BATCH}))


def build(name: str, seed: int, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(seed)
    return BUILDERS[name]().to(dtype)


def alone(name: str, seed: int, dtype: torch.dtype) -> nn.Module:
    """An ordinary run: polytask's own model with its doors open, torch's ordinary Adam."""
    model, (x, y), order = build(name, seed, dtype), rows_of(seed, dtype=dtype), batches(ROWS, BATCH, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=PLAN.learning_rate, foreach=False)
    for _ in range(STEPS):
        chosen = torch.from_numpy(next(order))
        optimizer.zero_grad()
        (model(x[chosen]) - y[:, chosen]).square().mean().backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_a_replica_ends_where_a_separate_run_ends(name: str, dtype: torch.dtype, close: float) -> None:
    seeds = range(10, 10 + COUNT)
    replicas = replicas_of([build(name, seed, dtype) for seed in seeds])
    train(replicas, stacked(seeds, dtype), stacked(seeds, dtype), PLAN, list(seeds))
    for number, seed in enumerate(seeds):
        expected, before = alone(name, seed, dtype).state_dict(), build(name, seed, dtype).state_dict()
        found = replicas.state(number)
        assert found.keys() == expected.keys()
        for key, value in found.items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=close, msg=f"{key} of replica {number}")
        assert any((found[key] - before[key]).abs().max() > 0.01 for key in found)


def test_curves_are_the_losses_of_separate_runs() -> None:
    seeds = range(2)
    replicas = replicas_of([build("mmoe", seed, torch.float64) for seed in seeds])
    rows = stacked(seeds, torch.float64)
    curves = train(replicas, rows, rows, PLAN, list(seeds))
    assert curves.steps == (0, 5, 10, 12)
    assert curves.losses.shape == (2, 4, 2)
    for number, seed in enumerate(seeds):
        for model, point in ((build("mmoe", seed, torch.float64), 0), (alone("mmoe", seed, torch.float64), -1)):
            x, y = rows_of(seed)
            expected = (model(x) - y).square().mean(1).detach()
            torch.testing.assert_close(curves.losses[number, point], expected, rtol=0, atol=1e-10)


def test_replicas_do_not_change_the_modules_and_share_a_program() -> None:
    modules = [build("mmoe", seed, torch.float32) for seed in range(4)]
    before = [{key: value.clone() for key, value in module.state_dict().items()} for module in modules]
    program = Program(modules[0], torch.zeros(WIDTH), rows={ROWS, BATCH})
    for part in (modules[:2], modules[2:]):
        train(Replicas(part, program), stacked(range(2), torch.float32), stacked(range(2), torch.float32), PLAN, [0, 1])
    for module, old in zip(modules, before, strict=True):
        assert all(torch.equal(value, old[key]) for key, value in module.state_dict().items())


def test_dropout_differs_between_replicas() -> None:
    modules = [nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    first, second = Replicas(modules, Program(modules[0], torch.zeros(4), rows=[3]))(torch.ones(2, 3, 4))
    assert not torch.equal(first, second)


def test_copies_must_be_alike() -> None:
    program = Program(nn.Linear(2, 2), torch.zeros(2), rows=[2])
    with pytest.raises(ValueError, match="no module"):
        Replicas([], program)
    with pytest.raises(ValueError, match="replica 1 has other parameters"):
        Replicas([nn.Linear(2, 2), nn.Linear(2, 3)], program)
    modules = [nn.BatchNorm1d(2), nn.BatchNorm1d(2)]
    modules[1].get_buffer("running_mean").fill_(1.0)
    with pytest.raises(ValueError, match="other buffers"):
        Replicas(modules, program)
    with pytest.raises(ValueError, match=r"3 rows; the program was traced for \[2\]"):
        Replicas([nn.Linear(2, 2)], program)(torch.zeros(1, 3, 2))


def test_threads_share_a_program() -> None:
    """Every thread's runs are its own: what threads compute side by side is what they compute alone."""
    program = Program(build("mmoe", 0, torch.float32), torch.zeros(WIDTH), rows={ROWS, BATCH})

    def run(number: int) -> dict[str, Tensor]:
        with DRAWING:
            modules = [build("mmoe", seed, torch.float32) for seed in (2 * number, 2 * number + 1)]
        replicas, rows = Replicas(modules, program), stacked(range(2), torch.float32)
        train(replicas, rows, rows, replace(PLAN, steps=60), [0, 1])
        return replicas.state(0)

    alone = [run(number) for number in range(6)]
    with switching_often(), ThreadPoolExecutor(3) as pool:
        together = list(pool.map(run, range(6)))
    for first, second in zip(alone, together, strict=True):
        assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_batches_go_through_all_rows_in_new_orders() -> None:
    order = batches(6, 2, seed=3)
    epochs = [[int(row) for _ in range(3) for row in next(order)] for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(6))] * 2
    assert epochs[0] != epochs[1]
    assert (next(batches(50, 50, seed=1)) != next(batches(50, 50, seed=2))).any()
    with pytest.raises(ValueError, match="batches of 7 from 6 rows"):
        next(batches(6, 7, seed=0))
