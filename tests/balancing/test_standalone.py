"""`polytask.balancing.backward` on models of anyone: what is shared is found, and each gradient is the right one."""

import pytest
import torch
import torch._functorch.config
from torch import nn
from torch.utils.checkpoint import checkpoint

from polytask.balancing import Balancing, after_step, backward, cagrad, equal, famo, mean, mgda, uncertainty
from polytask.balancing.found import FoundTasks
from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.min_norm import min_norm_weights
from polytask.errors import UserError

TASKS = 3
WEIGHTS = [0.5, 2.0, 3.0]


class Fixed(Weighting):
    """Returns what it was given, and keeps what it saw."""

    def __init__(self, weights=WEIGHTS):
        super().__init__()
        self.weights, self.seen, self.calls = torch.tensor(weights), None, 0

    def forward(self, gramian, step, /):
        self.seen, self.calls = gramian, self.calls + 1
        return self.weights[: len(gramian)]


class Plain(nn.Module):
    """Trunk of two layers, a private bottom for task 2, heads; as anyone would write it."""

    shared = ("first", "second")

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 6)
        self.bottom = nn.Linear(4, 6)
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))
        self.double()

    def forward(self, x):
        features = self.second(self.first(x).tanh()).tanh()
        rows = [features, features, features + self.bottom(x)]
        return [(head(row) - n).square().mean() for n, (head, row) in enumerate(zip(self.heads, rows, strict=True))]


class Experts(nn.Module):
    """MMoE of module lists: expert outputs are what tasks meet at, gates are private."""

    shared = ("experts",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6)) for _ in range(2))
        self.gates = nn.ModuleList(nn.Linear(4, 2) for _ in range(TASKS))
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))
        self.double()

    def forward(self, x):
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        rows = [(gate(x).softmax(1).unsqueeze(2) * outputs).sum(1) for gate in self.gates]
        return [(head(row) - n).square().mean() for n, (head, row) in enumerate(zip(self.heads, rows, strict=True))]


class Skipping(nn.Module):
    """Tasks meet at two tensors, one below the other; one parameter is read by heads directly."""

    shared = ("first", "second", "scale")

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 5)
        self.scale = nn.Parameter(torch.ones(5))
        self.heads = nn.ModuleList(nn.Linear(5, 1) for _ in range(TASKS))
        self.double()

    def forward(self, x):
        low = self.first(x).tanh()
        high = self.second(low).tanh()
        rows = [high * self.scale, low + high, low * self.scale]
        return [(head(row) - n).square().mean() for n, (head, row) in enumerate(zip(self.heads, rows, strict=True))]


class Checkpointed(Plain):
    """The trunk is computed again in the backward pass."""

    def forward(self, x):
        features = checkpoint(lambda x: self.second(self.first(x).tanh()).tanh(), x, use_reentrant=False)
        rows = [features, features, features + self.bottom(x)]
        return [(head(row) - n).square().mean() for n, (head, row) in enumerate(zip(self.heads, rows, strict=True))]


MODELS = [Plain, Experts, Skipping, Checkpointed]


def batch(seed=1):
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def per_task(model, x):
    names, leaves = zip(*model.named_parameters(), strict=True)
    rows = [torch.autograd.grad(loss, leaves, materialize_grads=True, retain_graph=True) for loss in model(x)]
    return {name: torch.stack([row[n] for row in rows]) for n, name in enumerate(names)}


def found(model, losses, balancer, **options):
    model.zero_grad()
    weights = backward(losses, balancer, **options)
    return weights, {name: parameter.grad for name, parameter in model.named_parameters()}


