"""EPO search and Tchebycheff scalarization: programs against SciPy's, and where the searches come to rest."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import gradients_of, step_for
from scipy.optimize import linprog
from torch import Tensor

from polytask.balancing import backward, epo, tchebycheff
from polytask.balancing.solvers.linear import best_on_simplex
from polytask.balancing.solvers.scaled import scaled
from polytask.balancing.weightings.epo import balance, descend, non_uniformity
from polytask.errors import UserError
from polytask.testing import check_balancer

SHAPES = [(2, 1), (2, 4), (3, 2), (5, 5), (5, 9), (12, 30), (40, 60)]


def program(value, matrix, least):
    """The best value that SciPy finds."""
    count = len(value)
    found = linprog(-value, A_ub=-matrix, b_ub=-least, A_eq=np.ones((1, count)), b_eq=[1.0], method="highs")
    assert found.status == 0
    return -found.fun


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("tasks", "rank"), SHAPES)
def test_the_program_is_solved(tasks, rank, seed):
    random = np.random.default_rng(seed)
    rows = gradients_of(tasks, rank, seed=seed, spread=2.0).numpy()
    matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ (rows / np.abs(rows).max()).T
    value, least = random.normal(size=tasks), np.minimum(random.normal(size=tasks), 0.0)
    weights = best_on_simplex(value, matrix, least)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (matrix @ weights - least).min() >= -1e-9
    assert value @ weights == pytest.approx(program(value, matrix, least), abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("tasks", "rank"), SHAPES)
def test_balance_is_the_program_of_the_paper(tasks, rank, seed):
    random = np.random.default_rng(seed)
    gramian = (rows := gradients_of(tasks, rank, seed=seed).numpy()) @ rows.T
    losses, preferences = random.uniform(0.1, 3.0, size=tasks), random.dirichlet(np.ones(tasks))
    _, anchor = non_uniformity(losses, preferences)
    worst = preferences * losses == (preferences * losses).max()
    weights = balance(scaled(gramian), anchor, worst)
    slopes = gramian @ anchor
    if (slopes > 0).any():
        held = worst | (slopes <= 0)
        least = np.where(worst, 0.0, slopes)[held]
    else:
        held, least = np.ones(tasks, dtype=bool), np.zeros(tasks)
    size = np.abs(gramian).max()
    assert ((gramian[held] @ weights - least) / size).min() >= -1e-9
    best = program(anchor @ gramian / size, gramian[held] / size, least / size)
    assert anchor @ gramian @ weights / size == pytest.approx(best, abs=1e-8)


@pytest.mark.parametrize(("tasks", "rank"), SHAPES)
def test_descent_lets_no_loss_rise(tasks, rank):
    gramian = (rows := gradients_of(tasks, rank, seed=1).numpy()) @ rows.T
    weights = descend(scaled(gramian))
    size = np.abs(gramian).max()
    assert (gramian @ weights / size).min() >= -1e-9
    best = program(gramian.sum(0) / size, gramian / size, np.zeros(tasks))
    assert gramian.sum(0) @ weights / size == pytest.approx(best, abs=1e-8)


@given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=6), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_non_uniformity_is_a_divergence_with_the_anchor_as_its_slope(losses, seed):
    values = torch.tensor(losses, dtype=torch.float64, requires_grad=True)
    preferences = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(len(losses)))) + 0.01
    shares = preferences * values / (preferences * values).sum()
    divergence = (shares * (len(losses) * shares).log()).sum()
    mu, anchor = non_uniformity(values.detach().numpy(), preferences.numpy())
    assert mu == pytest.approx(divergence.item(), abs=1e-12)
    assert -1e-12 <= mu <= np.log(len(losses)) + 1e-12
    (slope,) = torch.autograd.grad(divergence * (preferences * values).sum().detach(), values)
    np.testing.assert_allclose(anchor, slope.numpy(), atol=1e-9)


def test_losses_on_the_ray_are_uniform():
    mu, anchor = non_uniformity(np.array([0.5, 1.0, 2.0]), np.array([4.0, 2.0, 1.0]))
    assert mu == pytest.approx(0.0, abs=1e-15)
    assert anchor == pytest.approx([0.0] * 3, abs=1e-14)
    assert non_uniformity(np.zeros(3), np.ones(3))[0] == 0.0


@pytest.mark.parametrize("build", [tchebycheff, epo])
def test_contract(build):
    check_balancer(build)
    check_balancer(lambda tasks: build(tasks, preferences=[0.25] * tasks, ideal=[-1.0] * tasks))


def concave(x: Tensor) -> list[Tensor]:
    """Two losses with a concave front (Fonseca and Fleming; Lin et al. 2019)."""
    shift = 1.0 / len(x) ** 0.5
    return [1.0 - (-(x - shift).square().sum()).exp(), 1.0 - (-(x + shift).square().sum()).exp()]


def rest(balancer, start: Tensor, steps: int, rate: float, losses=concave) -> Tensor:
    x = start.clone().requires_grad_()
    for number in range(steps):
        x.grad = None
        backward(losses(x), balancer)
        with torch.no_grad():
            x -= rate * 0.5 ** (4 * number / steps) * x.grad
    return torch.stack(losses(x)).detach()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("start", [[0.4, -0.3], [-0.7, -0.7], [0.1, 0.6]])
def test_epo_ends_where_the_ray_meets_the_concave_front(share, start):
    preference = torch.tensor([share, 1 - share], dtype=torch.float64)
    found = rest(epo(2, preferences=preference.tolist()), torch.tensor(start, dtype=torch.float64), 600, 0.08)
    weighed = preference * found
    assert (weighed / weighed.sum()).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    # the centres are 2 apart, and the front lies on the line between them
    distance = (-(1.0 - found).log()).sqrt()
    assert distance.sum().item() == pytest.approx(2.0, abs=5e-3)


def test_epo_from_a_pareto_point_to_another_raises_only_what_is_too_low():
    """Controlled ascent: on the front all the way, from one preference to the other."""
    x = torch.full((2,), 0.6, dtype=torch.float64, requires_grad=True)
    balancer, path = epo(2, preferences=[0.2, 0.8]), []
    for _ in range(400):
        x.grad = None
        losses = concave(x)
        path.append([loss.item() for loss in losses])
        backward(losses, balancer)
        with torch.no_grad():
            x -= 0.02 * x.grad
    first, second = np.array(path).T
    assert first[0] < 0.1 < 0.3 < first[-1]
    weighed = np.array([0.2, 0.8]) * path[-1]
    assert weighed[0] == pytest.approx(weighed[1], rel=0.05)
    assert np.diff(second).max() < 1e-3


def test_epo_with_an_ideal_point_takes_negative_losses():
    def losses(x: Tensor) -> list[Tensor]:
        return [one - 20.0 for one in concave(x)]

    balancer = epo(2, preferences=[0.3, 0.7], ideal=[-20.0, -20.0])
    found = rest(balancer, torch.tensor([0.4, -0.3], dtype=torch.float64), 600, 0.08, losses)
    weighed = torch.tensor([0.3, 0.7]) * (found + 20.0)
    assert weighed[0].item() == pytest.approx(weighed[1].item(), rel=0.05)
    with pytest.raises(UserError, match=r"tasks.like: its loss is -1 in step 1, and balancer 'epo' needs finite"):
        epo(2, ["click", "like"])(torch.eye(2), step_for(2, losses=torch.tensor([1.0, -1.0])))


def test_epo_of_three_tasks():
    centres = torch.eye(3, dtype=torch.float64)

    def losses(x: Tensor) -> list[Tensor]:
        return [(x - centre).square().sum() for centre in centres]

    preference = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    found = rest(epo(3, preferences=preference.tolist()), torch.zeros(3, dtype=torch.float64), 800, 0.05, losses)
    weighed = preference * found
    assert (weighed / weighed.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)


def test_tchebycheff_is_its_formula():
    losses = torch.tensor([3.0, 1.0, 7.0], dtype=torch.float64, requires_grad=True)
    step = step_for(3, losses=losses.detach())
    balancer = tchebycheff(3, ["a", "b", "c"], preferences={"c": 1.0, "b": 4.0, "a": 3.0}, ideal=[1.0, 0.0, 2.0])
    value = balancer(losses, step)
    assert value.item() == pytest.approx(max(3 * 2.0, 4 * 1.0, 1 * 5.0) / 8)
    assert torch.autograd.grad(value, losses)[0].tolist() == pytest.approx([3 / 8, 0, 0])


def test_tchebycheff_shares_equal_losses():
    losses = torch.tensor([2.0, 2.0], requires_grad=True)
    value = tchebycheff(2)(losses, step_for(2, losses=losses.detach()))
    assert torch.autograd.grad(value, losses)[0].tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tchebycheff(2, preferences=[0.0, 0.0]), "preferences: all are 0; give at least one task a preference"),
        (lambda: tchebycheff(2, preferences=[1.0]), "preferences: 1 given for 2 tasks; give one for each task"),
        (lambda: tchebycheff(2, preferences=[1.0, -1.0]), "preferences.1: -1.0 given; choose a finite number from 0"),
        (lambda: tchebycheff(2, ideal=[1.0, float("nan")]), "ideal.1: nan given; choose a finite number"),
        (lambda: epo(2, preferences=[1.0, 0.0]), "preferences.1: 0.0 given; choose a finite number above 0"),
        (lambda: epo(2, ideal=[1.0]), "ideal: 1 given for 2 tasks; give one for each task"),
        (lambda: epo(2, tolerance=-1.0), "tolerance: -1.0 given; choose a finite number from 0"),
        (lambda: epo(2, ["a", "b"], preferences={"a": 1.0, "c": 1.0}), "preferences.c: no task has this name"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()
