"""Sweeps reach the points that theory says, and go on where they stopped."""

from functools import cache

import pytest
import torch
from toys import Point, concave, concave_front, convex, convex_at

from polytask.balancing import auto_lambda, famo
from polytask.errors import UserError
from polytask.fronts import Front, fit_by, preferences, scalarize, sweep


def fit_of(method, losses, start, *, rate=0.1, steps=500, **options):
    def optimizer(parameters):
        return torch.optim.SGD(parameters, rate)

    return fit_by(
        lambda p: scalarize(method, p, **options),
        build=lambda: Point(start),
        losses=lambda model, number: losses(model.x),
        steps=steps,
        optimizer=optimizer,
    )


def on_the_ray(front: Front, at_most: float) -> None:
    weighed = front.preferences * front.values
    shares = weighed / weighed.sum(1, keepdim=True)
    assert (shares * len(front.names) - 1).abs().max() < at_most, shares


@cache
def concave_rays(method):
    options = {"mu": 0.01} if method == "smooth_tchebycheff" else {}
    fit = fit_of(method, concave, [0.3, -0.4], rate=0.06, **options)
    return sweep(fit, preferences(2, 7, least=0.15), names=["a", "b"], label=method)


@pytest.mark.parametrize(("method", "at_most"), [("tchebycheff", 0.1), ("smooth_tchebycheff", 0.2), ("epo", 0.1)])
def test_rays_meet_the_concave_front(method, at_most):
    front = concave_rays(method)
    on_the_ray(front, at_most)
    assert front.efficient().all()
    distances = (-(1 - front.values).log()).sqrt().sum(1)
    torch.testing.assert_close(distances, torch.full_like(distances, 2.0), atol=0.02, rtol=0)


def test_linear_weights_miss_the_concave_part():
    """The middle of a concave front is no minimum of any sum: all runs end near a corner of it."""
    front = sweep(fit_of("linear", concave, [0.3, -0.4], steps=200), preferences(2, 7, least=0.15))
    assert (front.values.max(1).values > 0.95).all()
    known = Front([[0.5, 0.5]] * 101, concave_front(101)).hypervolume([1.0, 1.0])
    reached, ours = (one.hypervolume([1.0, 1.0]) for one in (front, concave_rays("epo")))
    assert reached < 0.2 * known < 0.7 * known < ours <= known


@pytest.mark.parametrize("tasks", [2, 3])
def test_linear_weights_find_their_points_of_a_convex_front(tasks):
    asked = preferences(tasks, 6)
    front = sweep(fit_of("linear", convex, [0.2] * tasks, steps=300), asked)
    torch.testing.assert_close(front.values, convex_at(asked), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("method", "at_most"), [("tchebycheff", 0.05), ("epo", 0.05)])
def test_rays_meet_the_convex_front_of_three_tasks(method, at_most):
    asked = preferences(3, 3, least=0.2)
    front = sweep(fit_of(method, convex, [0.0] * 3, rate=0.03, steps=500), asked)
    on_the_ray(front, at_most)
    torch.testing.assert_close(front.values, convex_at(points_of(front.values)), atol=0.02, rtol=0)


def points_of(values):
    """``||x - e_t||^2 = ||x||^2 - 2 x_t + 1`` with the sum of x being 1."""
    tasks = values.shape[1]
    square = (values.sum(1) - tasks + 2) / tasks
    return (square.unsqueeze(1) + 1 - values) / 2


def test_a_sweep_goes_on_where_it_stopped(tmp_path):
    calls = []

    def fit(preference, seed):
        calls.append((preference.tolist(), seed))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return (1 - preference) ** 2 + seed

    options = {"names": ["a", "b"], "seeds": [0, 1], "label": "x", "folder": tmp_path / "points"}
    with pytest.raises(KeyboardInterrupt):
        sweep(fit, preferences(2, 3), **options)
    assert len(list((tmp_path / "points").iterdir())) == 3
    left = []
    front = sweep(fit, preferences(2, 3), progress=lambda point, rest: left.append((point.seeds, rest)), **options)
    assert len(calls) == 4 + 3
    assert left == [((0,), 5), ((1,), 4), ((0,), 3), ((1,), 2), ((0,), 1), ((1,), 0)]
    assert front.seeds == (0, 1) * 3
    torch.testing.assert_close(front.values[:, 0], torch.tensor([1.0, 2.0, 0.25, 1.25, 0.0, 1.0]).double())
    whole = sweep(lambda p, seed: (1 - p) ** 2 + seed, preferences(2, 3), **{**options, "folder": None})
    assert torch.equal(front.values, whole.values)


def test_a_folder_of_another_sweep_is_refused(tmp_path):
    sweep(lambda p, seed: p, preferences(2, 2), folder=tmp_path)
    for other in ({"label": "x"}, {"names": ["a", "b"]}, {"better": "greater"}):
        with pytest.raises(UserError, match=r"point-0000-seed-0.json: a point of another sweep"):
            sweep(lambda p, seed: p, preferences(2, 2), folder=tmp_path, **other)
    with pytest.raises(UserError, match="a point of another sweep"):
        sweep(lambda p, seed: p, preferences(2, 2, least=0.1), folder=tmp_path)
    (tmp_path / "point-0001-seed-0.json").write_text("{")
    with pytest.raises(UserError, match=r"point-0001-seed-0.json: holds no front"):
        sweep(lambda p, seed: p, preferences(2, 2), folder=tmp_path)


def test_seeds_decide_and_leave_the_generator_alone():
    def fit(count):
        return fit_by(
            lambda p: scalarize("linear", p),
            build=lambda: Point(torch.rand(2).tolist()),
            losses=lambda model, number: convex(model.x + 0.1 * torch.randn(2)),
            evaluate=lambda model: model.x,
            steps=count,
        )

    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, other = (sweep(fit(5), [[0.5, 0.5]], seeds=[1, 2]) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.values, other.values)
    assert not torch.equal(one.values[0], one.values[1])


def test_balancers_that_look_at_the_model_after_a_step():
    seen = []

    def losses(model, number):
        seen.append(number)
        return convex(model.x)

    fit = fit_by(lambda p: famo(2), build=lambda: Point([0.0, 0.0]), losses=losses, steps=3)
    sweep(fit, [[0.5, 0.5]])
    assert seen == [0, 0, 1, 1, 2, 2, 0]
    fit = fit_by(lambda p: auto_lambda(2), build=lambda: Point([0.0, 0.0]), losses=losses, steps=3)
    with pytest.raises(UserError, match="it learns its weights on rows that the model is not trained on"):
        sweep(fit, [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sweep(lambda p, seed: p, [0.5, 0.5]), r"sweep: preferences of shape \(2,\) and 1 seeds"),
        (lambda: sweep(lambda p, seed: p, [[0.5, 0.5]], seeds=[]), "at least one seed"),
        (lambda: sweep(lambda p, seed: [1.0], [[0.5, 0.5]]), r"preferences: shape \(1, 2\), but values have \(1, 1\)"),
        (lambda: sweep(lambda p, seed: [1.0, float("inf")], [[0.5, 0.5]]), "is not finite"),
        (lambda: scalarize("epos", [0.5, 0.5]), "method: 'epos' is unknown; did you mean 'epo'"),
        (lambda: fit_of("epo", convex, [0.0], steps=0), "steps: is 0; give a number at least 1"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()