def check(model, grads, weights, x=None):
    for name, rows in per_task(model, batch() if x is None else x).items():
        private = not name.startswith(model.shared)
        factor = (torch.tensor(weights) != 0).double() if private else torch.tensor(weights, dtype=torch.float64)
        wanted = torch.tensordot(factor, rows, 1)
        got = torch.zeros_like(wanted) if grads[name] is None else grads[name]
        torch.testing.assert_close(got, wanted, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("at", [None, "parameters", "last_layer"])
@pytest.mark.parametrize("build", MODELS)
def test_shared_parameters_are_weighted_and_private_ones_are_not(build, at):
    model = build()
    weights, grads = found(model, model(batch()), Fixed(), at=at)
    assert weights.tolist() == WEIGHTS
    check(model, grads, WEIGHTS)


@pytest.mark.parametrize("build", MODELS)
def test_the_exact_gramian(build):
    model, balancer = build(), Fixed()
    found(model, model(batch()), balancer, at="parameters")
    rows = [rows.flatten(1) for name, rows in per_task(model, batch()).items() if name.startswith(model.shared)]
    flat = torch.cat(rows, 1)
    torch.testing.assert_close(balancer.seen, flat @ flat.T)


def test_the_gramian_at_the_features():
    model, balancer = Plain(), Fixed()
    found(model, model(batch()), balancer)
    x = batch()
    features = model.second(model.first(x).tanh()).tanh().detach().requires_grad_()
    rows = [features, features, features + model.bottom(x)]
    losses = [(head(row) - n).square().mean() for n, (head, row) in enumerate(zip(model.heads, rows, strict=True))]
    flat = torch.stack([torch.autograd.grad(loss, features, retain_graph=True)[0].flatten() for loss in losses])
    torch.testing.assert_close(balancer.seen, flat @ flat.T)


def test_the_gramian_at_the_last_layer():
    """Peers took the first layer for the last one, or all that is shared."""
    model, balancer = Plain(), Fixed()
    found(model, model(batch()), balancer, at="last_layer")
    rows = per_task(model, batch())
    flat = torch.cat([rows["second.weight"].flatten(1), rows["second.bias"]], 1)
    torch.testing.assert_close(balancer.seen, flat @ flat.T)


def test_named_parameters_are_compared_and_all_that_is_shared_is_weighted():
    model, balancer = Plain(), Fixed()
    _, grads = found(model, model(batch()), balancer, shared=[model.first.weight])
    flat = per_task(model, batch())["first.weight"].flatten(1)
    torch.testing.assert_close(balancer.seen, flat @ flat.T)
    check(model, grads, WEIGHTS)


def test_a_named_tensor_is_the_cut():
    model = Plain()
    x = batch()
    low = model.first(x).tanh()
    features = model.second(low).tanh()
    losses = [(head(features) - n).square().mean() for n, head in enumerate(model.heads)]
    _, grads = found(model, losses, Fixed(), shared=low)
    # above the named tensor is private, whoever reads it
    leaves, rows = [model.first.weight, model.second.weight], []
    for n, head in enumerate(model.heads):
        loss = (head(model.second(model.first(x).tanh()).tanh()) - n).square().mean()
        rows.append(torch.autograd.grad(loss, leaves))
    torch.testing.assert_close(grads["first.weight"], sum(w * row[0] for w, row in zip(WEIGHTS, rows, strict=True)))
    torch.testing.assert_close(grads["second.weight"], sum(row[1] for row in rows))


def test_a_stack_of_losses():
    model = Plain()
    _, grads = found(model, torch.stack(model(batch())), Fixed())
    check(model, grads, WEIGHTS)


def test_another_vector_of_losses_hides_where_tasks_meet():
    model = Plain()
    with pytest.raises(UserError, match=r"losses: is a vector that `torch\.stack` did not make"):
        backward(torch.stack(model(batch())) * 1.0, Fixed())
    features = model.second(model.first(batch()).tanh()).tanh()
    losses = torch.stack([(head(features) - n).square().mean() for n, head in enumerate(model.heads)]) * 1.0
    _, grads = found(model, losses, Fixed(), shared=features)
    assert grads["first.weight"].any() and grads["heads.1.weight"].any()


def test_no_pass_of_one_task_goes_through_the_heads_of_others():
    """Peers collect losses in one tensor; the pass of each task then runs through all heads."""
    model = Plain()
    calls = [0] * TASKS
    for n, head in enumerate(model.heads):
        head.register_full_backward_hook(lambda *_, n=n: calls.__setitem__(n, calls[n] + 1))
    losses = torch.stack(model(batch()))
    assert [len(one.leaves) for one in FoundTasks(losses).reached] == [2, 2, 4]
    backward(losses, mgda())
    assert calls == [1] * TASKS


def test_rows_of_one_tensor():
    torch.manual_seed(0)
    trunk, heads = nn.Linear(4, 6).double(), nn.Parameter(torch.randn(TASKS, 6, 1, dtype=torch.float64))
    target = torch.arange(float(TASKS), dtype=torch.float64).view(TASKS, 1, 1)
    features = trunk(batch()).tanh()
    rows = features.expand(TASKS, -1, -1) * 1.0
    losses = (torch.bmm(rows, heads) - target).square().mean((1, 2))
    weights = backward(losses, mgda(), rows=rows)
    features = trunk(batch()).tanh()
    alone = [(features @ heads[n] - n).square().mean() for n in range(TASKS)]
    flat = torch.stack([torch.autograd.grad(loss, features, retain_graph=True)[0].flatten() for loss in alone])
    torch.testing.assert_close(weights.numpy(), min_norm_weights((flat @ flat.T).numpy()))
    total = torch.autograd.grad(
        sum(w * loss for w, loss in zip(weights, alone, strict=True)), trunk.weight, retain_graph=True
    )
    torch.testing.assert_close(trunk.weight.grad, total[0])
    torch.testing.assert_close(heads.grad, torch.autograd.grad(sum(alone), heads)[0])


def test_an_absent_task_takes_no_part():
    model, balancer = Plain(), Fixed([0.5, 3.0])
    losses = model(batch())
    losses[1] = losses[1] * torch.nan
    with pytest.raises(UserError, match=r"task 1: its loss is NaN; say `present=` if it has no rows"):
        backward(losses, balancer)
    weights, grads = found(model, losses, balancer, present=[True, False, True])
    assert weights.tolist() == [0.5, 0.0, 3.0] and balancer.seen.shape == (2, 2)
    assert grads["heads.1.weight"] is None
    check(model, grads, [0.5, 0.0, 3.0])


def test_a_loss_without_a_graph_is_just_a_number():
    model = Plain()
    losses = model(batch())
    _, grads = found(model, [losses[0], losses[1].detach(), losses[2]], Fixed())
    assert grads["heads.1.weight"] is None
    assert grads["first.weight"].any()


def test_scalarizers_and_aggregators():
    model = Plain()
    _, grads = found(model, model(batch()), equal())
    for name, rows in per_task(model, batch()).items():
        torch.testing.assert_close(grads[name], rows.sum(0))
    _, grads = found(model, model(batch()), mean())
    for name, rows in per_task(model, batch()).items():
        torch.testing.assert_close(grads[name], rows.mean(0) if name.startswith(model.shared) else rows.sum(0))


def test_learnt_weights_get_their_gradient():
    model, balancer = Plain(), uncertainty(["binary"] * TASKS)
    losses = model(batch())
    backward(losses, balancer)
    expected = 0.5 - torch.stack(losses).detach()
    torch.testing.assert_close(balancer.log_variance.grad, expected.float())


@pytest.mark.parametrize("balancer", [equal(), mgda(), mean()])
def test_a_scaled_loss_scales_gradients_and_not_weights(balancer):
    model = Plain()
    weights, once = found(model, model(batch()), balancer)
    again, scaled = found(model, model(batch()), balancer, scale=1024.0)
    torch.testing.assert_close(again, weights, equal_nan=True)
    for name, grad in once.items():
        torch.testing.assert_close(scaled[name], 1024.0 * grad)


def test_mixed_precision_with_a_scaler():
    model = Plain().float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    before = model.first.weight.detach().clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(batch().float())
    weights = backward(losses, mgda(), scale=scaler.get_scale())
    scaler.scale(torch.zeros(1))  # a scaler wants to have scaled something
    scaler.step(optimizer)
    scaler.update()
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (model.first.weight - before).abs().max() < 1.0
    assert (model.first.weight - before).abs().max() > 0.0


def test_every_and_state_go_on_after_a_resume():
    model, inner = Plain(), Fixed()
    engine = Balancing(inner, TASKS, every=3)
    for _ in range(4):
        backward(model(batch()), engine)
    assert inner.calls == 2
    again = Balancing(Fixed(), TASKS, every=3)
    again.load_state_dict(engine.state_dict())
    assert again.balancer.steps == 4
    assert backward(model(batch()), again).tolist() == WEIGHTS and again.balancer.calls == 0


def test_gradients_accumulate_and_the_graph_can_be_kept():
    model = Plain()
    losses = model(batch())
    _, once = found(model, losses, Fixed(), retain_graph=True)
    once = {name: grad.clone() for name, grad in once.items()}
    backward(losses, Fixed())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once[name])


