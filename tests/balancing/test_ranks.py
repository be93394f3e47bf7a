"""Two processes with half a batch each do what one process does with the whole batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

import polytask.balancing
from polytask.balancing import Balancing, Group, after_step, backward, sum_gradients
from polytask.config import asked_for

TASKS, ROWS = 3, 8
OWN = {
    "constant": {"weights": [1.0, 2.0, 0.5]},
    "annealed": {"weights": [1.0, 2.0, 0.5], "rates": [0.9] * TASKS},
}
PLACES = {"mgda": ["representation", "last_layer", "parameters"], "cagrad": ["representation", "parameters"]}
BALANCERS = [(name, at) for name in polytask.balancing.__all__ for at in PLACES.get(name, [None])]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.heads = nn.Linear(4, 6), nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))
        self.double()

    def forward(self, x, total):
        features = self.trunk(x).tanh()
        return [(head(features) - n).square().sum() / total for n, head in enumerate(self.heads)]


def build(name):
    builder = getattr(polytask.balancing, name)
    known = {"tasks": TASKS, "names": ["a", "b", "c"], "kinds": ["binary"] * TASKS}
    return builder(**asked_for(builder, known), **OWN.get(name, {}))


def steps(name, at, x, ranks=None):
    """Two steps of SGD, so that what a balancer remembers counts: the weights, and where it ends."""
    balancer, model = build(name), Model()
    leaves, weights = [*model.parameters(), *balancer.parameters()], []
    optimizer = torch.optim.SGD(leaves, 0.1)
    engine = Balancing(balancer, TASKS, at=at, ranks=ranks)

    def again():
        return torch.stack(model(x, ROWS))

    for _ in range(2):
        optimizer.zero_grad()
        weights.append(backward(model(x, ROWS), engine, kpis=torch.tensor([0.5, 0.6, 0.9])))
        if ranks is not None:
            sum_gradients(leaves, ranks)
        optimizer.step()
        after_step(engine, again, held_out=lambda: model(x.flip(1), ROWS), parameters=model.parameters())
    return torch.stack(weights), [leaf.detach() for leaf in leaves]


def rows():
    return torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def work(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    halves = rows().split(ROWS // 2)
    found = [steps(name, at, halves[rank], Group()) for name, at in BALANCERS]
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize(("name", "at"), BALANCERS)
def test_two_processes_are_one(both, name, at):
    weights, ends = steps(name, at, rows())
    (first, first_ends), (second, second_ends) = (found[BALANCERS.index((name, at))] for found in both)
    assert torch.equal(first, second) or (first.isnan().all() and second.isnan().all())
    torch.testing.assert_close(first, weights, equal_nan=True, rtol=1e-5, atol=1e-7)
    for one, other, whole in zip(first_ends, second_ends, ends, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, whole, rtol=1e-5, atol=1e-7)
