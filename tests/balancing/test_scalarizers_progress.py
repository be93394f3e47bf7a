"""Scalarizers that follow how training goes: DWA (losses over epochs), DTP (metrics), STCH with a nadir."""

import math

import pytest
import torch
from scalarizer_steps import state_of, step_of, value_of, weights_of

from polytask.balancing import dtp, dwa, smooth_tchebycheff
from polytask.errors import UserError


def softmax(values):
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def go(balancer, steps):
    """The weights of every step."""
    return [weights_of(balancer, step) for step in steps]


EPOCHS = [[[4.0, 1.0], [8.0, 1.0]], [[3.0, 1.0], [3.0, 2.0]], [[1.0, 1.0], [2.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]
STEPS = [step_of(EPOCHS[number // 2][number % 2], number, number // 2) for number in range(8)]


def test_dwa_compares_the_means_of_the_last_two_epochs():
    found = go(dwa(2), STEPS)
    assert [weights.tolist() for weights in found[:4]] == [[1.0, 1.0]] * 4
    first = [2 * share for share in softmax([3.0 / 6.0 / 2, 1.5 / 1.0 / 2])]
    second = [2 * share for share in softmax([1.5 / 3.0 / 2, 1.0 / 1.5 / 2])]
    for number, expected in ((4, first), (5, first), (6, second), (7, second)):
        assert found[number].tolist() == pytest.approx(expected)


def test_dwa_window_of_steps_and_temperature():
    found = go(dwa(2, window=2, temperature=0.5), [step_of(step.losses.tolist(), step.number, 0) for step in STEPS])
    assert found[4].tolist() == pytest.approx([2 * share for share in softmax([0.5 / 0.5, 1.5 / 0.5])])


def test_dwa_ratio_of_a_task_that_was_absent_for_an_epoch_is_one():
    balancer = dwa(2)
    steps = [
        step_of([4.0, 4.0], 0, 0),
        step_of([2.0, 4.0], 1, 1, absent=[1]),
        step_of([1.0, 4.0], 2, 2),
        step_of([1.0, 2.0], 3, 3),
        step_of([1.0, 2.0], 4, 4),
    ]
    found = go(balancer, steps)
    assert found[1].tolist() == [1.0]
    assert found[2].tolist() == pytest.approx([2 * share for share in softmax([0.5 / 2, 1.0 / 2])])
    assert found[3].tolist() == pytest.approx([2 * share for share in softmax([0.5 / 2, 1.0 / 2])])
    assert found[4].tolist() == pytest.approx([2 * share for share in softmax([1.0 / 2, 0.5 / 2])])


def test_dwa_mean_is_over_the_steps_in_which_the_task_was_present():
    balancer = dwa(2)
    go(balancer, [step_of([4.0, 8.0], 0, 0), step_of([2.0, 9.0], 1, 0, absent=[1])])
    assert (balancer.sums.tolist(), balancer.counts.tolist()) == ([6.0, 8.0], [2.0, 1.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dwa_of_solved_and_of_exploding_tasks_is_finite(dtype):
    steps = [
        step_of(losses, epoch, epoch, dtype=dtype)
        for epoch, losses in enumerate([[0.0, 1e-30], [0.0, 1e15], [1.0] * 2])
    ]
    assert go(dwa(2), steps)[-1].tolist() == pytest.approx([0.0, 2.0])
    steps = [
        step_of(losses, epoch, epoch, dtype=dtype) for epoch, losses in enumerate([[0.0, 1.0], [5.0, 1.0], [1.0] * 2])
    ]
    assert go(dwa(2), steps)[-1].tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature: 0.0 given; choose a finite number above 0"),
        ({"window": 0}, "window: 0 given; choose a whole number of steps from 1, or 'epoch'"),
        ({"window": "epochs"}, "window: 'epochs' is unknown; did you mean 'epoch'"),
    ],
)
def test_dwa_options(options, message):
    with pytest.raises(UserError, match=message):
        dwa(2, **options)


def test_dtp_formula():
    balancer = dtp(3, gamma=2.0)
    expected = [-((1 - k) ** 2) * math.log(k) for k in (0.2, 0.9)] + [1.0]
    step = step_of([1.0, 2.0, 3.0], kpis=[0.2, 0.9, math.nan])
    assert weights_of(balancer, step).tolist() == pytest.approx(expected, rel=1e-5)


def test_dtp_without_metrics_is_the_sum():
    assert weights_of(dtp(2), step_of([1.0, 2.0])).tolist() == [1.0, 1.0]


def test_dtp_averages_every_new_value_once():
    balancer = dtp(1, smoothing=0.25)
    for number, kpi in enumerate([0.4, 0.4, 0.8, 0.8, math.nan, 0.8, 0.2]):
        weights_of(balancer, step_of([1.0], number, kpis=[kpi]))
        if number == 1:
            assert balancer.average.tolist() == pytest.approx([0.4])
        if number == 5:
            assert balancer.average.tolist() == pytest.approx([0.25 * 0.8 + 0.75 * 0.4])
    assert balancer.average.tolist() == pytest.approx([0.25 * 0.2 + 0.75 * 0.5])


def test_dtp_absent_task_keeps_its_average():
    balancer = dtp(2)
    weights_of(balancer, step_of([1.0, 1.0], kpis=[0.4, 0.4]))
    before = state_of(balancer)
    weights_of(balancer, step_of([1.0, 1.0], 1, absent=[1], kpis=[0.8, 0.8]))
    assert balancer.average.tolist() == pytest.approx([0.6, 0.4])
    assert balancer.seen[1] == before["seen"][1]


def test_dtp_of_hopeless_and_solved_tasks():
    found = weights_of(dtp(2, least=0.05), step_of([1.0, 1.0], kpis=[0.0, 1.0]))
    assert found.tolist() == pytest.approx([-0.95 * math.log(0.05), 0.0], rel=1e-5)


def test_dtp_options():
    with pytest.raises(UserError) as raised:
        dtp(2, gamma=-1.0, smoothing=0.0, least=1.0)
    text = str(raised.value)
    assert "gamma: -1.0 given; choose a finite number from 0" in text
    assert "smoothing: 0.0 given; choose a number above 0 and up to 1" in text
    assert "least: 1.0 given; choose a number between 0 and 1" in text


def test_smooth_tchebycheff_formula():
    balancer = smooth_tchebycheff(2, mu=0.5, preferences=[1.0, 3.0], ideal=[0.5, 1.0])
    inner = [0.25 * (2.0 - 0.5) / 0.5, 0.75 * (3.0 - 1.0) / 0.5]
    step = step_of([2.0, 3.0])
    assert value_of(balancer, step) == pytest.approx(0.5 * math.log(sum(math.exp(value) for value in inner)), rel=1e-6)
    expected = [share * weight for share, weight in zip(softmax(inner), (0.25, 0.75), strict=True)]
    assert weights_of(balancer, step).tolist() == pytest.approx(expected, rel=1e-6)


def test_smooth_tchebycheff_of_small_mu_is_the_maximum_and_of_large_mu_the_mean():
    step = step_of([2.0, 3.0, 1.0])
    assert value_of(smooth_tchebycheff(3, mu=1e-6), step) == pytest.approx(1.0)
    assert weights_of(smooth_tchebycheff(3, mu=1e-6), step).tolist() == pytest.approx([0.0, 1 / 3, 0.0])
    assert weights_of(smooth_tchebycheff(3, mu=1e6), step).tolist() == pytest.approx([1 / 9] * 3, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_tchebycheff_of_large_losses_over_a_small_mu_is_finite(dtype):
    step = step_of([1e15, 2e15], dtype=dtype)
    assert value_of(smooth_tchebycheff(2, mu=1e-30), step) == pytest.approx(1e15)
    assert weights_of(smooth_tchebycheff(2, mu=1e-30), step).tolist() == pytest.approx([0.0, 0.5])


def test_smooth_tchebycheff_preferences_are_shared_among_the_present():
    balancer = smooth_tchebycheff(3, ["a", "b", "c"], preferences={"c": 3.0, "a": 1.0, "b": 5.0})
    found = weights_of(balancer, step_of([1.0, 9.0, 1.0], absent=[1]))
    expected = [share * weight for share, weight in zip(softmax([0.25, 0.75]), (0.25, 0.75), strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_smooth_tchebycheff_ratios_to_the_nadir():
    balancer = smooth_tchebycheff(2, form="libmtl", mu=0.5, warmup=1)
    warm = [step_of([50.0, 9.0], 0, 0), step_of([2.0, 3.0], 1, 1), step_of([4.0, 5.0], 2, 1)]
    for step in warm:
        assert value_of(balancer, step) == pytest.approx(math.log(math.prod(step.losses.tolist())))
        assert weights_of(balancer, step).tolist() == pytest.approx((1 / step.losses).tolist())
    # twice each, by value and by weights: the means stay
    inner = [math.log(1.5 / 3.0) / 0.5, math.log(6.0 / 4.0) / 0.5]
    expected = 2 * 0.5 * math.log(sum(math.exp(value) for value in inner))
    assert value_of(balancer, step_of([1.5, 6.0], 3, 2)) == pytest.approx(expected)
    shares = softmax(inner)
    found = weights_of(balancer, step_of([1.5, 6.0], 4, 7))
    assert found.tolist() == pytest.approx([2 * shares[0] / 1.5, 2 * shares[1] / 6.0])


def test_smooth_tchebycheff_nadir_of_a_task_that_missed_the_warm_up_is_its_first_loss():
    balancer = smooth_tchebycheff(2, form="libmtl", warmup=0)
    weights_of(balancer, step_of([2.0, 9.0], 0, 0, absent=[1]))
    found = weights_of(balancer, step_of([1.0, 8.0], 1, 1))
    assert found.tolist() == pytest.approx([2 * (1 / 3) / 1.0, 2 * (2 / 3) / 8.0])
    weights_of(balancer, step_of([1.0, 4.0], 2, 1))
    assert (balancer.sums / balancer.counts).tolist() == [2.0, 8.0]


def test_smooth_tchebycheff_lists_every_mistake():
    with pytest.raises(UserError) as raised:
        smooth_tchebycheff(2, form="libmtl", mu=0.0, warmup=-1, preferences=[0.0, 1.0], ideal=[1.0])
    text = str(raised.value)
    for part in (
        "mu: 0.0 given; choose a finite number above 0",
        "warmup: -1 given; choose a finite number from 0",
        "preferences.0: 0.0 given; choose a finite number above 0",
        "ideal: 1 given for 2 tasks; give one for each task",
        "ideal: given, but form = 'libmtl' has none; leave it out, or choose form = 'paper'",
    ):
        assert part in text
    with pytest.raises(UserError, match="form: 'libmlt' is unknown; did you mean 'libmtl'"):
        smooth_tchebycheff(2, form="libmlt")


@pytest.mark.parametrize(
    "build",
    [
        lambda: dwa(2),
        lambda: dwa(2, window=3),
        lambda: dtp(2),
        lambda: smooth_tchebycheff(2, form="libmtl", warmup=1),
    ],
    ids=["dwa", "dwa-window", "dtp", "smooth_tchebycheff"],
)
@pytest.mark.parametrize("cut", [1, 3, 4, 6])
def test_a_resumed_run_goes_on_exactly(build, cut):
    generator = torch.Generator().manual_seed(cut)
    steps = [
        step_of(
            torch.rand(2, generator=generator).tolist(), number, number // 2,
            absent=[1] if number % 5 == 2 else [], kpis=[0.1 + 0.1 * (number // 2), math.nan if number < 4 else 0.5],
        )
        for number in range(10)
    ]  # fmt: skip
    whole = go(build(), steps)
    first, second = build(), build()
    go(first, steps[:cut])
    second.load_state_dict(first.state_dict())
    assert all(map(torch.equal, go(second, steps[cut:]), whole[cut:]))
