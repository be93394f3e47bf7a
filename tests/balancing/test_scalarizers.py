"""The formulas of the scalarizers, and what they say when they are set up wrongly."""

import math

import pytest
import torch

from polytask.balancing import constant, equal, uncertainty
from polytask.errors import UserError
from polytask.types import Step

LOSSES = torch.tensor([0.5, 3.0])
STEP = Step(0, 0, torch.ones(2, dtype=torch.bool), LOSSES)


def test_equal_is_the_sum():
    assert equal()(LOSSES, STEP).item() == 3.5


def test_constant_by_name_and_by_position():
    by_name = constant({"b": 3.0, "a": 2.0}, names=["a", "b"])
    assert by_name(LOSSES, STEP).item() == constant([2.0, 3.0])(LOSSES, STEP).item() == 10.0


def test_constant_lists_every_mistake():
    with pytest.raises(UserError) as raised:
        constant({"clck": 1.0, "like": -1.0}, names=["click", "like"])
    text = str(raised.value)
    assert "3 problems" in text
    assert "weights.clck: no task has this name; did you mean 'click'?" in text
    assert "weights.click: the task has no weight" in text
    assert "weights.like: -1.0 given; choose a finite number from 0" in text


def test_constant_with_too_few_weights():
    with pytest.raises(UserError, match="1 weights for 2 tasks; give one for each of click, like"):
        constant([1.0], names=["click", "like"])


@pytest.mark.parametrize(
    ("kind", "form", "expected"),
    [
        ("binary", "kendall", lambda loss, sigma: loss / sigma**2 + math.log(sigma)),
        ("regression", "kendall", lambda loss, sigma: loss / (2 * sigma**2) + math.log(sigma)),
        ("binary", "half", lambda loss, sigma: 0.5 * (loss / sigma**2 + 2 * math.log(sigma))),
    ],
)
def test_uncertainty_formula(kind, form, expected):
    balancer = uncertainty([kind], form=form, start=2 * math.log(1.7))
    one = Step(0, 0, torch.ones(1, dtype=torch.bool), LOSSES[:1])
    assert balancer(LOSSES[:1], one).item() == pytest.approx(expected(0.5, 1.7), rel=1e-5)


def test_uncertainty_settles_where_the_variance_is_the_loss():
    balancer = uncertainty(["binary", "regression"])
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        balancer(LOSSES, STEP).backward()
        optimizer.step()
    # d/ds: c exp(-s) L = 1/2, hence sigma^2 = 2 c L
    assert balancer.log_variance.exp().tolist() == pytest.approx([1.0, 3.0], rel=1e-2)


def test_uncertainty_does_not_move_an_absent_task():
    balancer = uncertainty(["binary", "binary"])
    step = Step(0, 0, torch.tensor([False, True]), LOSSES)
    balancer(LOSSES[1:], step).backward()
    assert balancer.log_variance.grad.tolist() == [0.0, -2.5]


def test_uncertainty_unknown_form():
    with pytest.raises(UserError, match="form: 'kendal' is unknown; did you mean 'kendall'"):
        uncertainty(["binary"], form="kendal")
