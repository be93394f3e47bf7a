"""What goes wrong in other libraries does not here; one test for each, named after the mistake."""

import pytest
import torch
from torch import nn

from polytask.balancing import Balancing, backward, equal, gradnorm, mgda, nash_mtl
from polytask.balancing.found import FoundTasks
from polytask.types import Step

TASKS = 3


class Model(nn.Module):
    """Layers are defined in another order than they are used, and a task's own layer comes first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.heads = nn.ModuleList(nn.Linear(5, 1) for _ in range(TASKS))
        self.last, self.first = nn.Linear(6, 5), nn.Linear(4, 6)
        self.double()

    def features(self, x):
        return self.last(self.first(x).tanh())

    def forward(self, x):
        features = self.features(x)
        return [(head(features.tanh()) - n).square().mean() for n, head in enumerate(self.heads)]


def batch():
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def all_of(tasks):
    return Step(0, 0, torch.ones(tasks, dtype=torch.bool), torch.ones(tasks))


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 10, 40])
def test_nash_mtl_does_not_fall_back_to_equal_weights(tasks, spread):
    """A solver that fails is caught there, and all weights are 1."""
    generator = torch.Generator().manual_seed(tasks)
    gradients = torch.randn(tasks, 4 * tasks, generator=generator, dtype=torch.float64)
    gradients *= (10 ** (spread * (2 * torch.rand(tasks, 1, generator=generator) - 1))).double()
    gramian = gradients @ gradients.T
    weights = nash_mtl()(gramian, all_of(tasks))
    torch.testing.assert_close(gramian @ weights, 1 / weights, rtol=1e-6, atol=0.0)
    assert not torch.allclose(weights, weights[0], rtol=1e-3)


def test_gradients_at_the_representation_are_not_summed_over_the_batch():
    """There a task that pulls rows apart, up here and down there, has no gradient at all."""
    features = torch.zeros(2, 1, requires_grad=True, dtype=torch.float64) * 1.0
    losses = [features[0, 0] - features[1, 0], features[0, 0] + features[1, 0]]
    tasks = FoundTasks(losses, [features])
    tasks.through_heads(torch.ones(2, dtype=torch.bool), scale=1.0, fill=False)
    assert tasks.gramian().tolist() == [[2.0, 0.0], [0.0, 2.0]]


@pytest.mark.parametrize("at", ["representation", "last_layer", "parameters"])
def test_weights_do_not_reach_the_heads(at):
    """There the weighted sum goes through the heads as well: a task of weight 0 does not learn its own head."""
    model = Model()
    weights = backward(model(batch()), mgda(), at=at)
    assert weights.max() < 1.0
    plain = Model()
    sum(plain(batch())).backward()
    for head, expected in zip(model.heads, plain.heads, strict=True):
        torch.testing.assert_close(head.weight.grad, expected.weight.grad)


def test_a_balancer_remembers_after_a_resume():
    """There initial losses and weights are attributes, and a resumed run starts them anew."""
    balancers = [Balancing(gradnorm(TASKS), TASKS, every=2) for _ in range(2)]
    models = [Model(), Model()]
    for _ in range(3):
        backward(models[0](batch()), balancers[0])
        with torch.no_grad():
            for parameter in models[0].parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
    balancers[1].load_state_dict(balancers[0].state_dict())
    models[1].load_state_dict(models[0].state_dict())
    one, other = (backward(model(batch()), balancer) for model, balancer in zip(models, balancers, strict=True))
    assert torch.equal(one, other) and not torch.allclose(one, torch.ones_like(one))


def test_the_last_shared_layer_is_last_in_use_and_not_in_the_list_of_modules():
    """There it is the last of ``model.parameters()`` that is shared: the first layer of this model."""
    model = Model()
    tasks = FoundTasks(model(batch()))
    assert {id(leaf) for leaf in tasks.last_layer()} == {id(leaf) for leaf in model.last.parameters()}
    balancing = Balancing(gradnorm(TASKS), TASKS)
    assert balancing.at == "last_layer"


def test_a_method_of_losses_reaches_the_encoder():
    """There the encoder receives no gradient from a method of losses while ``rep_grad`` is set."""
    model, plain = Model(), Model()
    backward(model(batch()), equal())
    sum(plain(batch())).backward()
    torch.testing.assert_close(model.first.weight.grad, plain.first.weight.grad)
