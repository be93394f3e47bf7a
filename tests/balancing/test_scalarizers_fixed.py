"""Scalarizers whose weights do not depend on the losses: hand-set ones that change with time, and random ones."""

import pytest
import torch
from scalarizer_steps import step_of, value_of, weights_of

from polytask.balancing import annealed, random_weights
from polytask.balancing.chance import generator
from polytask.errors import UserError


def test_annealed_weights_change_per_epoch():
    balancer = annealed({"like": 4.0, "click": 1.0}, {"click": 1.5, "like": 0.5}, ["click", "like"])
    assert weights_of(balancer, step_of([1.0, 1.0], number=999, epoch=3)).tolist() == [1.5**3, 4.0 * 0.5**3]
    assert value_of(balancer, step_of([2.0, 10.0], number=7, epoch=0)) == 42.0


def test_annealed_weights_change_per_step():
    balancer = annealed([1.0, 2.0], [1.0, 0.999], per="step")
    found = weights_of(balancer, step_of([1.0, 1.0], number=5000, epoch=3))
    assert found.tolist() == pytest.approx([1.0, 2.0 * 0.999**5000], rel=1e-12)


def test_annealed_absent_task():
    balancer = annealed([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    assert weights_of(balancer, step_of([1.0, 1.0, 1.0], epoch=1, absent=[1])).tolist() == [0.5, 1.5]


def test_annealed_lists_every_mistake():
    with pytest.raises(UserError) as raised:
        annealed({"click": -1.0}, {"click": 0.0, "lik": 1.0}, ["click", "like"], per="epochs")
    text = str(raised.value)
    assert "weights.like: the task has no weight; give every task one" in text
    assert "weights.click: -1.0 given; choose a finite number from 0" in text
    assert "rates.click: 0.0 given; choose a finite number above 0" in text
    assert "rates.lik: no task has this name; did you mean 'like' or 'click'?" in text
    assert "rates.like: the task has no rate" in text
    assert "per: 'epochs' is unknown; did you mean 'epoch'?" in text


def test_annealed_with_lists_of_different_lengths():
    with pytest.raises(UserError, match="rates: 1 rates for 2 weights; give one for each task"):
        annealed([1.0, 2.0], [0.5])


def test_random_weights_are_the_softmax_of_the_steps_draws():
    step = step_of([1.0, 2.0, 3.0], number=4)
    draws = torch.from_numpy(generator(5, step).standard_normal(3))
    expected = draws.exp() / draws.exp().sum()
    torch.testing.assert_close(weights_of(random_weights(seed=5), step), 3 * expected)
    torch.testing.assert_close(weights_of(random_weights(seed=5, total="one"), step), expected)


def test_random_weights_of_the_present_tasks_keep_their_draws():
    everyone, some = (
        weights_of(random_weights(), step_of([1.0, 1.0, 1.0, 1.0], absent=absent)) for absent in ([], [1])
    )
    assert some.sum().item() == pytest.approx(3.0)
    torch.testing.assert_close(some / some.sum(), everyone[[0, 2, 3]] / everyone[[0, 2, 3]].sum())


def test_random_weights_differ_by_step_and_seed_and_average_to_one():
    drawn = torch.stack([weights_of(random_weights(), step_of([1.0, 1.0], number=number)) for number in range(2000)])
    assert len(set(drawn[:, 0].tolist())) == 2000
    assert drawn.mean(0).tolist() == pytest.approx([1.0, 1.0], abs=0.03)
    assert not torch.equal(drawn[3], weights_of(random_weights(seed=1), step_of([1.0, 1.0], number=3)))


def test_random_weights_options():
    with pytest.raises(UserError) as raised:
        random_weights(seed=-1, total="task")
    assert "seed: -1 given; choose a whole number from 0" in str(raised.value)
    assert "total: 'task' is unknown; did you mean 'tasks'?" in str(raised.value)
