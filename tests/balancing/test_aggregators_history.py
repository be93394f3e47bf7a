"""Aggregators that remember: what is kept, of whom, and how a run goes on after a stop."""

import pytest
import torch
from properties import gradients_of, step_for

from polytask import balancing
from polytask.balancing.aggregators.history import History
from polytask.balancing.engine import NonFiniteError
from polytask.errors import UserError
from polytask.training.checkpoint import load_state, save_state

TASKS, WIDTH = 4, 9
BUILDERS = {
    "excess_mtl": lambda: balancing.excess_mtl(TASKS, learning_rate=0.5, warmup=2),
    "moco": lambda: balancing.moco(TASKS),
    "moco libmtl": lambda: balancing.moco(TASKS, scaling="loss", projection="softmax"),
    "db_mtl": lambda: balancing.db_mtl(TASKS, beta_decay=0.5),
}
every = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


def given(balancer, number=0, absent=(), gradients=None):
    gradients = gradients_of(TASKS, WIDTH, seed=number) if gradients is None else gradients
    losses = torch.rand(len(gradients), dtype=torch.float64, generator=torch.Generator().manual_seed(number)) + 0.1
    step = step_for(len(gradients), number, absent=absent, losses=losses)
    return balancer(gradients[step.present], step), balancer.row_weights(step)


def some(number):
    """Tasks come and go: none, one or two are absent."""
    return ((), (number % 4,), (1, 3))[number % 3]


@every
def test_what_is_kept_of_an_absent_task_does_not_move(build):
    balancer = build()
    for number in range(3):
        given(balancer, number)
    before = {name: value.clone() for name, value in balancer.state_dict().items()}
    for number in range(3, 6):
        given(balancer, number, absent=(1,))
    after = balancer.state_dict()
    kept = [name for name, value in before.items() if value.shape[:1] == (TASKS,)]
    assert "history.rows" in kept and len(kept) >= 2
    for name in kept:
        assert torch.equal(after[name][1], before[name][1]), name
        assert name == "units" or not torch.equal(after[name][0], before[name][0]), name


@every
@pytest.mark.parametrize("stop", [0, 1, 7])
def test_a_resumed_run_goes_on_exactly(build, stop, tmp_path):
    whole, first, second = build(), build(), build()
    expected = [given(whole, number, some(number)) for number in range(12)]
    for number in range(stop):
        given(first, number, some(number))
    save_state(tmp_path / "state", {"balancer": dict(first.state_dict())})
    second.load_state_dict(load_state(tmp_path / "state")["balancer"])
    for number in range(stop, 12):
        for found, wanted in zip(given(second, number, some(number)), expected[number], strict=True):
            assert torch.equal(found, wanted)


@every
def test_a_state_from_before_the_first_step_begins_anew(build):
    fresh, used = build(), build()
    start = {name: value.clone() for name, value in fresh.state_dict().items()}
    given(used, 1)
    used.load_state_dict(start)
    # also where there are other shared parameters than before
    gradients = gradients_of(TASKS, WIDTH + 2)
    assert torch.equal(given(used, gradients=gradients)[0], given(fresh, gradients=gradients)[0])


@every
def test_a_state_of_another_number_of_tasks_is_refused(build):
    other = balancing.db_mtl(TASKS + 1)
    with pytest.raises(RuntimeError, match="size mismatch"):
        build().load_state_dict(other.state_dict())


@every
def test_other_shared_parameters_are_refused(build):
    balancer = build()
    given(balancer)
    with pytest.raises(UserError, match="its history is of 9 shared parameters, and now there are 8; freeze nothing"):
        given(balancer, 1, gradients=gradients_of(TASKS, 8))


@every
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_leaves_no_trace(build, bad):
    balancer = build()
    given(balancer)
    before = {name: value.clone() for name, value in balancer.state_dict().items()}
    gradients = gradients_of(TASKS, WIDTH)
    gradients[2, 3] = bad
    with pytest.raises(NonFiniteError, match="task 2 in step 1: its gradient where tasks meet is not finite"):
        given(balancer, 1, gradients=gradients)
    assert all(torch.equal(value, before[name]) for name, value in balancer.state_dict().items())


@every
def test_a_task_that_comes_later_is_as_one_that_starts(build):
    """Its own count begins with it, so that its first mean is made as those of the others were."""
    balancer = build()
    for number in range(3):
        given(balancer, number, absent=(2,))
    assert balancer.history.seen.tolist() == [3, 3, 0, 3]
    assert not balancer.history.rows[2].any()
    given(balancer, 3)
    alone = build()
    given(alone, 3)
    torch.testing.assert_close(balancer.history.rows[2], alone.history.rows[2])


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_directions_have_the_type_of_the_gradients_and_histories_at_least_single_precision(build, dtype):
    balancer = build()
    direction, weights = given(balancer, gradients=gradients_of(TASKS, WIDTH).to(dtype))
    assert direction.dtype == dtype and bool(direction.isfinite().all())
    assert weights.shape == (TASKS,) and bool(weights.isfinite().all())
    assert balancer.history.rows.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@every
def test_nothing_is_learnt_or_taped(build):
    balancer = build()
    gradients = gradients_of(TASKS, WIDTH).requires_grad_()
    assert not given(balancer, gradients=gradients)[0].requires_grad
    assert list(balancer.parameters()) == []


def test_row_weights_make_the_direction_of_a_method_that_forgets_at_once():
    """Where the history is the gradient itself, both ways to combine are one."""
    gradients = gradients_of(TASKS, WIDTH)
    for balancer in (
        balancing.excess_mtl(TASKS),
        balancing.moco(TASKS, beta=1.0, beta_decay=0.0),
        balancing.moco(TASKS, beta=1.0, beta_decay=0.0, scaling="loss"),
        balancing.db_mtl(TASKS, beta=0.0),
    ):
        for number in range(3):
            direction, weights = given(balancer, number, gradients=gradients)
            torch.testing.assert_close(weights @ gradients, direction)


@every
def test_where_only_gradients_without_a_history_are_left_they_move(build):
    gradients = gradients_of(TASKS, WIDTH)
    gradients[2] = 0.0
    balancer = build()
    direction, weights = given(balancer, gradients=gradients)
    assert bool((weights > 0).all()) and bool(direction.isfinite().all())
    for width in (WIDTH, 0):
        direction, weights = given(build(), gradients=torch.zeros(TASKS, width, dtype=torch.float64))
        assert not direction.any() and bool((weights > 0).all())


def test_history_alone():
    history, present = History(3), torch.tensor([True, False, True])
    state = {name: value.clone() for name, value in history.state_dict().items()}
    assert history.before(torch.ones(2, 5), present).tolist() == [[0.0] * 5] * 2
    history.keep(torch.ones(2, 5), present)
    assert history.seen.tolist() == [1, 0, 1]
    loaded = History(3)
    loaded.load_state_dict(history.state_dict())
    assert torch.equal(loaded.rows, history.rows)
    history.keep(torch.zeros(2, 5), present)
    assert loaded.rows.any(), "a loaded history must not share memory with the one that it came from"
    loaded.load_state_dict(state)
    assert loaded.rows.shape == (3, 0) and not loaded.seen.any()
