"""Cases that can be computed by hand, and options."""

import math

import pytest
import torch
from properties import gradients_of, step_for, weights_of

from polytask import balancing
from polytask.errors import UserError

CONFLICT = torch.tensor([[1.0, 0.0], [-3.0, 4.0]], dtype=torch.float64)  # lengths 1 and 5, inner product -3
RIGHT = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)  # at right angles, lengths 2 and 1


@pytest.mark.parametrize(
    ("build", "gradients", "expected"),
    [
        # h_1 = g_1 + 3/25 g_2, h_2 = g_2 + 3 g_1
        (lambda: balancing.pcgrad(), CONFLICT, [4.0, 1.12]),
        (lambda: balancing.pcgrad(reduction="mean"), CONFLICT, [2.0, 0.56]),
        (lambda: balancing.gradvac(2), CONFLICT, [4.0, 1.12]),
        (lambda: balancing.upgrad(), CONFLICT, [2.0, 0.56]),
        # g_0 = (-1, 2) conflicts with g_1 alone, by 1: so much of g_1 is added
        (lambda: balancing.dualproj(), CONFLICT, [1.5, 0.5]),
        # (g_2 - g_1)'g_2 / |g_1 - g_2|^2 = 28 / 32
        (lambda: balancing.mgda(), CONFLICT, [0.875, 0.125]),
        # unit gradients with the cosine -.6: equal parts of both, (5, 1) / 6
        (lambda: balancing.imtl_g(), CONFLICT, [5 / 6, 1 / 6]),
        # v = (u_1 + u_2) / |.|, |u_1 + u_2|^2 = .8, g_t'v = .4 n_t / |.|, so d = 6 (.4 / .8) (u_1 + u_2)
        (lambda: balancing.config(), CONFLICT, [3.0, 0.6]),
        # a_t n_t = (1 - .6)^(-1/2)
        (lambda: balancing.nash_mtl(), CONFLICT, [0.4**-0.5, 0.2 * 0.4**-0.5]),
        (lambda: balancing.pcgrad(), RIGHT, [1.0, 1.0]),
        (lambda: balancing.nash_mtl(), RIGHT, [0.5, 1.0]),
        (lambda: balancing.fairgrad(), RIGHT, [4 ** (-2 / 3), 1.0]),
        (lambda: balancing.fairgrad(alpha=0.5), RIGHT, [4 ** (-1 / 3), 1.0]),
        (lambda: balancing.imtl_g(), RIGHT, [1 / 3, 2 / 3]),
        (lambda: balancing.aligned_mtl(), RIGHT, [0.25, 0.5]),
        (lambda: balancing.aligned_mtl(scale="rmse"), RIGHT, [0.25 * 2.5**0.5, 0.5 * 2.5**0.5]),
        (lambda: balancing.aligned_mtl(scale="median"), RIGHT, [0.25, 0.5]),
        (lambda: balancing.mgda(), RIGHT, [0.2, 0.8]),
        (lambda: balancing.sdmgrad(2, strength=0.0, solver="exact"), RIGHT, [0.2, 0.8]),
        (lambda: balancing.cagrad(c=0.0), RIGHT, [0.5, 0.5]),
    ],
)
def test_by_hand(build, gradients, expected):
    assert weights_of(lambda tasks: build(), gradients).tolist() == pytest.approx(expected, rel=1e-6)


def test_cagrad_of_two_equal_lengths_by_hand():
    # by symmetry g_w = g_0, so that the mean is stretched by 1 + c
    gradients = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    for rescale, divisor in (("none", 1.0), ("square", 1.25), ("linear", 1.5)):
        weights = weights_of(lambda tasks, rescale=rescale: balancing.cagrad(c=0.5, rescale=rescale), gradients)
        assert weights.tolist() == pytest.approx([0.75 / divisor] * 2)


