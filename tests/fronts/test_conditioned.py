"""One model for a whole front: it reaches the known front, and `at` is the model at one preference."""

import copy
import io
import itertools

import pytest
import torch
from torch import nn

from polytask.balancing import epo
from polytask.errors import UserError
from polytask.fronts import cosmos, front_step, lorpman, pamal, phn, preferences, trace
from polytask.fronts.order import order_penalty
from polytask.types import Step

X = torch.linspace(-1, 1, 48).unsqueeze(1)
TARGETS = torch.stack([torch.sin(3 * X), 0.5 * torch.cos(4 * X) - X.square()])
APART = (TARGETS[0] - TARGETS[1]).square().mean().item()


def regression(network):
    """One output for two targets: with f = p_1 y_1 + p_2 y_2, ``sqrt L_1 + sqrt L_2 = sqrt APART``."""
    return (network(X) - TARGETS).square().mean((1, 2))


def mlp(more: int = 0) -> nn.Module:
    return nn.Sequential(nn.Linear(1 + more, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


MODELS = {
    "cosmos": lambda: cosmos(mlp(2), 2),
    "phn": lambda: phn(mlp(), 2),
    "phn in chunks": lambda: phn(mlp(), 2, chunk=200, place=16),
    "phn with epo": lambda: phn(mlp(), 2, method="epo"),
    "pamal": lambda: pamal([mlp(), mlp()], monotone=1.0),
    "lorpman": lambda: lorpman(mlp(), 2),
}
SHARES = {"phn with epo": 0.9}
"""Of the hypervolume of the whole front; 25 points of it have 0.98. Rays are no closer to its corners than p allows."""


def trained(name: str, steps: int = 700):
    torch.manual_seed(1)
    model = MODELS[name]()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for number in range(steps):
        optimizer.zero_grad()
        front_step(model, regression, progress=number / steps)
        optimizer.step()
    return model


@pytest.mark.parametrize("name", MODELS)
def test_the_front_is_reached(name):
    front = trace(trained(name), regression, preferences(2, 25), names=["a", "b"], label=name)
    volume = front.hypervolume([APART, APART]) / (5 / 6 * APART**2)
    assert SHARES.get(name, 0.95) < volume < 0.99
    assert (front.values.sqrt().sum(1) / APART**0.5 > 0.999).all()
    # more preference for a task is less loss, in the large
    assert front.values[0, 0] > front.values[12, 0] > front.values[24, 0]
    assert front.values[0, 1] < front.values[12, 1] < front.values[24, 1]
    if name == "phn with epo":
        weighed = (front.preferences * front.values)[6:19]
        assert (weighed[:, 0] / weighed.sum(1) - 0.5).abs().max() < 0.15


class Images(nn.Module):
    """Convolutions, normalisations with and without running statistics, two heads, a frozen layer and a tied one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4, 3, padding=1)
        self.batch_norm = nn.BatchNorm2d(4)
        self.first = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.first.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm = nn.LayerNorm(4)
        self.heads = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 2)])
        self.register_buffer("shift", torch.ones(4), persistent=False)

    def forward(self, x):
        x = self.batch_norm(self.convolution(x)).relu().mean((2, 3))
        x = self.norm(self.frozen(self.tied(self.first(x).relu())) + self.shift)
        return [head(x) for head in self.heads]


IMAGES = {
    "cosmos": lambda tasks: cosmos(Images(3 + tasks), tasks, images=True),
    "phn": lambda tasks: phn(Images(3), tasks),
    "phn in chunks": lambda tasks: phn(Images(3), tasks, chunk=7, place=3),
    "pamal": lambda tasks: pamal([Images(3) for _ in range(tasks)]),
    "lorpman": lambda tasks: lorpman(Images(3), tasks, rank=2),
}


def image_losses(network):
    one, two = network(torch.linspace(-1, 1, 4 * 3 * 64).view(4, 3, 8, 8))
    return [one.square().mean(), (two - 1).square().mean(), (two + one).square().mean()]


@pytest.mark.parametrize("name", IMAGES)
def test_at_is_the_model_at_that_preference(name):
    torch.manual_seed(0)
    model = IMAGES[name](3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        step = front_step(model, image_losses)
        assert step.losses.shape == step.preferences.shape == (model.window, 3)
        optimizer.step()
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert any("running_mean" in key for key in changed)
    assert not any("frozen" in key or "shift" in key for key in changed)
    model.eval()
    ray = torch.tensor([0.2, 0.5, 0.3])
    plain = model.at(10 * ray)
    assert not plain.training
    x = torch.randn(2, 3, 8, 8)
    for ours, theirs in zip(model(ray, x), plain(x), strict=True):
        torch.testing.assert_close(ours, theirs)
    if name != "cosmos":
        assert type(plain) is Images
        assert plain.tied.weight is plain.first.weight
        fresh = Images(3).eval()
        fresh.load_state_dict(plain.state_dict())
        torch.testing.assert_close(fresh(x), plain(x))
    assert {key for key, one in plain.named_parameters() if not one.requires_grad} == (
        {"network.frozen.weight", "network.frozen.bias"} if name == "cosmos" else {"frozen.weight", "frozen.bias"}
    )
    exported = torch.export.export(plain, (x,)).module()(x)
    torch.testing.assert_close(exported, plain(x))


@pytest.mark.parametrize("name", IMAGES)
def test_a_network_of_its_own(name):
    model = IMAGES[name](3).eval()
    plain = model.at([1.0, 1.0, 1.0])
    x = torch.randn(2, 3, 8, 8)
    before = [one.clone() for one in model(torch.full((3,), 1 / 3), x)]
    with torch.no_grad():
        for tensor in (*plain.parameters(), *plain.buffers()):
            tensor.add_(1)
    torch.testing.assert_close(list(model(torch.full((3,), 1 / 3), x)), before)


@pytest.mark.parametrize("name", IMAGES)
def test_state_copies_and_types(name):
    torch.manual_seed(0)
    model, other = IMAGES[name](3).eval(), IMAGES[name](3).eval()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    # what every network has as it was built is no part of any state
    assert not any("skeleton" in key for key in state)
    other.load_state_dict(state)
    x, ray = torch.randn(2, 3, 8, 8), torch.tensor([0.6, 0.2, 0.2])
    torch.testing.assert_close(other(ray, x), model(ray, x))
    double = copy.deepcopy(model).double()
    torch.testing.assert_close(double.at(ray)(x.double())[0].float(), model(ray, x)[0], rtol=1e-4, atol=1e-5)
    assert double(ray, x.double())[0].dtype == torch.float64


def test_a_mixture_at_a_corner_is_a_member():
    networks = [mlp(), mlp()]
    model = pamal(networks)
    for task, network in enumerate(networks):
        corner = model.at(torch.eye(2)[task])
        assert all(torch.equal(one, corner.state_dict()[name]) for name, one in network.state_dict().items())
    middle = model.at([1.0, 1.0]).state_dict()["0.weight"]
    torch.testing.assert_close(middle, (networks[0][0].weight + networks[1][0].weight) / 2)


def test_dropout_and_mode():
    model = pamal([nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5))] * 2)
    x, ray = torch.ones(1, 3), torch.tensor([0.5, 0.5])
    assert (model(ray, x) == 0).any()
    assert model.at(ray).training
    model.eval()
    assert torch.equal(model(ray, x), model(ray, x))


def test_lorpman_starts_as_its_network_and_is_of_low_rank():
    network = Images(3)
    model = lorpman(network, 3, rank=2, scale=0.5)
    assert all(torch.equal(one, network.state_dict()[name]) for name, one in model.at([1, 2, 3]).state_dict().items())
    with torch.no_grad():
        for up in model.up.parameters():
            up.normal_()
    change = model.at([0.2, 0.5, 0.3]).convolution.weight - network.convolution.weight
    assert (
        torch.linalg.matrix_rank(
            model.at([1, 0, 0]).convolution.weight.flatten(1) - network.convolution.weight.flatten(1)
        )
        == 2
    )
    up, down = model.up.tensors()["convolution.weight"], model.down.tensors()["convolution.weight"]
    due = sum(0.5 * p * up[t] @ down[t] for t, p in enumerate((0.2, 0.5, 0.3)))
    torch.testing.assert_close(change.flatten(1), due, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.at([1, 0, 0]).convolution.bias, network.convolution.bias)


def test_lorpmans_parts_resemble_by_their_cosines():
    model = lorpman(mlp(), 3, rank=2)
    assert model.resemblance().item() == 0
    model.resemblance().backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())
    with torch.no_grad():
        for up in model.up.parameters():
            up.normal_()
    due = 0.0
    for name, up in model.up.tensors().items():
        parts = (up @ model.down.tensors()[name]).flatten(1)
        cosines = nn.functional.cosine_similarity(parts[:, None], parts[None], dim=-1)
        due += cosines.square().triu(1).sum().item()
    assert model.resemblance().item() == pytest.approx(due, rel=1e-4)


def test_lorpmans_main_network_rests_after_its_share():
    model = lorpman(mlp(), 2, freeze=0.5)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, weight_decay=0.1)

    def moved(progress):
        before = [one.detach().clone() for one in model.main.parameters()]
        optimizer.zero_grad()
        front_step(model, regression, progress=progress)
        optimizer.step()
        return not all(torch.equal(*pair) for pair in zip(before, model.main.parameters(), strict=True))

    assert [moved(progress) for progress in (0.0, 0.49, 0.5, 0.9)] == [True, True, False, False]
    assert all(one.grad is not None for one in model.up.parameters())


def test_phn_with_epo_takes_the_step_of_epo():
    torch.manual_seed(2)
    model = phn(nn.Linear(1, 1), 2, method="epo").double()
    ray = torch.tensor([[0.3, 0.7]], dtype=torch.float64)

    def losses(network):
        out = network(X.double())
        return [(out - 1).square().mean(), (out + X).square().mean()]

    front_step(model, losses, preferences=ray)
    parameters = list(model.parameters())
    rows = losses(lambda x: model(ray[0], x))
    gradients = torch.stack(
        [torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)]) for loss in rows]
    )
    step = Step(0, 0, torch.ones(2, dtype=torch.bool), torch.stack(rows).detach())
    weights = epo(2, preferences=[0.3, 0.7])(gradients @ gradients.T, step)
    found = torch.cat([one.grad.flatten() for one in parameters])
    torch.testing.assert_close(found, 2 * weights @ gradients, rtol=1e-6, atol=1e-9)


def test_objectives_are_their_formulas():
    torch.manual_seed(0)
    losses, rays = torch.rand(4, 3), torch.distributions.Dirichlet(torch.ones(3)).sample((4,))
    linear = (losses * rays).sum()
    torch.testing.assert_close(phn(mlp(), 3).objective(losses, rays), linear)
    cosine = nn.functional.cosine_similarity(losses[:1], rays[:1], dim=1)[0]
    torch.testing.assert_close(
        cosmos(mlp(), 3, cosine=2.0).objective(losses[:1], rays[:1]), (losses * rays)[0].sum() - 2 * cosine
    )
    penalty = 0.0
    for task in range(3):
        order = sorted(range(4), key=lambda k: -rays[k, task])
        wrong = [losses[more, task] - losses[less, task] for more, less in itertools.pairwise(order)]
        penalty += torch.stack(wrong).clamp_min(0.0).exp().mean().log().item()
    assert order_penalty(losses, rays).item() == pytest.approx(penalty, abs=1e-6)
    torch.testing.assert_close(pamal([mlp()] * 3, monotone=5.0).objective(losses, rays), linear + 5 * penalty)
    model = lorpman(mlp(), 3, monotone=5.0, orthogonal=2.0)
    torch.testing.assert_close(model.objective(losses, rays), linear + 5 * penalty + 2 * model.resemblance())


def test_draws_follow_the_generator():
    model = pamal([mlp(), mlp()], window=3)
    one, other = (front_step(model, regression, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one.preferences, other.preferences)
    assert one.preferences.shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pamal([mlp()]), "tasks: is 1; give a number at least 2"),
        (
            lambda: pamal([mlp(), nn.Linear(1, 1)]),
            "networks: their parameters have different names or shapes; build all",
        ),
        (lambda: pamal([mlp(), mlp()], window=0), "window: is 0; give a number at least 1"),
        (lambda: pamal([mlp(), mlp()], monotone=-1.0), "monotone: is -1.0; give a number at least 0"),
        (lambda: pamal([nn.Tanh()] * 2), "network: 'Tanh' has no parameter that needs a gradient; give one"),
        (lambda: phn(mlp(), 2, method="mgda"), "method: 'mgda' is unknown; choose one of linear, epo"),
        (lambda: phn(mlp(), 2, chunk=0), "chunk: is 0; give a number at least 1"),
        (lambda: phn(mlp(), 2, concentration=0.0), "concentration: is 0.0; give a number above 0"),
        (lambda: cosmos(mlp(), 2, cosine=-1.0), "cosine: is -1.0; give a number at least 0"),
        (lambda: cosmos(nn.Tanh(), 2), "network: 'Tanh' has no parameter"),
        (lambda: lorpman(mlp(), 2, rank=0), "rank: is 0; give a number at least 1"),
        (lambda: lorpman(mlp(), 2, freeze=1.5), "freeze: is 1.5; give a number at least 0 and at most 1"),
        (lambda: lorpman(nn.LayerNorm(3), 2), "network: 'LayerNorm' has no parameter with two dimensions or more"),
        (lambda: phn(mlp(), 2).at([0.0, 0.0]), r"preference: \[0.0, 0.0\] given for 2 tasks; give one number from 0"),
        (lambda: phn(mlp(), 2).at([1.0]), r"preference: \[1.0\] given for 2 tasks"),
        (lambda: front_step(phn(mlp(), 3), regression), r"losses: shape \(2,\) for 3 tasks; give one number for each"),
        (lambda: front_step(phn(mlp(), 2), regression, progress=2.0), "progress: is 2.0; give a number at least 0"),
        (
            lambda: front_step(phn(mlp(), 2), lambda network: network(X).mean() * torch.tensor([1.0, torch.nan])),
            r"losses: \[\[.*nan\]\] under the preferences .*; lower the learning rate",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()


class Embedded(nn.Module):
    """A table with sparse gradients below a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 3, sparse=True)
        self.head = nn.Linear(3, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(ids))


@pytest.mark.parametrize("build", [lambda n, **o: pamal([n, n], **o), lambda n, **o: phn(n, 2, **o),
                                   lambda n, **o: lorpman(n, 2, **o)])  # fmt: skip
def test_shared_parameters_are_trained_and_the_same_for_all(build):
    torch.manual_seed(0)
    network = Embedded()
    model, ids = build(network, shared=["table.weight"]), torch.tensor([1, 4, 4])
    front_step(model, lambda net: [(net(ids) - y).square().mean() for y in (0.0, 1.0)])
    (table,) = model.get_submodule("common").parameters()
    assert table.grad is not None and table.grad.is_sparse
    touched = table.grad.coalesce()
    assert touched.indices().tolist() == [[1, 4]] and bool((touched.values() != 0).any())
    with torch.no_grad():
        table += 1.0
    ends = [model.at(ray) for ray in ([0.9, 0.1], [0.1, 0.9])]
    assert all(torch.equal(end.get_parameter("table.weight"), network.table.weight + 1.0) for end in ends)
    with pytest.raises(UserError, match=r"shared: no parameter is named 'tabel\.weight'; did you mean"):
        build(network, shared=["tabel.weight"])
