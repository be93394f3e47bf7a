"""The engine against its definition: one plain backward pass per task, put together by hand."""

import pytest
import torch
from torch import nn

import polytask.sharing
from polytask.balancing import constant, equal, mean, mgda, uncertainty
from polytask.balancing.engine import Balancing, Part
from polytask.balancing.interfaces import Aggregator, Weighting
from polytask.balancing.solvers.min_norm import min_norm_weights
from polytask.balancing.split import SplitTasks
from polytask.errors import UserError
from polytask.towers import Heads, HeadStack, Towers
from polytask.types import Step

TASKS, WIDTH, BATCH = 3, 6, 7


class Fixed(Weighting):
    """Returns what it was given, and keeps what it saw."""

    def __init__(self, weights):
        super().__init__()
        self.weights, self.seen = torch.tensor(weights), None

    def forward(self, gramian, step, /):
        self.seen = gramian
        return self.weights


class Model(nn.Module):
    """Embedding, one architecture, towers and heads in double precision."""

    def __init__(self, name="mmoe", *, sparse=False):
        super().__init__()
        torch.manual_seed(1)
        self.encoder = nn.Embedding(9, WIDTH, sparse=sparse)
        self.sharing = getattr(polytask.sharing, name)(TASKS, WIDTH, widths=(4, 4), activation="gelu")
        self.towers = Towers(TASKS, self.sharing.out_features, (3,), activation="gelu")
        self.heads = Heads(3, [HeadStack((0, 2), 1), HeadStack((1,), 2)])
        self.double().eval()  # several passes are compared: nothing may be drawn

    def forward(self, ids):
        representation = self.sharing(self.encoder(ids))
        pair, single = self.heads(self.towers(representation.value))
        losses = torch.stack([pair[0].square().mean(), single[0].exp().mean(), (pair[1] - 1).square().mean()])
        return losses, representation


IDS = torch.tensor([0, 3, 3, 8, 1, 2, 0])


def step_of(losses, present=(True, True, True)):
    return Step(5, 0, torch.tensor(present), losses.detach())


def balance(losses, representation, balancer, present=(True, True, True), **options):
    part = Part(SplitTasks(losses, representation.value, representation.cut))
    return Balancing(balancer, TASKS, **options).backward([part], step_of(losses, present))


def run(model, balancer, present=(True, True, True), **options):
    model.zero_grad()
    losses, representation = model(IDS)
    weights = balance(losses, representation, balancer, present, **options)
    assert representation.cut.weights is None
    return weights, {name: parameter.grad for name, parameter in model.named_parameters()}


def per_task(model):
    losses, _ = model(IDS)
    names = [name for name, _ in model.named_parameters()]
    rows = [
        torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, materialize_grads=True)
        for loss in losses
    ]
    return {name: torch.stack([row[i].to_dense() for row in rows]) for i, name in enumerate(names)}


def is_private(name):
    return name.startswith(("towers", "heads")) or "gates" in name


def expected(model, weights):
    """MMoE: all but gates, towers and heads is shared."""
    weights = torch.as_tensor(weights, dtype=torch.float64)
    present = (weights != 0).double()
    rows = per_task(model)
    return {name: torch.tensordot(present if is_private(name) else weights, row, 1) for name, row in rows.items()}


def assert_same(found, wanted):
    for name, grad in wanted.items():
        torch.testing.assert_close(found[name].to_dense(), grad, msg=lambda text, name=name: f"{name}: {text}")


def test_scalarizer_is_the_gradient_of_the_weighted_sum():
    model = Model()
    weights, found = run(model, constant([1.0, 2.0, 3.0]))
    assert weights.tolist() == [1.0, 2.0, 3.0]
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert_same(found, {name: torch.tensordot(scale, row, 1) for name, row in per_task(model).items()})


def test_scalarizer_leaves_an_absent_task_alone():
    model = Model()
    weights, found = run(model, equal(), present=(True, False, True))
    assert weights.tolist() == [1.0, 0.0, 1.0]
    assert not found["heads.layers.1.weight"].any()
    assert not found["sharing.levels.0.gates.weight"][1].any()
    assert found["sharing.levels.0.gates.weight"][0].any()


def test_learnt_scalarizer_receives_its_own_gradient():
    model, balancer = Model(), uncertainty(["binary"] * TASKS)
    weights, _ = run(model, balancer)
    losses, _ = model(IDS)
    assert weights.tolist() == [1.0, 1.0, 1.0]
    torch.testing.assert_close(balancer.log_variance.grad, (0.5 - losses.detach()).to(torch.float32))


@pytest.mark.parametrize("at", ["representation", "parameters"])
@pytest.mark.parametrize("sparse", [False, True])
def test_weighting_scales_what_is_shared_only(at, sparse):
    model = Model(sparse=sparse)
    weights, found = run(model, Fixed([0.5, 2.0, 3.0]), at=at)
    assert weights.tolist() == [0.5, 2.0, 3.0]
    assert_same(found, expected(model, weights))


