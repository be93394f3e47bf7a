"""Aggregators in a step of a model: which gradients they see, and who receives what."""

import pytest
import torch
from torch import nn

from polytask import balancing
from polytask.balancing import backward
from polytask.errors import UserError
from polytask.types import Step

TASKS = 3
BUILDERS = {
    "trimmed_mean": lambda: balancing.trimmed_mean(share=0.34),
    "graddrop": lambda: balancing.graddrop(TASKS),
    "excess_mtl": lambda: balancing.excess_mtl(TASKS, learning_rate=0.5),
    "moco": lambda: balancing.moco(TASKS),
    "db_mtl": lambda: balancing.db_mtl(TASKS),
}
HISTORIES = [name for name, build in BUILDERS.items() if build().keeps_history]


class Model(nn.Module):
    """A table of embeddings, a layer that all tasks share, and heads."""

    def __init__(self, *, sparse=True):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 4, sparse=sparse)
        self.trunk = nn.Linear(4, 5)
        self.heads = nn.ModuleList(nn.Linear(5, 1) for _ in range(TASKS))
        self.double()

    def forward(self, ids):
        features = self.trunk(self.table(ids)).tanh()
        return [(head(features) - number).square().mean() for number, head in enumerate(self.heads)]


def ids_of(number):
    return torch.randint(0, 20, (6,), generator=torch.Generator().manual_seed(number))


def jacobian(losses, leaves):
    """One ordinary backward pass per task."""
    rows = [torch.autograd.grad(loss, leaves, retain_graph=True) for loss in losses]
    return torch.stack([torch.cat([grad.to_dense().flatten() for grad in row]) for row in rows])


def flat(leaves):
    return torch.cat([leaf.grad.to_dense().flatten() for leaf in leaves])


def step_of(losses, number, present=(True,) * TASKS):
    return Step(number, 0, torch.tensor(present), torch.stack([loss.detach() for loss in losses]))


@pytest.mark.parametrize("name", HISTORIES)
def test_histories_are_of_dense_leaves_and_tables_get_the_weighted_sum(name):
    model, balancer, twin = Model(), BUILDERS[name](), BUILDERS[name]()
    dense = [model.trunk.weight, model.trunk.bias]
    for number in range(4):
        model.zero_grad()
        losses = model(ids_of(number))
        step = step_of(losses, number)
        wanted, of_table = jacobian(losses, dense), jacobian(losses, [model.table.weight])
        weights = backward(losses, balancer)
        assert bool(weights.isnan().all())
        assert balancer.history.rows.shape == (TASKS, wanted.shape[1])
        assert model.table.weight.grad.is_sparse
        # a permutation of columns changes no direction but that of its elements
        torch.testing.assert_close(flat(dense), twin(wanted, step))
        torch.testing.assert_close(flat([model.table.weight]), twin.row_weights(step) @ of_table)


@pytest.mark.parametrize("name", BUILDERS)
def test_heads_receive_their_own_gradient(name):
    model = Model()
    losses = model(ids_of(0))
    wanted = [torch.autograd.grad(losses[n], list(head.parameters()), retain_graph=True)
              for n, head in enumerate(model.heads)]  # fmt: skip
    backward(losses, BUILDERS[name]())
    for head, grads in zip(model.heads, wanted, strict=True):
        for parameter, grad in zip(head.parameters(), grads, strict=True):
            torch.testing.assert_close(parameter.grad, grad)


def test_sparse_and_dense_tables_receive_the_same():
    found = []
    for sparse in (True, False):
        model = Model(sparse=sparse)
        backward(model(ids_of(0)), BUILDERS["trimmed_mean"]())
        found.append(flat(list(model.table.parameters()) + list(model.trunk.parameters())))
    assert torch.equal(*found)


def test_graddrop_leaves_one_sign_in_sparse_tables():
    model = Model()
    losses = model(ids_of(0))
    rows = jacobian(losses, [model.table.weight])
    backward(losses, BUILDERS["graddrop"]())
    found, positive, negative = flat([model.table.weight]), rows.clamp_min(0).sum(0), rows.clamp_max(0).sum(0)
    assert bool((torch.isclose(found, positive) | torch.isclose(found, negative)).all())
    assert not bool(torch.isclose(found, rows.sum(0)).all())


@pytest.mark.parametrize("name", HISTORIES)
def test_a_table_with_dense_gradients_has_a_history(name):
    model, balancer = Model(sparse=False), BUILDERS[name]()
    backward(model(ids_of(0)), balancer)
    assert balancer.history.rows.shape == (TASKS, 20 * 4 + 4 * 5 + 5)


@pytest.mark.parametrize("name", HISTORIES)
def test_an_absent_task_is_left_alone(name):
    model, balancer = Model(), BUILDERS[name]()
    backward(model(ids_of(0)), balancer)
    before = balancer.history.rows[1].clone()
    losses = model(ids_of(1))
    model.zero_grad()
    backward([losses[0], losses[1] * torch.nan, losses[2]], balancer, present=[True, False, True])
    assert torch.equal(balancer.history.rows[1], before)
    assert balancer.history.seen.tolist() == [2, 1, 2]
    assert model.heads[1].weight.grad is None or not model.heads[1].weight.grad.any()
    assert bool(torch.isfinite(flat([model.table.weight, *model.trunk.parameters()])).all())


