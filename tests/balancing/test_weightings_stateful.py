"""Weightings that remember: GradVac, SDMGrad, GradNorm, over several steps and with tasks that are absent."""

import pytest
import torch
from properties import gradients_of, step_for

from polytask import balancing
from polytask.errors import UserError
from polytask.types import Step


def state_of(balancer):
    return {name: tensor.clone() for name, tensor in balancer.state_dict().items()}


def given(balancer, gradients, number=0, absent=(), losses=None):
    step = step_for(len(gradients), number, absent=absent, losses=losses)
    rows = gradients[step.present]
    return balancer(rows @ rows.T, step)


BUILDERS = {
    "gradvac": lambda tasks: balancing.gradvac(tasks, beta=0.3),
    "sdmgrad": lambda tasks: balancing.sdmgrad(tasks),
    "gradnorm": lambda tasks: balancing.gradnorm(tasks),
    "gradnorm softmax": lambda tasks: balancing.gradnorm(tasks, form="softmax"),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_what_is_kept_of_an_absent_task_does_not_move(build):
    balancer = build(4)
    for number in range(3):
        given(balancer, gradients_of(4, 9, seed=number), number)
    before = state_of(balancer)
    for number in range(3, 6):
        given(balancer, gradients_of(4, 9, seed=number), number, absent=(1,))
    after = state_of(balancer)
    for name in before:
        if before[name].dim() == 1:
            assert torch.equal(after[name][1], before[name][1]), name
        if before[name].dim() == 2:
            assert torch.equal(after[name][1], before[name][1])
            assert torch.equal(after[name][:, 1], before[name][:, 1])
    assert any(not torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_resumed_run_goes_on_exactly_with_tasks_coming_and_going(build):
    def go(balancer, numbers):
        return [
            given(balancer, gradients_of(4, 9, seed=number), number, absent=(number % 4,) if number % 3 else ())
            for number in numbers
        ]

    whole, first, second = build(4), build(4), build(4)
    expected = go(whole, range(12))[7:]
    go(first, range(7))
    second.load_state_dict(first.state_dict())
    for found, wanted in zip(go(second, range(7, 12)), expected, strict=True):
        assert torch.equal(found, wanted)
    assert list(whole.parameters()) == []


def test_gradvac_raises_the_cosine_to_its_target():
    balancer = balancing.gradvac(2, beta=0.5)
    near = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    assert given(balancer, near).tolist() == [1.0, 1.0]
    assert balancer.targets.tolist() == [[0.0, pytest.approx(0.3)], [pytest.approx(0.3), 0.0]]
    far = torch.eye(2, dtype=torch.float64) * torch.tensor([[1.0], [2.0]])
    weights = given(balancer, far, 1)
    # each gains .3 / sqrt(1 - .09) of the other's unit vector, times its own length
    gain = 0.3 / 0.91**0.5
    assert weights.tolist() == pytest.approx([1 + 2 * gain, 1 + gain / 2])
    assert balancer.targets[0, 1].item() == pytest.approx(0.15)


def test_gradvac_targets_rise_where_no_correction_is_made():
    """LibMTL moves a target only when the cosine is below it: those start at 0 and never rise."""
    balancer = balancing.gradvac(3, beta=0.1)
    for number in range(30):
        given(balancer, gradients_of(3, 9, drift=2.0, seed=number), number)
    assert balancer.targets[0, 1] > 0.5


def test_gradvac_stays_finite_for_parallel_opposed_and_zero_gradients():
    balancer = balancing.gradvac(3, beta=1.0)
    ones, zero = torch.ones(3, 2, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64)
    for number, gradients in enumerate([ones, -ones, torch.tensor([[1.0], [-1.0], [1.0]]) * ones, zero, ones]):
        weights = given(balancer, gradients, number)
        assert bool(weights.isfinite().all()), gradients
        assert bool((balancer.targets.abs() <= 1.0).all())


def test_sdmgrad_reaches_the_solution_with_many_small_steps():
    gradients = gradients_of(5, 9, seed=2)
    slow = given(balancing.sdmgrad(5, steps=5000, learning_rate=0.05), gradients)
    torch.testing.assert_close(slow, given(balancing.sdmgrad(5, solver="exact"), gradients), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.3, 5.0])
def test_sdmgrad_exact_meets_the_conditions(strength):
    for gradients in (gradients_of(5, 9), gradients_of(8, 4), gradients_of(6, 20, spread=1.0)):
        weights = given(balancing.sdmgrad(len(gradients), strength=strength, solver="exact"), gradients)
        w = (1 + strength) * weights - strength / len(gradients)
        assert w.min() >= -1e-9 and w.sum().item() == pytest.approx(1.0)
        slopes = gradients @ (w @ gradients + strength * gradients.mean(0))
        size = (gradients.norm(dim=1) ** 2).max()
        assert ((slopes - slopes @ w) / size).min() >= -1e-7
        assert ((slopes - slopes @ w)[w > 1e-6] / size).abs().max() <= 1e-7


def test_sdmgrad_starts_where_it_ended():
    gradients = gradients_of(5, 9, seed=2)
    balancer, long = balancing.sdmgrad(5, steps=3, momentum=0.0), balancing.sdmgrad(5, steps=6, momentum=0.0)
    given(balancer, gradients)
    torch.testing.assert_close(given(balancer, gradients, 1), given(long, gradients))


class Reference:
    """GradNorm's algorithm 1 with autograd and `torch.optim.Adam`."""

    def __init__(self, tasks, alpha=1.5, learning_rate=0.025):
        self.w = torch.ones(tasks, dtype=torch.float64, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.w], lr=learning_rate)
        self.alpha, self.initial = alpha, None

    def __call__(self, gradients, losses):
        self.initial = losses if self.initial is None else self.initial
        used = self.w.detach().clone()
        lengths = (self.w.unsqueeze(1) * gradients).norm(dim=1)
        left = losses / self.initial
        target = (lengths.mean() * (left / left.mean()) ** self.alpha).detach()
        self.optimizer.zero_grad()
        (lengths - target).abs().sum().backward()
        self.optimizer.step()
        with torch.no_grad():
            self.w.copy_(len(used) * self.w / self.w.sum())
        return used


