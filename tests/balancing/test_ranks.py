"""Two processes with half a batch each do what one process does with the whole batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

import polytask.balancing
from polytask.balancing import Balancing, Group, backward, sum_gradients

TASKS, ROWS = 3, 8
BALANCERS = {
    "equal": ({}, None),
    "uncertainty": ({"kinds": ["binary"] * TASKS}, None),
    "scale_invariant": ({}, None),
    "famo": ({"tasks": TASKS}, None),
    "mgda": ({}, None),
    "mgda at the last layer": ({}, "last_layer"),
    "mgda at the parameters": ({}, "parameters"),
    "mean": ({}, None),
}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.heads = nn.Linear(4, 6), nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))

    def forward(self, x, total):
        features = self.trunk(x).tanh()
        return [(head(features) - n).square().sum() / total for n, head in enumerate(self.heads)]


def step(name, x, ranks=None):
    options, at = BALANCERS[name]
    balancer = getattr(polytask.balancing, name.split()[0])(**options)
    model = Model()
    weights = backward(model(x, ROWS), Balancing(balancer, TASKS, at=at, ranks=ranks))
    leaves = [*model.parameters(), *balancer.parameters()]
    if ranks is not None:
        sum_gradients(leaves, ranks)
    return weights, [leaf.grad for leaf in leaves]


def rows():
    return torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1))


def work(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    halves = rows().split(ROWS // 2)
    torch.save({name: step(name, halves[rank], Group()) for name in BALANCERS}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", BALANCERS)
def test_two_processes_are_one(both, name):
    weights, grads = step(name, rows())
    (first, first_grads), (second, second_grads) = (found[name] for found in both)
    assert torch.equal(first, second) or (first.isnan().all() and second.isnan().all())
    torch.testing.assert_close(first, weights, equal_nan=True)
    for one, other, whole in zip(first_grads, second_grads, grads, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, whole)
