"""What the papers claim of each method, on gradients of many kinds."""

import pytest
import torch
from properties import (
    assert_direction_invariant_under_scaling,
    assert_linear_under_scaling,
    assert_non_conflicting,
    assert_permutation_invariant,
    assert_rests_when_stationary,
    cosines,
    direction_of,
    gradients_of,
    samples,
    step_for,
    weights_of,
)

from polytask import balancing

NON_CONFLICTING = {
    "mgda": lambda tasks: balancing.mgda(),
    "upgrad": lambda tasks: balancing.upgrad(),
    "dualproj": lambda tasks: balancing.dualproj(),
    "nash_mtl": lambda tasks: balancing.nash_mtl(),
    "fairgrad": lambda tasks: balancing.fairgrad(),
    "fairgrad 5": lambda tasks: balancing.fairgrad(alpha=5.0),
    "sdmgrad mgda": lambda tasks: balancing.sdmgrad(tasks, strength=0.0, solver="exact"),
}
NON_CONFLICTING_IF_INDEPENDENT = {
    "imtl_g absolute": lambda tasks: balancing.imtl_g(total="absolute"),
    "config": lambda tasks: balancing.config(),
}
OTHERS = {
    "mgda l2": lambda tasks: balancing.mgda(normalise="l2"),
    "cagrad": lambda tasks: balancing.cagrad(),
    "aligned_mtl": lambda tasks: balancing.aligned_mtl(),
    "sdmgrad": lambda tasks: balancing.sdmgrad(tasks, solver="exact"),
}
UNORDERED = {**NON_CONFLICTING, **NON_CONFLICTING_IF_INDEPENDENT, **OTHERS}


@pytest.mark.parametrize("build", NON_CONFLICTING.values(), ids=NON_CONFLICTING)
def test_non_conflicting(build):
    for gradients in samples():
        assert_non_conflicting(build, gradients)


@pytest.mark.parametrize("build", NON_CONFLICTING_IF_INDEPENDENT.values(), ids=NON_CONFLICTING_IF_INDEPENDENT)
def test_non_conflicting_for_independent_gradients(build):
    for gradients in samples(regular=True):
        assert_non_conflicting(build, gradients)


@pytest.mark.parametrize("build", [balancing.pcgrad, lambda: balancing.gradvac(2)], ids=["pcgrad", "gradvac"])
def test_two_tasks_do_not_conflict_after_surgery(build):
    for seed in range(20):
        assert_non_conflicting(lambda tasks: build(), gradients_of(2, 3, seed=seed))


@pytest.mark.parametrize("build", UNORDERED.values(), ids=UNORDERED)
def test_permutation_invariant(build):
    for gradients in (gradients_of(6, 20), gradients_of(7, 7, drift=0.3), gradients_of(5, 12, spread=1.0)):
        assert_permutation_invariant(build, gradients)


@pytest.mark.parametrize("build", [lambda tasks: balancing.upgrad(), lambda tasks: balancing.pcgrad()])
def test_linear_under_scaling(build):
    for gradients in (gradients_of(6, 20), gradients_of(7, 7, drift=0.3), gradients_of(5, 3)):
        assert_linear_under_scaling(build, gradients)


@pytest.mark.parametrize("name", ["nash_mtl", "imtl_g absolute", "config", "mgda l2"])
def test_the_direction_does_not_mind_the_scale_of_a_loss(name):
    build = UNORDERED[name]
    if name == "mgda l2":  # weights belong to the gradients as they are, so its claim is about what it compares
        matrix = gradients_of(5, 12, seed=1)
        one, two = (weights_of(build, factor * matrix) for factor in (1.0, 7.0))
        torch.testing.assert_close(one, two)
        return
    for gradients in (gradients_of(5, 12, seed=1), gradients_of(4, 5, drift=0.3)):
        assert_direction_invariant_under_scaling(build, gradients)


def test_fairgrad_minds_the_scale_of_a_loss_but_for_alpha_one():
    gradients = gradients_of(5, 12, seed=1)
    assert_direction_invariant_under_scaling(lambda tasks: balancing.fairgrad(alpha=1.0), gradients)
    with pytest.raises(AssertionError):
        assert_direction_invariant_under_scaling(lambda tasks: balancing.fairgrad(alpha=2.0), gradients)


@pytest.mark.parametrize(
    "name",
    ["mgda", "upgrad", "dualproj", "nash_mtl", "fairgrad", "fairgrad 5", "imtl_g absolute", "config", "sdmgrad mgda"],
)
def test_pareto_stationary_points_are_fixed(name):
    build = UNORDERED[name]
    for tasks, rank in ((2, 3), (5, 9), (5, 4), (12, 30)):
        assert_rests_when_stationary(build, gradients_of(tasks, rank, drift=-1.0))


@pytest.mark.parametrize("name", ["imtl_g absolute", "config"])
def test_equal_angles(name):
    for gradients in (gradients_of(5, 12, spread=2.0), gradients_of(20, 30), gradients_of(3, 3)):
        found = cosines(gradients, direction_of(UNORDERED[name], gradients))
        torch.testing.assert_close(found, found.mean().expand_as(found), rtol=1e-6, atol=1e-9)
        assert found[0] > 0


def test_aligned_gradients_have_condition_number_one():
    gradients = gradients_of(5, 12, seed=3)
    values, vectors = torch.linalg.eigh(gradients @ gradients.T)
    aligned = values[0].sqrt() * vectors @ torch.diag(values.rsqrt()) @ vectors.T @ gradients
    torch.testing.assert_close(aligned @ aligned.T, values[0] * torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(direction_of(UNORDERED["aligned_mtl"], gradients), aligned.mean(0))


def test_nash_steps_have_the_length_of_the_root_of_tasks():
    for gradients in (gradients_of(5, 12), gradients_of(9, 20, spread=2.0)):
        assert direction_of(UNORDERED["nash_mtl"], gradients).norm().item() == pytest.approx(len(gradients) ** 0.5)


@pytest.mark.parametrize("build", UNORDERED.values(), ids=UNORDERED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_whatever_comes(build, dtype):
    for gradients in samples():
        matrix = (gradients.to(dtype) @ gradients.to(dtype).T) if dtype == torch.float64 else _single(gradients)
        weights = build(len(matrix))(matrix, step_for(len(matrix)))
        assert weights.dtype == dtype
        assert bool(weights.isfinite().all())


def _single(gradients):
    """A Gramian of single precision, of gradients that it can hold."""
    rows = (gradients / gradients.norm().clamp_min(1e-30)).float() * 1e-3
    return rows @ rows.T


@pytest.mark.parametrize("name", sorted(UNORDERED))
def test_a_gradient_of_zero_does_not_disturb(name):
    gradients = gradients_of(4, 9)
    gradients[2] = 0.0
    weights = weights_of(UNORDERED[name], gradients)
    assert bool(weights.isfinite().all())
    if name in ("upgrad", "dualproj", "cagrad", "aligned_mtl", "sdmgrad"):
        assert (weights @ gradients).norm() > 0.0  # those that take a mean go on with the others


@pytest.mark.parametrize("size", [1e-15, 1e15])
@pytest.mark.parametrize("name", sorted(UNORDERED))
def test_a_scale_in_common_changes_the_length_of_the_step_at_most(name, size):
    gradients = gradients_of(4, 9, seed=2)
    one, two = (direction_of(UNORDERED[name], scale * gradients) for scale in (1.0, size))
    assert torch.cosine_similarity(one / one.norm(), two / two.norm(), dim=0).item() == pytest.approx(1.0)