@pytest.mark.parametrize("at", ["representation", "parameters"])
def test_weighting_with_an_absent_task(at):
    model, balancer = Model(), Fixed([0.5, 2.0])
    weights, found = run(model, balancer, present=(True, False, True), at=at)
    assert weights.tolist() == [0.5, 0.0, 2.0]
    assert balancer.seen.shape == (2, 2)
    assert_same(found, expected(model, weights))


def test_doubling_the_weights_doubles_shared_gradients_and_leaves_private_ones():
    model = Model()
    _, once = run(model, Fixed([0.5, 2.0, 3.0]))
    _, twice = run(model, Fixed([1.0, 4.0, 6.0]))
    for name in once:
        torch.testing.assert_close(twice[name], once[name] * (1.0 if is_private(name) else 2.0))
        assert once[name].any(), name


def test_gradients_accumulate_over_calls():
    model = Model()
    _, once = run(model, Fixed([0.5, 2.0, 3.0]))
    once = {name: grad.clone() for name, grad in once.items()}
    losses, representation = model(IDS)
    balance(losses, representation, Fixed([0.5, 2.0, 3.0]))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once[name])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", polytask.sharing.__all__)
def test_gramian_at_the_parameters(name, sparse):
    """The exact Gramian: inner products of the per-task gradients wherever two tasks meet."""
    model, balancer = Model(name, sparse=sparse), Fixed([1.0, 1.0, 1.0])
    run(model, balancer, at="parameters")
    flat = []
    for parameter, row in per_task(model).items():
        shared = ((row != 0).sum(0) > 1) | (parameter == "encoder.weight")
        flat.append(torch.where(shared, row, 0.0).flatten(1))
    flat = torch.cat(flat, 1)
    torch.testing.assert_close(balancer.seen, flat @ flat.T)


def test_gramian_at_chosen_parameters():
    model, balancer = Model(), Fixed([1.0, 1.0, 1.0])
    run(model, balancer, at="parameters", shared=[model.encoder.weight])
    row = per_task(model)["encoder.weight"].flatten(1)
    torch.testing.assert_close(balancer.seen, row @ row.T)


def test_mgda_at_the_representation_is_the_least_convex_combination_there():
    model, balancer = Model("shared_bottom"), mgda()
    weights, found = run(model, balancer)
    losses, representation = model(IDS)
    rows = torch.autograd.grad(losses.sum(), representation.value)[0].flatten(1)
    torch.testing.assert_close(weights.numpy(), min_norm_weights((rows @ rows.T).numpy()))
    assert_same(
        {"encoder.weight": found["encoder.weight"]}, {"encoder.weight": expected(model, weights)["encoder.weight"]}
    )


@pytest.mark.parametrize("sparse", [False, True])
def test_aggregator_gives_the_shared_parameters_its_direction(sparse):
    model = Model(sparse=sparse)
    weights, found = run(model, mean())
    assert weights.isnan().all()
    rows = per_task(model)
    assert_same(found, {name: row.sum(0) if is_private(name) else row.mean(0) for name, row in rows.items()})


def test_aggregator_sees_the_jacobian_of_present_tasks():
    class Keep(Aggregator):
        def forward(self, jacobian, step, /):
            self.seen = jacobian
            return jacobian[0]

    balancer = Keep()
    run(Model(), balancer, present=(False, True, True))
    assert balancer.seen.shape[0] == 2


def test_frozen_trunk_trains_heads_only():
    model = Model()
    for part in (model.encoder, model.sharing):
        part.requires_grad_(False)
    weights, found = run(model, mgda())
    assert weights.tolist() == [1.0, 1.0, 1.0]
    assert found["towers.layers.0.weight"].any()
    assert found["encoder.weight"] is None


def test_no_task_present_moves_nothing():
    model = Model()
    weights, found = run(model, mgda(), present=(False, False, False))
    assert weights.tolist() == [0.0, 0.0, 0.0]
    assert all(grad is None for grad in found.values())


@pytest.mark.parametrize("balancer", [equal(), mgda()])
def test_a_loss_that_is_not_finite_names_its_task(balancer):
    model = Model()
    with torch.no_grad():
        model.heads.layers[1].bias.fill_(float("inf"))
    with pytest.raises(UserError, match=r"task 1 in step 5: its loss is not finite; lower the learning rate"):
        run(model, balancer)


def test_a_gradient_that_is_not_finite_names_its_task():
    model = Model()
    losses, representation = model(IDS)
    scale = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    losses = losses + scale * (representation.value[2].sum() * 0.0).abs().sqrt()
    with pytest.raises(UserError, match="task 2 in step 5: its gradient where tasks meet is not finite"):
        balance(losses, representation, mgda())


def test_weights_are_taken_back_when_the_pass_fails():
    model = Model()
    losses, representation = model(IDS)
    representation.value.grad_fn.register_prehook(_fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        balance(losses, representation, Fixed([1.0, 1.0, 1.0]), at="parameters")
    assert representation.cut.weights is None


def _fail(_):
    raise RuntimeError("on purpose")