@pytest.mark.parametrize(("alpha", "rate"), [(1.5, 0.025), (0.0, 0.1), (0.12, 0.01)])
def test_gradnorm_equals_the_algorithm_of_the_paper(alpha, rate):
    balancer, reference = balancing.gradnorm(3, alpha=alpha, learning_rate=rate), Reference(3, alpha, rate)
    for number in range(40):
        gradients = gradients_of(3, 5, seed=number) * torch.tensor([[1.0], [2.0], [4.0]])
        losses = torch.rand(3, dtype=torch.float64, generator=torch.Generator().manual_seed(number)) + 0.1
        torch.testing.assert_close(given(balancer, gradients, number, losses=losses), reference(gradients, losses))


def test_gradnorm_brings_gradients_to_one_length():
    balancer = balancing.gradnorm(2, alpha=0.0)
    gradients = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    for number in range(300):
        weights = given(balancer, gradients, number)
    assert (weights[0] / (3 * weights[1])).item() == pytest.approx(1.0, abs=0.15)
    assert weights.sum().item() == pytest.approx(2.0)


def test_gradnorm_gives_more_to_the_task_that_trains_slowly():
    balancer, gradients = balancing.gradnorm(2), torch.eye(2, dtype=torch.float64)
    for number in range(20):
        weights = given(balancer, gradients, number, losses=torch.tensor([1.0, 0.9**number], dtype=torch.float64))
    assert weights[0] > weights[1]


def test_gradnorm_with_first_losses_given():
    by_name = balancing.gradnorm(2, ["a", "b"], initial={"b": 4.0, "a": 1.0})
    by_order = balancing.gradnorm(2, initial=[1.0, 4.0])
    assert by_name.initial.tolist() == by_order.initial.tolist() == [1.0, 4.0]
    given(by_name, torch.eye(2, dtype=torch.float64), losses=torch.tensor([7.0, 7.0]))
    assert by_name.initial.tolist() == [1.0, 4.0]


def test_gradnorm_takes_the_first_loss_of_a_task_that_comes_later():
    balancer, gradients = balancing.gradnorm(2), torch.eye(2, dtype=torch.float64)
    given(balancer, gradients, absent=(1,), losses=torch.tensor([3.0, float("nan")]))
    assert balancer.initial[0] == 3.0 and balancer.initial[1].isnan()
    given(balancer, gradients, 1, losses=torch.tensor([2.0, 5.0]))
    assert balancer.initial.tolist() == [3.0, 5.0]


def test_gradnorm_places_and_heads():
    assert balancing.gradnorm(2).place == "last_layer" and balancing.gradnorm(2).whole_loss
    assert not balancing.gradnorm(2, heads=False).whole_loss
    assert not balancing.mgda().whole_loss


@pytest.mark.parametrize("form", ["paper", "softmax"])
def test_gradnorm_weights_stay_positive_and_add_up(form):
    balancer = balancing.gradnorm(3, learning_rate=1.0, form=form)
    for number in range(50):
        weights = given(
            balancer, gradients_of(3, 5, seed=number, spread=2.0), number, absent=(2,) if number % 2 else ()
        )
        assert bool((weights > 0).all())
        assert weights.sum().item() == pytest.approx(len(weights))


def test_gradnorm_softmax_follows_the_slope_through_the_softmax():
    balancer, w = balancing.gradnorm(3, form="softmax"), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.025)
    for number in range(20):
        gradients = gradients_of(3, 5, seed=number)
        scale = 3 * torch.softmax(w, 0)
        lengths = scale * gradients.norm(dim=1)
        optimizer.zero_grad()
        (lengths - lengths.mean().detach()).abs().sum().backward()
        torch.testing.assert_close(given(balancer, gradients, number), scale.detach())
        optimizer.step()


def test_gradnorm_refuses_negative_losses():
    with pytest.raises(UserError, match=r"tasks\.b: its loss is -1 in step 1, and balancer 'gradnorm' needs"):
        balancing.gradnorm(2, ["a", "b"])(
            torch.eye(2), Step(0, 0, torch.ones(2, dtype=torch.bool), torch.tensor([1.0, -1.0]))
        )
