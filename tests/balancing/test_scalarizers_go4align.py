"""GO4Align: the rule against a direct computation, and the groups against a search of all partitions."""

import itertools

import numpy as np
import pytest
import torch
from scalarizer_steps import state_of, step_of, weights_of

from polytask.balancing import go4align
from polytask.balancing.scalarizers.go4align import group_means
from polytask.errors import UserError


def error(values, means):
    return ((values - means) ** 2).sum()


def best_of_all(values, groups):
    """The least error of all ways to put the values into groups."""
    errors = []
    for labels in itertools.product(range(groups), repeat=len(values)):
        if len(set(labels)) == groups:
            label = np.array(labels)
            errors.append(error(values, np.array([values[label == one].mean() for one in label])))
    return min(errors)


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_groups_have_the_least_error_of_all(groups, seed):
    values = np.random.default_rng(seed).lognormal(size=6)
    means = group_means(values, groups)
    assert error(values, means) == pytest.approx(best_of_all(values, groups))
    assert len(set(means.tolist())) == groups
    assert means.sum() == pytest.approx(values.sum())


def test_groups_of_few_and_of_equal_values():
    assert group_means(np.array([3.0]), 2).tolist() == [3.0]
    assert group_means(np.array([2.0, 1.0]), 5).tolist() == [2.0, 1.0]
    assert group_means(np.array([1.0, 1.0, 1.0]), 2).tolist() == [1.0, 1.0, 1.0]


def test_groups_of_values_of_very_different_size():
    values = np.array([1e30, 1.0, 2.0, 9.0])
    assert group_means(values, 3).tolist() == [1e30, 1.5, 1.5, 9.0]


def test_groups_do_not_depend_on_the_order():
    values = np.random.default_rng(0).normal(size=9)
    order = np.random.default_rng(1).permutation(9)
    np.testing.assert_array_equal(group_means(values, 3)[order], group_means(values[order], 3))


def test_the_rule_over_steps():
    balancer, share = go4align(3, groups=3, step_size=0.3), torch.full((3,), 1 / 3, dtype=torch.float64)
    for number, losses in enumerate([[1.0, 2.0, 4.0], [0.5, 2.0, 3.0], [0.4, 2.0, 5.0]]):
        found = weights_of(balancer, step_of(losses, number))
        values = torch.tensor(losses, dtype=torch.float64)
        share = share * torch.exp(-0.3 * values)
        share = share / share.sum()
        torch.testing.assert_close(found, share * values.sum() / values)


def test_groups_share_their_mean():
    grouped, apart = (weights_of(go4align(3, groups=groups), step_of([1.0, 1.1, 4.0])) for groups in (2, 3))
    assert grouped.tolist() == pytest.approx([apart[:2].mean().item()] * 2 + [apart[2].item()])


def test_one_group_is_equal_weights():
    found = weights_of(go4align(3, groups=1), step_of([1.0, 2.0, 9.0]))
    assert len(set(found.tolist())) == 1


def test_the_weights_of_equal_losses_are_one():
    assert weights_of(go4align(3), step_of([2.0, 2.0, 2.0])).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_an_absent_task_keeps_its_share():
    balancer = go4align(3, step_size=0.3)
    weights_of(balancer, step_of([1.0, 2.0, 3.0]))
    before = state_of(balancer)["log_share"]
    weights_of(balancer, step_of([1.0, 2.0, 3.0], 1, absent=[1]))
    assert balancer.log_share[1] == before[1]
    assert balancer.log_share[0] > before[0]
    assert balancer.log_share.exp().sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("losses", [[0.0, 0.0, 0.0], [0.0, 1.0, 1e15], [1e-15, 1e15, 1.0]])
def test_finite_over_all_scales_and_many_steps(losses, dtype):
    balancer = go4align(3)
    for number in range(4):
        assert bool(weights_of(balancer, step_of(losses, number, dtype=dtype)).isfinite().all())


def test_a_resumed_run_goes_on_exactly():
    steps = [step_of([1.0 + number, 2.0, 3.0], number, absent=[2] if number == 1 else []) for number in range(6)]
    whole, first, second = (go4align(3, step_size=0.1) for _ in range(3))
    expected = [weights_of(whole, step) for step in steps]
    for step in steps[:3]:
        weights_of(first, step)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(weights_of(second, step), expected[step.number]) for step in steps[3:])


def test_options():
    with pytest.raises(UserError) as raised:
        go4align(3, groups=0, step_size=-1.0)
    assert "groups: 0 given; choose a whole number from 1" in str(raised.value)
    assert "step_size: -1.0 given; choose a finite number from 0" in str(raised.value)