def test_without_conflict_surgery_is_the_sum_and_projection_the_mean():
    gradients = gradients_of(5, 8, drift=3.0)
    assert weights_of(lambda tasks: balancing.pcgrad(), gradients).tolist() == [1.0] * 5
    for build in (balancing.upgrad, balancing.dualproj):
        assert weights_of(lambda tasks, build=build: build(), gradients).tolist() == pytest.approx([0.2] * 5)


def test_opposed_gradients():
    gradients = torch.tensor([[1.0, 0.0], [-4.0, 0.0]], dtype=torch.float64)
    for build in (balancing.imtl_g, balancing.mgda):  # weights of sum 1 whose step is zero
        assert weights_of(lambda tasks, build=build: build(), gradients).tolist() == pytest.approx([0.8, 0.2])
    for build in (balancing.nash_mtl, balancing.fairgrad, balancing.config):  # no step
        assert weights_of(lambda tasks, build=build: build(), gradients).tolist() == [0.0, 0.0]


def test_imtl_g_turns_uphill_where_the_sum_is_negative_and_not_with_absolute_values():
    # a small gradient almost along two large ones, seen from the other side of their plane: M^+ n sums to less than 0
    gradients = torch.tensor([[0.01, 0.0], [1.0, 0.3]], dtype=torch.float64)
    gradients = torch.stack([gradients[0], gradients[1], torch.tensor([0.5, 1.0], dtype=torch.float64)])[:2]
    n = gradients.norm(dim=1)
    raw = torch.linalg.solve(gradients @ gradients.T, n)
    published = weights_of(lambda tasks: balancing.imtl_g(), gradients)
    torch.testing.assert_close(published, raw / raw.sum())
    safe = weights_of(lambda tasks: balancing.imtl_g(total="absolute"), gradients)
    torch.testing.assert_close(safe, raw / raw.abs().sum())
    assert bool((gradients @ (safe @ gradients) > 0).all())


def test_imtl_g_of_the_paper_can_turn_uphill():
    # u_1, u_2 at a small angle on one side, the long g_3 between: the solution needs a negative multiple of short ones
    angles = torch.tensor([0.0, 0.2, 0.1], dtype=torch.float64)
    rows = torch.stack([angles.cos(), angles.sin(), torch.tensor([1.0, 1.0, 0.9], dtype=torch.float64)], dim=1)
    rows = torch.tensor([1.0, 1.0, 0.01], dtype=torch.float64).unsqueeze(1) * rows / rows.norm(dim=1, keepdim=True)
    raw = torch.linalg.solve(rows @ rows.T, rows.norm(dim=1))
    published = weights_of(lambda tasks: balancing.imtl_g(), rows)
    assert published.sum().item() == pytest.approx(1.0)
    uphill = rows @ (published @ rows)
    assert bool((uphill < 0).all()) == bool(raw.sum() < 0)
    assert raw.sum() < 0
    assert bool((rows @ (weights_of(lambda tasks: balancing.imtl_g(total="absolute"), rows) @ rows) > 0).all())


def test_nash_mtl_is_never_silently_equal_weighting():
    """LibMTL weighs all tasks by 1 where its solver is not installed, and keeps old weights where it fails."""
    for seed in range(20):
        gradients = gradients_of(4, 30, seed=seed, spread=1.0)
        weights = weights_of(lambda tasks: balancing.nash_mtl(), gradients)
        gains = gradients @ (weights @ gradients)
        torch.testing.assert_close(gains, 1.0 / weights)
        assert weights.max() / weights.min() > 1.5


def test_nash_mtl_as_in_the_authors_code():
    gradients = gradients_of(4, 30, seed=1)
    matrix = gradients @ gradients.T
    weights = weights_of(lambda tasks: balancing.nash_mtl(normalise=True), gradients)
    torch.testing.assert_close(matrix / torch.linalg.norm(matrix) @ weights, 1.0 / weights)
    clipped = weights_of(lambda tasks: balancing.nash_mtl(normalise=True, max_norm=1.0), gradients)
    assert (clipped @ gradients).norm().item() == pytest.approx(1.0)
    torch.testing.assert_close(clipped / clipped[0], weights / weights[0])
    short = weights_of(lambda tasks: balancing.nash_mtl(max_norm=100.0), gradients)
    torch.testing.assert_close(short, weights_of(lambda tasks: balancing.nash_mtl(), gradients))


