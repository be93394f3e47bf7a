"""Losses that read the rows of other tasks, against one backward pass per task."""

import pytest
import torch
from torch import nn

from polytask.balancing import Balancing, cagrad, constant, mean, mgda
from polytask.balancing.across import AcrossTasks
from polytask.balancing.engine import Part
from polytask.balancing.split import SplitTasks
from polytask.sharing import cgc, mmoe, shared_bottom
from polytask.types import Step

TASKS, ROWS, WIDTH = 4, 6, 5
# task 3 comes after 1, and 1 after 0; task 2 stands alone
READS = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 1]], dtype=torch.bool)
SHARINGS = {
    "shared_bottom": lambda: shared_bottom(TASKS, WIDTH, widths=(3,)),
    "mmoe": lambda: mmoe(TASKS, WIDTH, experts=3, widths=(3,)),
    "cgc": lambda: cgc(TASKS, WIDTH, experts=1, shared_experts=2, widths=(3,)),
}


class Model(nn.Module):
    def __init__(self, sharing):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.sharing = nn.Linear(3, WIDTH), SHARINGS[sharing]()
        self.heads = nn.Parameter(torch.randn(TASKS, self.sharing.out_features))
        self.double()

    def forward(self):
        x = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        made = self.sharing(self.encoder(x).tanh())
        logits = (made.value * self.heads.unsqueeze(1)).sum(2)
        scale = torch.tensor([1.0, 0.01, 3.0, 10.0], dtype=torch.float64)
        mixed = READS.double() @ logits.sigmoid() + 0.3 * logits
        return scale * (mixed - 1.5).square().mean(1), made


def tasks_of(model, present=None):
    losses, made = model()
    tasks = AcrossTasks(losses, made.value, made.cut, READS)
    tasks.through_heads(torch.ones(TASKS, dtype=torch.bool) if present is None else present, scale=1.0, fill=True)
    return losses, made, tasks


def gradients_at(model, tensor_of):
    """Every task's gradient at one tensor of the graph."""
    losses, made = model()
    return [torch.autograd.grad(loss, tensor_of(made), retain_graph=True)[0] for loss in losses]


def in_pairs(model):
    """The Gramian from that of single rows, pair by pair."""
    each = gradients_at(model, lambda made: made.value)
    _, made = model()

    def product(one, row, other, column):
        down = torch.zeros_like(one)
        if row != column:
            down[row], down[column] = one[row], other[column]
            return made.cut.gramian(down)[row, column]
        found = []
        for sign in (1.0, -1.0):
            down[row] = one[row] + sign * other[row]
            found.append(made.cut.gramian(down)[row, row])
        return (found[0] - found[1]) / 4

    rows = range(TASKS)
    return torch.stack(
        [torch.stack([sum(product(s, a, t, b) for a in rows for b in rows) for t in each]) for s in each]
    )


@pytest.mark.parametrize("sharing", SHARINGS)
def test_the_gramian_counts_all_rows_that_a_loss_reads(sharing):
    model = Model(sharing)
    _, _, tasks = tasks_of(model)
    torch.testing.assert_close(tasks.gramian(), in_pairs(model), rtol=1e-8, atol=1e-12)


def test_under_one_bottom_it_is_the_gramian_of_its_output():
    """Every row is that output, so what a loss sends to it is the sum over the rows."""
    model = Model("shared_bottom")
    rows = torch.stack([every.sum(0).flatten() for every in gradients_at(model, lambda made: made.value)])
    _, _, tasks = tasks_of(model)
    torch.testing.assert_close(tasks.gramian(), rows @ rows.T, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("at", ["representation", "parameters", "last_layer"])
def test_what_is_shared_receives_the_weighted_sum(sharing, at):
    model, balancing = Model(sharing), Balancing(cagrad(), TASKS, at=at)
    losses, made = model()
    step = Step(0, 0, torch.ones(TASKS, dtype=torch.bool), losses.detach())
    weights = balancing.backward([Part(AcrossTasks(losses, made.value, made.cut, READS))], step)
    found = {name: one.grad for name, one in model.named_parameters()}
    losses, _ = model()
    names = [name for name, _ in model.named_parameters()]
    every = [
        torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, materialize_grads=True)
        for loss in losses
    ]
    assert not torch.allclose(weights, weights[0]), "weights that differ are needed here"
    for name, rows in zip(names, map(torch.stack, zip(*every, strict=True)), strict=True):
        if name == "heads":
            expected = rows.sum(0)
        else:
            several = (rows != 0).sum(0) > 1
            expected = torch.where(several, torch.tensordot(weights.to(rows), rows, 1), rows.sum(0))
            if name.startswith("encoder"):
                assert several.all()
        torch.testing.assert_close(
            found[name], expected, rtol=1e-8, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_an_absent_task_takes_no_part():
    model, present = Model("mmoe"), torch.tensor([False, True, True, True])
    _, _, tasks = tasks_of(model, present)
    expected = in_pairs(model)
    expected[0] = expected[:, 0] = 0.0
    torch.testing.assert_close(tasks.gramian(), expected, rtol=1e-8, atol=1e-12)


def test_losses_that_read_their_own_rows_are_as_ever():
    model, step = Model("cgc"), Step(0, 0, torch.ones(TASKS, dtype=torch.bool), torch.ones(TASKS))
    found = []
    for build in (SplitTasks, lambda *given: AcrossTasks(*given, torch.eye(TASKS, dtype=torch.bool))):
        made = model.sharing(model.encoder(torch.ones(ROWS, 3, dtype=torch.float64)))
        losses = (made.value * model.heads.unsqueeze(1)).sum(2).square().mean(1)
        model.zero_grad()
        weights = Balancing(mgda(), TASKS).backward([Part(build(losses, made.value, made.cut))], step)
        found.append([weights, *(one.grad.clone() for one in model.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("balancer", [mean(), constant([0.25] * TASKS)])
def test_the_mean_of_the_gradients_is_a_quarter_of_the_sum_below_the_heads(balancer):
    model = Model("mmoe")
    losses, made = model()
    step = Step(0, 0, torch.ones(TASKS, dtype=torch.bool), losses.detach())
    Balancing(balancer, TASKS).backward([Part(AcrossTasks(losses, made.value, made.cut, READS))], step)
    expected = torch.autograd.grad(model()[0].sum() / 4, model.encoder.weight)[0]
    torch.testing.assert_close(model.encoder.weight.grad, expected)
