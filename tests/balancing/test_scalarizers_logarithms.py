"""Scalarizers that make the units of the losses not matter: SI, GLS, IMTL-L, and what they have in common."""

import math

import pytest
import torch
from scalarizer_steps import step_of, value_of, weights_of

from polytask.balancing import famo, geometric_mean, go4align, imtl_l, scale_invariant, smooth_tchebycheff
from polytask.errors import UserError

LOSSES = [0.5, 3.0, 20.0]
UNITS = torch.tensor([1e-6, 10.0, 1e6], dtype=torch.float64)
LOGARITHMIC = {
    "scale_invariant": lambda names: scale_invariant(names),
    "geometric_mean": lambda names: geometric_mean(names),
    "famo": lambda names: famo(3, names),
    "smooth_tchebycheff": lambda names: smooth_tchebycheff(3, names, form="libmtl", warmup=0),
}
POSITIVE = LOGARITHMIC | {
    "imtl_l": lambda names: imtl_l(3, names),
    "go4align": lambda names: go4align(3, names),
}


def test_scale_invariant_is_the_sum_of_logarithms():
    assert value_of(scale_invariant(), step_of(LOSSES)) == pytest.approx(math.log(30.0))
    assert weights_of(scale_invariant(), step_of(LOSSES)).tolist() == pytest.approx([2.0, 1 / 3, 0.05])


def test_geometric_mean_is_the_root_of_the_product():
    assert value_of(geometric_mean(), step_of(LOSSES)) == pytest.approx(30.0 ** (1 / 3))
    assert value_of(geometric_mean(), step_of(LOSSES, absent=[1])) == pytest.approx(10.0**0.5)
    assert weights_of(geometric_mean(), step_of([2.0, 2.0])).tolist() == pytest.approx([0.5, 0.5])


def test_geometric_mean_of_many_tasks_stays_in_range():
    assert value_of(geometric_mean(), step_of([1e15] * 40, dtype=torch.float32)) == pytest.approx(1e15, rel=1e-4)


@pytest.mark.parametrize("name", LOGARITHMIC)
def test_the_unit_of_a_loss_does_not_turn_the_gradient(name):
    """Gradients of losses in other units are as many times larger: weight times unit must keep its direction."""
    before, after = (LOGARITHMIC[name](()) for _ in range(2))
    scaled = (torch.tensor(LOSSES) * UNITS).tolist()
    plain, other = weights_of(before, step_of(LOSSES)), weights_of(after, step_of(scaled)) * UNITS
    torch.testing.assert_close(other / other.sum(), plain / plain.sum(), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", ["scale_invariant", "smooth_tchebycheff"])
def test_the_unit_of_a_loss_changes_nothing_at_all(name):
    before, after = (LOGARITHMIC[name](()) for _ in range(2))
    plain = weights_of(before, step_of(LOSSES))
    other = weights_of(after, step_of((torch.tensor(LOSSES) * UNITS).tolist())) * UNITS
    torch.testing.assert_close(other, plain, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", LOGARITHMIC)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_solved_task_has_no_weight_and_does_not_disturb_the_others(name, dtype):
    weights = weights_of(LOGARITHMIC[name](()), step_of([0.0, 3.0, 20.0], dtype=dtype))
    assert weights[0] == 0
    assert bool((weights[1:] > 0).all() & weights.isfinite().all())


@pytest.mark.parametrize("name", POSITIVE)
def test_a_negative_loss_is_refused_by_the_name_of_its_task(name):
    step = step_of([0.5, -0.25, -2.0], number=11, absent=[2])
    with pytest.raises(UserError) as raised:
        POSITIVE[name](["click", "like", "share"])(step.losses[step.present], step)
    text = str(raised.value)
    assert text.startswith(
        f"tasks.like: its loss is -0.25 in step 12, and balancer '{name}' needs finite losses from 0"
    )
    assert "choose a loss that cannot be negative, or a balancer that does not mind" in text


def test_without_names_a_task_is_called_by_its_number_among_all():
    with pytest.raises(UserError, match=r"^task 2: its loss is -3 in step 1"):
        value_of(scale_invariant(), step_of([1.0, 1.0, -3.0], absent=[0]))


def test_imtl_l_formula():
    balancer = imtl_l(2, start=0.7)
    expected = math.exp(0.7) * 3.5 - 1.4
    assert value_of(balancer, step_of([0.5, 3.0])) == pytest.approx(expected, rel=1e-6)
    balancer(torch.tensor([0.5, 3.0]), step_of([0.5, 3.0])).backward()
    slopes = [math.exp(0.7) * 0.5 - 1, math.exp(0.7) * 3.0 - 1]
    assert balancer.log_scale.grad.tolist() == pytest.approx(slopes, rel=1e-5)


def test_imtl_l_brings_losses_of_all_units_to_one():
    balancer, step = imtl_l(3), step_of([0.05, 1.0, 20.0])
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.05)
    for _ in range(1500):
        optimizer.zero_grad()
        balancer(step.losses, step).backward()
        optimizer.step()
    assert (weights_of(balancer, step) * step.losses).tolist() == pytest.approx([1.0, 1.0, 1.0], rel=1e-2)


def test_imtl_l_does_not_move_an_absent_task():
    balancer, step = imtl_l(2), step_of([9.0, 3.0], absent=[0])
    balancer(step.losses[step.present], step).backward()
    assert balancer.log_scale.grad.tolist() == [0.0, 2.0]


def test_imtl_l_start_must_be_finite():
    with pytest.raises(UserError, match="start: nan given; choose a finite number"):
        imtl_l(2, start=math.nan)