def test_famo_sees_the_losses_after_the_step():
    model, balancer = Plain(), famo(TASKS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    start = {name: value.clone() for name, value in balancer.state_dict().items()}
    x = batch()
    backward(model(x), balancer)
    optimizer.step()
    after_step(balancer, lambda: torch.stack(model(x)))
    assert any(not torch.equal(value, start[name]) for name, value in balancer.state_dict().items())
    with pytest.raises(UserError, match="after_step: no backward pass was made before"):
        after_step(famo(TASKS), lambda: torch.stack(model(x)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every: 0 given"),
        ({"every": 2, "balancer": mean()}, "every: 'Mean' makes no weights"),
        ({"at": "parameters", "balancer": equal()}, "at: 'Equal' looks at losses"),
        ({"at": "representation", "balancer": mean()}, "at: 'Mean' looks at single elements of gradients"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    balancer = options.pop("balancer", None) or mgda()
    with pytest.raises(UserError, match=message):
        Balancing(balancer, TASKS, **options)


def test_rows_and_shared_are_one_too_many():
    model = Plain()
    with pytest.raises(UserError, match="rows and shared: both are given"):
        backward(model(batch()), mgda(), rows=batch(), shared=batch())


def test_a_gradient_that_is_not_finite_names_its_task():
    model = Plain()
    losses = model(batch())
    losses[2] = losses[2] + 0.0 * (model.second.weight.sum() * 0.0).abs().sqrt()
    with pytest.raises(UserError, match="task 2 in step 0: its gradient where tasks meet is not finite"):
        backward(losses, mgda())


def test_tasks_that_share_nothing():
    models = [nn.Linear(2, 1) for _ in range(2)]
    weights = backward([model(torch.ones(3, 2)).mean() for model in models], mgda())
    assert weights.tolist() == [1.0, 1.0]
    assert all(model.weight.grad.any() for model in models)


class Compiled(Plain):
    """Trunk and heads by the compiler."""

    def forward(self, x):
        trunk = torch.compile(lambda x: self.second(self.first(x).tanh()).tanh())
        features = trunk(x)
        rows = [features, features, features + self.bottom(x)]
        heads = [torch.compile(head) for head in self.heads]
        return [(head(row) - n).square().mean() for n, (head, row) in enumerate(zip(heads, rows, strict=True))]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
@pytest.mark.parametrize("at", [None, "parameters"])
def test_compiled_trunk_and_heads(at):
    torch.compiler.reset()
    model, plain, x = Compiled(), Plain(), batch()
    with torch._functorch.config.patch(donated_buffer=at is None):
        weights, grads = found(model, model(x), cagrad(), at=at)
    expected, _ = found(plain, plain(x), cagrad(), at=at)
    torch.testing.assert_close(weights, expected)
    check(Plain(), grads, weights.tolist(), x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_graph_that_can_be_walked_once_says_what_to_do():
    torch.compiler.reset()
    model = Compiled()
    with pytest.raises(UserError, match=r"a compiled module: its graph can be walked once.*donated_buffer = False"):
        backward(model(batch()), mgda(), at="parameters")
    with pytest.raises(UserError, match=r"the last layer of a compiled module: .* does not tell its layers apart"):
        backward(model(batch()), mgda(), at="last_layer")
