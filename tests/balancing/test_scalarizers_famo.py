"""FAMO against the algorithm of the paper written down with `torch.optim.Adam`, and its properties."""

import pytest
import torch
from scalarizer_steps import state_of, step_of, value_of, weights_of

from polytask.balancing import famo
from polytask.errors import UserError


class Reference:
    """Algorithm 2 of the paper, with its small number added to the losses left out."""

    def __init__(self, tasks, learning_rate=0.025, decay=0.001):
        self.w = torch.zeros(tasks, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.w], lr=learning_rate, weight_decay=decay)

    def loss(self, losses):
        z = torch.softmax(self.w.detach(), 0)
        c = 1 / (z / losses).sum().detach()
        return (c * losses.log() * z).sum()

    def update(self, before, after):
        delta = (before.log() - after.log()).detach()
        self.optimizer.zero_grad()
        torch.softmax(self.w, 0).backward(delta)
        self.optimizer.step()


def random_losses(steps, tasks, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.exp(2 * torch.randn(steps, 2, tasks, generator=generator))


def test_equals_the_paper_with_the_adam_of_torch():
    balancer, reference = famo(3), Reference(3)
    for number, (before, after) in enumerate(random_losses(60, 3)):
        step = step_of(before.tolist(), number, dtype=torch.float32)
        leaf = before.clone().requires_grad_()
        expected = reference.loss(leaf)
        assert value_of(balancer, step) == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
        torch.testing.assert_close(weights_of(balancer, step), torch.autograd.grad(expected, leaf)[0])
        reference.update(before, after)
        balancer.after_step(step, lambda after=after: after)
        torch.testing.assert_close(balancer.logits, reference.w.detach(), rtol=1e-4, atol=1e-6)


def test_other_learning_rate_and_decay():
    balancer, reference = famo(2, learning_rate=0.1, weight_decay=0.05), Reference(2, 0.1, 0.05)
    for number, (before, after) in enumerate(random_losses(20, 2)):
        reference.update(before, after)
        balancer.after_step(step_of(before.tolist(), number, dtype=torch.float32), lambda after=after: after)
    torch.testing.assert_close(balancer.logits, reference.w.detach(), rtol=1e-4, atol=1e-6)


def test_the_weights_add_up_to_one():
    balancer = famo(3)
    balancer.logits.copy_(torch.tensor([0.5, -1.0, 2.0]))
    assert weights_of(balancer, step_of([1e-3, 1.0, 1e6])).sum().item() == pytest.approx(1.0)


def test_units_do_not_matter_to_what_it_learns():
    plain, scaled, units = famo(3), famo(3), torch.tensor([1e-4, 1.0, 1e5])
    for number, (before, after) in enumerate(random_losses(20, 3)):
        plain.after_step(step_of(before.tolist(), number, dtype=torch.float32), lambda after=after: after)
        other = step_of((before * units).tolist(), number, dtype=torch.float32)
        scaled.after_step(other, lambda after=after: after * units)
    torch.testing.assert_close(scaled.logits, plain.logits, rtol=1e-3, atol=1e-4)


def test_a_task_that_falls_behind_gains_weight():
    balancer = famo(2)
    for number in range(50):
        balancer.after_step(step_of([1.0, 1.0], number), lambda: torch.tensor([0.5, 0.9]))
    assert balancer.logits[1] > 0.3 > -0.3 > balancer.logits[0]


def test_an_absent_task_does_not_move():
    balancer, reference, alone = famo(3), Reference(3), famo(2)
    losses = random_losses(12, 3)
    for number, (before, after) in enumerate(losses[:4]):
        reference.update(before, after)
        balancer.after_step(step_of(before.tolist(), number, dtype=torch.float32), lambda after=after: after)
    kept = {name: tensor[1].clone() for name, tensor in state_of(balancer).items() if tensor.dim()}
    for own, other in zip(alone.buffers(), balancer.buffers(), strict=True):
        own.copy_(other[[0, 2]])
    for number, (before, after) in enumerate(losses[4:], 4):
        step = step_of(before.tolist(), number, absent=[1], dtype=torch.float32)
        less = step_of(before[[0, 2]].tolist(), number, dtype=torch.float32)
        torch.testing.assert_close(weights_of(balancer, step), weights_of(alone, less))
        balancer.after_step(step, lambda after=after, step=step: torch.where(step.present, after, 0.0))
        alone.after_step(less, lambda after=after: after[[0, 2]])
    assert {name: tensor[1] for name, tensor in state_of(balancer).items() if tensor.dim()} == kept
    torch.testing.assert_close(balancer.logits[[0, 2]], alone.logits)


def test_no_forward_pass_where_no_task_is_present():
    def again():
        raise AssertionError("a forward pass")

    balancer = famo(2)
    balancer.after_step(step_of([1.0, 1.0], absent=[0, 1]), again)
    assert balancer.adam.moves.tolist() == [0.0, 0.0]


def test_a_resumed_run_goes_on_exactly():
    losses = random_losses(12, 3)
    whole, first, second = famo(3), famo(3), famo(3)

    def go(balancer, numbers):
        for number in numbers:
            step = step_of(losses[number, 0].tolist(), number, absent=[number % 3] if number % 4 == 3 else [])
            balancer.after_step(step, lambda number=number: losses[number, 1])
        return state_of(balancer)

    expected = go(whole, range(12))
    go(first, range(7))
    second.load_state_dict(first.state_dict())
    found = go(second, range(7, 12))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert list(second.parameters()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("before", [[0.0, 0.0], [0.0, 1e15], [1e-15, 1e15]])
@pytest.mark.parametrize("after", [[0.0, 0.0], [1e15, 0.0]])
def test_finite_over_all_scales(before, after, dtype):
    balancer, step = famo(2), step_of(before, dtype=dtype)
    balancer.after_step(step, lambda: torch.tensor(after, dtype=dtype))
    assert bool(balancer.logits.isfinite().all())
    assert bool(weights_of(balancer, step).isfinite().all())


@pytest.mark.parametrize(("value", "said"), [(-1.0, "-1"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_bad_loss_after_the_step_is_refused_and_leaves_the_logits(value, said):
    balancer = famo(2, ["click", "like"])
    with pytest.raises(UserError, match=f"tasks.like: its loss is {said} in step 1, and balancer 'famo' needs"):
        balancer.after_step(step_of([1.0, 1.0]), lambda: torch.tensor([0.5, value]))
    assert balancer.logits.tolist() == [0.0, 0.0]


def test_options():
    with pytest.raises(UserError) as raised:
        famo(2, learning_rate=0.0, weight_decay=-1.0)
    assert "learning_rate: 0.0 given; choose a finite number above 0" in str(raised.value)
    assert "weight_decay: -1.0 given; choose a finite number from 0" in str(raised.value)
