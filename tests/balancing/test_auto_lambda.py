"""Auto-Lambda against the paper's equations, and the inner products that it lives on."""

import pytest
import torch
from scalarizer_steps import state_of, step_of, weights_of
from torch import nn

from polytask.balancing import Balancing, after_step, auto_lambda, backward, equal
from polytask.balancing.slopes import slopes
from polytask.errors import UserError


class Model(nn.Module):
    def __init__(self, tasks=3):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(6, 4, sparse=True)
        self.trunk = nn.Linear(4, 5)
        self.heads = nn.Linear(5, tasks)
        self.double()

    def losses(self, ids, labels):
        return (self.heads(self.trunk(self.table(ids)).tanh()) - labels).square().mean(0)


def rows(seed=0, count=16, tasks=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, (count,), generator=generator), torch.randn(
        count, tasks, generator=generator, dtype=torch.float64
    )


def dense(gradient):
    return gradient.to_dense() if gradient.is_sparse else gradient


def test_slopes_are_the_inner_products_of_gradients():
    model, weights = Model(), torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)
    parameters = list(model.parameters())
    before = [one.detach().clone() for one in parameters]
    found = slopes(weights, lambda w: (w * model.losses(*rows(1))).sum(), lambda: model.losses(*rows(0)), parameters)
    held_out = torch.autograd.grad((weights * model.losses(*rows(1))).sum(), parameters)
    for task, slope in enumerate(found):
        own = torch.autograd.grad(model.losses(*rows(0))[task], parameters)
        expected = sum((dense(one) * dense(other)).sum() for one, other in zip(own, held_out, strict=True))
        assert slope.item() == pytest.approx(expected.item(), rel=1e-3)
    assert all(torch.equal(one, other) for one, other in zip(parameters, before, strict=True)), "not put back"


def test_no_slopes_where_nothing_depends_on_the_parameters():
    model = Model()
    idle = nn.Parameter(torch.zeros(2))

    def again():
        raise AssertionError("a forward pass")

    parameters = [idle, *model.heads.parameters()]
    found = slopes(torch.ones(3), lambda w: (0.0 * model.heads.weight).sum() + w.sum(), again, parameters)
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_equals_the_paper_with_the_adam_of_torch():
    balancer = auto_lambda(3, primary=[0, 2], learning_rate=0.01)
    held = torch.full((3,), 0.1, requires_grad=True)
    reference = torch.optim.Adam([held], lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for number in range(30):
        products = torch.randn(3, 3, generator=generator)  # of step rows (rows) with held-out rows (columns)
        step = step_of([1.0, 2.0, 3.0], number, dtype=torch.float32)
        torch.testing.assert_close(weights_of(balancer, step), held.detach(), rtol=1e-4, atol=1e-6)
        balancer.learn(step, lambda weights, products=products: products @ weights)
        held.grad = -(products[:, 0] + products[:, 2])
        reference.step()
        held.data.clamp_min_(0.0)


def test_a_task_that_harms_the_primary_one_loses_weight():
    """The second task has the labels of the first, the third their negatives."""
    torch.manual_seed(0)
    model, balancer = nn.Linear(4, 1).double(), auto_lambda(3, primary=[0], learning_rate=0.01)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def losses(seed):
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        labels = x.sum(1, keepdim=True)
        return [(model(x) - labels * sign).square().mean() for sign in (1.0, 1.0, -1.0)]

    for number in range(50):
        optimizer.zero_grad()
        backward(losses(number), balancer)
        optimizer.step()
        after_step(
            balancer,
            lambda number=number: torch.stack(losses(number)),
            held_out=lambda number=number: losses(1000 + number),
            parameters=model.parameters(),
        )
    first, second, third = balancer.weights.tolist()
    assert first > 0.3 and second > 0.3 and third == 0.0
    assert losses(5)[0] < 0.1


def test_weights_may_become_negative_where_asked_for():
    balancer = auto_lambda(2, primary=[0], start=0.01, learning_rate=0.01, non_negative=False)
    for number in range(5):
        balancer.learn(step_of([1.0, 1.0], number), lambda weights: torch.tensor([1.0, -1.0]))
    assert balancer.weights[1] < 0


def test_an_absent_task_does_not_move():
    balancer = auto_lambda(3)
    balancer.learn(step_of([1.0, 1.0, 1.0]), lambda weights: torch.tensor([1.0, -1.0, 0.5]))
    before = {name: value[1].clone() for name, value in state_of(balancer).items() if value.dim()}
    balancer.learn(step_of([1.0, 1.0, 1.0], 1, absent=[1]), lambda weights: torch.tensor([1.0, torch.nan, 0.5]))
    after = {name: value[1] for name, value in state_of(balancer).items() if value.dim()}
    assert before == after and balancer.adam.moves.tolist() == [2.0, 1.0, 2.0]


def test_without_held_out_rows_it_says_what_is_missing():
    balancer = Balancing(auto_lambda(2), 2)
    with pytest.raises(UserError, match=r"AutoLambda.*rows that the model is not trained on.*give held_out"):
        balancer.after_step(step_of([1.0, 1.0]), lambda: torch.ones(2))
    Balancing(equal(), 2).after_step(step_of([1.0, 1.0]), lambda: torch.ones(2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"primary": ["clik"]}, "primary: no task is named 'clik'; did you mean 'click' or 'like'?"),
        ({"primary": [2]}, "primary: no task is named 2"),
        ({"primary": []}, "primary: is empty; name a task"),
        ({"start": 0.0}, "start: 0.0 given"),
        ({"learning_rate": -1.0}, "learning_rate: -1.0 given"),
    ],
)
def test_options(options, said):
    with pytest.raises(UserError) as raised:
        auto_lambda(2, ["click", "like"], **options)
    assert said in str(raised.value)