@pytest.mark.parametrize("name", BUILDERS)
def test_training_goes_on_exactly_from_a_state(name):
    def run(model, optimizer, balancer, numbers):
        for number in numbers:
            optimizer.zero_grad()
            losses = model(ids_of(number))
            present = [number % 3 != 1 or task != number % TASKS for task in range(TASKS)]
            backward(losses, balancer, present=present)
            optimizer.step()

    def new():
        model = Model()
        return model, torch.optim.SGD(model.parameters(), 0.05), BUILDERS[name]()

    whole, first, second = new(), new(), new()
    run(*whole, range(8))
    run(*first, range(5))
    for part, saved in zip(second, first, strict=True):
        part.load_state_dict(saved.state_dict())
    run(*second, range(5, 8))
    for one, other in zip(second[0].parameters(), whole[0].parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", BUILDERS)
def test_losses_fall(name):
    model, balancer = Model(), BUILDERS[name]()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    start = sum(model(ids_of(0))).item()
    for number in range(60):
        optimizer.zero_grad()
        backward(model(ids_of(number)), balancer)
        optimizer.step()
    assert sum(model(ids_of(0))).item() < 0.7 * start


def at_scale(name, scale, leaves):
    """The gradients of the third step, with the scale divided out."""
    model, balancer = Model(), BUILDERS[name]()
    for number in range(3):
        model.zero_grad()
        backward(model(ids_of(number)), balancer, scale=scale)
    return flat(leaves(model)) / scale


@pytest.mark.parametrize("name", BUILDERS)
def test_the_scale_of_mixed_precision_is_not_seen(name):
    one, other = (at_scale(name, scale, lambda model: model.trunk.parameters()) for scale in (1.0, 2.0**10))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_scale_of_mixed_precision_is_not_seen_in_sparse_tables(name):
    one, other = (at_scale(name, scale, lambda model: model.table.parameters()) for scale in (1.0, 2.0**10))
    torch.testing.assert_close(one, other)


def test_freezing_on_the_way_is_refused():
    model, balancer = Model(), balancing.moco(TASKS)
    backward(model(ids_of(0)), balancer)
    model.trunk.bias.requires_grad_(False)
    with pytest.raises(UserError, match="its history is of 25 shared parameters, and now there are 20"):
        backward(model(ids_of(1)), balancer)


@pytest.mark.parametrize("name", BUILDERS)
def test_not_at_the_representation(name):
    with pytest.raises(UserError, match=r'looks at single elements.*choose at = "parameters"'):
        backward(Model()(ids_of(0)), BUILDERS[name](), at="representation")


def test_ntkmtl_brings_gradients_at_the_parameters_to_one_length():
    model, balancer = Model(), balancing.ntkmtl()
    losses = model(ids_of(0))
    rows = jacobian(losses, [model.table.weight, *model.trunk.parameters()])
    weights = backward(losses, balancer)
    lengths = weights * rows.norm(dim=1)
    torch.testing.assert_close(lengths, rows.norm(dim=1).square().mean().sqrt().expand(TASKS))
    torch.testing.assert_close(flat([model.table.weight, *model.trunk.parameters()]), weights @ rows)


class OnlyTables(nn.Module):
    """All that is shared is a table with sparse gradients."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 4, sparse=True)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(TASKS))
        self.double()

    def forward(self, ids):
        features = self.table(ids)
        return [(head(features) - number).square().mean() for number, head in enumerate(self.heads)]


@pytest.mark.parametrize("name", BUILDERS)
def test_what_is_shared_may_be_sparse_altogether(name):
    model, balancer = OnlyTables(), BUILDERS[name]()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    start = model.table.weight.detach().clone()
    for number in range(3):
        optimizer.zero_grad()
        losses = model(ids_of(number))
        rows = jacobian(losses, [model.table.weight])
        backward(losses, balancer)
        if balancer.keeps_history:
            step = step_of(losses, number)
            torch.testing.assert_close(flat([model.table.weight]), balancer.row_weights(step) @ rows)
        optimizer.step()
    assert not torch.equal(model.table.weight, start)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", [*BUILDERS, "mean"])
def test_a_gradient_that_is_not_finite_is_named_and_leaves_no_trace(name, sparse):
    model = Model(sparse=sparse)
    balancer = balancing.mean() if name == "mean" else BUILDERS[name]()
    ids = ids_of(0)
    losses = model(ids)
    values = model.table(ids).sum()
    losses[1] = losses[1] + (values - values.detach()).sqrt()  # 0, with an infinite slope
    with pytest.raises(UserError, match=r"task 1 in step 0: its gradient .*is not finite"):
        backward(losses, balancer)
    assert model.table.weight.grad is None
    if name in HISTORIES:
        assert not balancer.history.seen.any()