def test_orders_of_surgery_are_drawn_by_seed_and_step():
    gradients = gradients_of(8, 6)
    one, again = (weights_of(lambda tasks: balancing.pcgrad(seed=1), gradients, 5) for _ in range(2))
    assert torch.equal(one, again)
    for other in (
        weights_of(lambda tasks: balancing.pcgrad(seed=2), gradients, 5),
        weights_of(lambda tasks: balancing.pcgrad(seed=1), gradients, 6),
    ):
        assert not torch.allclose(one, other)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: balancing.pcgrad(reduction="mena"), "reduction: 'mena' is unknown; did you mean 'mean'?"),
        (lambda: balancing.gradvac(2, beta=1.5), "beta: is 1.5; give a number at least 0 and at most 1"),
        (lambda: balancing.cagrad(c=1.0), "c: is 1.0; give a number at least 0 and below 1"),
        (lambda: balancing.cagrad(rescale="squar"), "rescale: 'squar' is unknown; did you mean 'square'?"),
        (lambda: balancing.imtl_g(total="sums"), "total: 'sums' is unknown; did you mean 'sum'?"),
        (lambda: balancing.nash_mtl(max_norm=-1.0), "max_norm: -1.0 given; choose a finite number from 0"),
        (lambda: balancing.fairgrad(alpha=0.0), "alpha: 0.0 given; choose a finite number above 0"),
        (lambda: balancing.aligned_mtl(scale="medain"), "scale: 'medain' is unknown; did you mean 'median' or 'min'?"),
        (lambda: balancing.sdmgrad(2, solver="sdg"), "solver: 'sdg' is unknown; did you mean 'sgd'?"),
        (lambda: balancing.sdmgrad(2, steps=0), "steps: 0 given; choose a finite number from 1"),
        (lambda: balancing.sdmgrad(2, momentum=1.0), "momentum: is 1.0; give a number at least 0 and below 1"),
        (lambda: balancing.gradnorm(2, form="sofmax"), "form: 'sofmax' is unknown; did you mean 'softmax'?"),
        (lambda: balancing.gradnorm(2, initial=[1.0]), "initial: 1 given for 2 tasks; give one for each task"),
        (lambda: balancing.gradnorm(2, ["a", "b"], initial={"a": 1.0}), "initial.b: the task has no initial"),
        (lambda: balancing.gradnorm(2, initial=[1.0, 0.0]), "initial.1: 0.0 given; choose a finite number above 0"),
    ],
)
def test_options(build, said):
    with pytest.raises(UserError) as raised:
        build()
    assert said in str(raised.value)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(UserError) as raised:
        balancing.sdmgrad(2, strength=-1.0, steps=0, learning_rate=0.0)
    assert all(name in str(raised.value) for name in ("strength", "steps", "learning_rate"))


@pytest.mark.parametrize("normalise", ["none", "l2", "loss", "loss+"])
def test_mgda_divides_gradients_before(normalise):
    gradients, losses = gradients_of(2, 5, seed=4), torch.tensor([0.5, 4.0], dtype=torch.float64)
    divisors = torch.ones(2, dtype=torch.float64)
    if normalise in ("l2", "loss+"):
        divisors = divisors * gradients.norm(dim=1)
    if normalise in ("loss", "loss+"):
        divisors = divisors * losses
    one, two = gradients / divisors.unsqueeze(1)
    gamma = ((two - one) @ two / ((one - two) @ (one - two))).clamp(0, 1).item()
    found = balancing.mgda(normalise=normalise)(gradients @ gradients.T, step_for(2, losses=losses))
    assert found.tolist() == pytest.approx([gamma, 1 - gamma], rel=1e-6)
    assert math.isclose(found.sum().item(), 1.0)
