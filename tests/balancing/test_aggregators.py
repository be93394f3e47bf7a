"""Aggregators against the formulas and the code of their authors, written down a second time."""

import numpy as np
import pytest
import torch
from properties import (
    assert_direction_invariant_under_scaling,
    assert_permutation_invariant,
    cosines,
    gradients_of,
    samples,
    step_for,
    weights_of,
)

from polytask import balancing
from polytask.errors import UserError


def given(balancer, gradients, number=0, absent=(), losses=None):
    step = step_for(len(gradients), number, absent=absent, losses=losses)
    return balancer(gradients[step.present], step)


def losses_of(tasks, number):
    return torch.rand(tasks, dtype=torch.float64, generator=torch.Generator().manual_seed(number)) + 0.1


# GradDrop


def kept_signs(gradients, direction):
    """Per column which of its two possible values the direction has: 1, -1, or 0 where they are the same."""
    positive, negative = gradients.clamp_min(0).sum(0), gradients.clamp_max(0).sum(0)
    is_positive, is_negative = torch.isclose(direction, positive), torch.isclose(direction, negative)
    assert bool((is_positive | is_negative).all())
    return is_positive.to(torch.int) - is_negative.to(torch.int)


def test_graddrop_keeps_one_sign_in_each_column():
    for gradients in samples():
        kept_signs(gradients, given(balancing.graddrop(len(gradients)), gradients))


def test_graddrop_draws_the_sign_with_its_purity():
    gradients = torch.tensor([[3.0], [-1.0]], dtype=torch.float64).expand(2, 40_000)
    share = (kept_signs(gradients, given(balancing.graddrop(2), gradients)) > 0).double().mean()
    assert share.item() == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 40_000) ** 0.5)


@pytest.mark.parametrize("leak", [0.0, 0.3])
def test_graddrop_is_the_sum_in_expectation(leak):
    gradients = gradients_of(4, 6, seed=1)
    balancer = balancing.graddrop(4, leak=leak)
    drawn = torch.stack([given(balancer, gradients, number) for number in range(4000)])
    error = drawn.std(0) / 4000**0.5
    assert bool(((drawn.mean(0) - gradients.sum(0)).abs() <= 5 * error + 1e-12).all())


def test_graddrop_leaks():
    gradients = gradients_of(3, 50, seed=3)
    everything = given(balancing.graddrop(3, leak=1.0), gradients)
    torch.testing.assert_close(everything, gradients.sum(0))
    tight = given(balancing.graddrop(3), gradients)
    first = given(balancing.graddrop(3, ["a", "b", "c"], leak={"b": 0.0, "c": 0.0, "a": 1.0}), gradients)
    # the others are dropped as before: what is new is what the first task had lost
    lost = torch.where(kept_signs(gradients, tight) > 0, gradients[0].clamp_max(0), gradients[0].clamp_min(0))
    torch.testing.assert_close(first, tight + lost)
    by_order = given(balancing.graddrop(3, leak=[1.0, 0.0, 0.0]), gradients)
    assert torch.equal(by_order, first)


def test_graddrop_leaks_belong_to_tasks_also_when_others_are_absent():
    gradients = gradients_of(3, 50, seed=3)
    found = given(balancing.graddrop(3, leak=[0.5, 0.0, 1.0]), gradients, absent=(0,))
    assert torch.equal(found, given(balancing.graddrop(2, leak=[0.0, 1.0]), gradients[1:]))


def test_graddrop_draws_anew_in_every_step_and_the_same_after_a_resume():
    gradients = gradients_of(4, 200)
    one, other, seeded = balancing.graddrop(4), balancing.graddrop(4), balancing.graddrop(4, seed=1)
    assert torch.equal(given(one, gradients, 7), given(other, gradients, 7))
    assert not torch.equal(given(one, gradients, 7), given(one, gradients, 8))
    assert not torch.equal(given(one, gradients, 7), given(seeded, gradients, 7))
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    given(one, gradients)
    assert torch.equal(torch.rand(1), before), "torch's own random numbers have moved"


def test_graddrop_scales_with_the_gradients():
    gradients = gradients_of(4, 60)
    torch.testing.assert_close(
        given(balancing.graddrop(4), 7.0 * gradients), 7.0 * given(balancing.graddrop(4), gradients)
    )


@pytest.mark.parametrize(
    ("leak", "message"),
    [
        (1.5, r"leak: is 1\.5; give a number at least 0 and at most 1"),
        ([0.0, 2.0], r"leak: 2\.0 given; choose numbers from 0 to 1"),
        ([0.0], "leak: 1 given for 2 tasks; give one for each task"),
    ],
)
def test_graddrop_refuses(leak, message):
    with pytest.raises(UserError, match=message):
        balancing.graddrop(2, leak=leak)


def test_graddrop_refuses_names_that_no_task_has():
    with pytest.raises(UserError, match=r"leak\.clik: no task has this name; did you mean 'click'\?"):
        balancing.graddrop(1, ["click"], leak={"clik": 0.1, "click": 0.1})


# The trimmed mean


@pytest.mark.parametrize(
    ("tasks", "share", "dropped"),
    [(3, 0.25, 0), (4, 0.25, 1), (10, 0.3, 3), (100, 0.29, 29), (5, 0.49, 2), (7, 0.0, 0)],
)
def test_trimmed_mean_drops_a_share_at_either_end(tasks, share, dropped):
    gradients = gradients_of(tasks, 12)
    middle = np.sort(gradients.numpy(), axis=0)[dropped : tasks - dropped]
    found = given(balancing.trimmed_mean(share=share), gradients)
    torch.testing.assert_close(found, torch.from_numpy(middle.mean(0)))


def test_one_task_cannot_move_the_trimmed_mean_beyond_the_others():
    gradients = gradients_of(5, 20)
    honest = gradients[:4]
    gradients[4] *= 1e12
    found = given(balancing.trimmed_mean(share=0.2), gradients)
    assert bool((found <= honest.max(0).values).all()) and bool((found >= honest.min(0).values).all())


def test_trimmed_mean_with_few_tasks_is_the_mean_and_with_half_the_median():
    gradients = gradients_of(3, 9)
    torch.testing.assert_close(given(balancing.trimmed_mean(), gradients), gradients.mean(0))
    torch.testing.assert_close(given(balancing.trimmed_mean(share=0.4), gradients), gradients.median(0).values)


@pytest.mark.parametrize("share", [-0.1, 0.5])
def test_trimmed_mean_refuses(share):
    with pytest.raises(UserError, match=r"share: is .*; give a number at least 0 and below 0\.5"):
        balancing.trimmed_mean(share=share)


# ExcessMTL


class PlainExcess:
    """The authors' code: weights from 1, which move from the second step on."""

    def __init__(self, tasks, rate):
        self.weights, self.sums, self.first, self.rate = np.ones(tasks), 0.0, None, rate

    def __call__(self, gradients):
        gradients = gradients.numpy()
        self.sums = self.sums + gradients**2
        excess = np.array([g @ (g / np.sqrt(s + 1e-7)) for g, s in zip(gradients, self.sums, strict=True)])
        if self.first is None:
            self.first = excess
        else:
            self.weights = self.weights * np.exp(self.rate * excess / self.first)
            self.weights = self.weights / self.weights.sum() * len(gradients)
        return torch.from_numpy(self.weights @ gradients)


@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_excess_mtl_equals_the_authors_code(rate):
    balancer, plain = balancing.excess_mtl(4, learning_rate=rate), PlainExcess(4, rate)
    for number in range(30):
        gradients = gradients_of(4, 7, seed=number) / (1 + number) * torch.tensor([[1.0], [5.0], [0.1], [1e-4]])
        torch.testing.assert_close(given(balancer, gradients, number), plain(gradients))


def test_excess_mtl_takes_weight_from_tasks_that_have_converged():
    balancer = balancing.excess_mtl(2, learning_rate=0.1)
    for number in range(50):
        given(balancer, torch.tensor([[1.0, 0.0], [0.0, 0.9**number]], dtype=torch.float64), number)
    assert balancer.logits[0] > 0 > balancer.logits[1]
    assert balancer.logits.exp().sum().item() == pytest.approx(2.0)


def test_excess_mtl_takes_the_mean_of_the_warmup_as_unit():
    balancer = balancing.excess_mtl(2, warmup=3)
    excesses, total = [], 0.0
    for number in range(3):
        gradients = gradients_of(2, 5, seed=number)
        total = total + gradients**2
        excesses.append((gradients**2 / (total + 1e-7).sqrt()).sum(1))
        torch.testing.assert_close(given(balancer, gradients, number), gradients.sum(0))  # weights do not move yet
    torch.testing.assert_close(balancer.units, torch.stack(excesses).mean(0))
    given(balancer, gradients_of(2, 5, seed=4), 3)
    assert bool((balancer.logits != 0).any())


def test_excess_mtl_waits_for_the_first_gradient_of_a_task():
    balancer = balancing.excess_mtl(2, learning_rate=1.0)
    for number in range(3):
        given(balancer, torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64), number)
        assert balancer.units[1] == 0.0 and bool(balancer.logits.isfinite().all())
    given(balancer, torch.ones(2, 2, dtype=torch.float64), 3)
    assert balancer.units[1].item() == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"learning_rate": 0.0}, "learning_rate: 0.0 given"), ({"warmup": 0}, "warmup: 0 given; choose .* from 1")],
)
def test_excess_mtl_refuses(options, message):
    with pytest.raises(UserError, match=message):
        balancing.excess_mtl(2, **options)


# MoCo


class PlainMoCo:
    """LibMTL's form, and the authors', as loops over single numbers."""

    def __init__(self, tasks, width, beta, gamma, *, libmtl, rho=0.0):
        self.y, self.weights, self.step = np.zeros((tasks, width)), np.full(tasks, 1 / tasks), 0
        self.beta, self.gamma, self.libmtl, self.rho = beta, gamma, libmtl, rho

    def __call__(self, gradients, losses):
        self.step += 1
        gradients = gradients.numpy().copy()
        if self.libmtl:
            for row, loss in zip(gradients, losses.numpy(), strict=True):
                row *= loss / np.linalg.norm(row)
        self.y -= self.beta / self.step**0.5 * (self.y - gradients)
        slope = self.y @ self.y.T + self.rho * np.eye(len(self.y))
        moved = self.weights - self.gamma / self.step**0.5 * slope @ self.weights
        self.weights = np.exp(moved) / np.exp(moved).sum() if self.libmtl else nearest(moved)
        return torch.from_numpy(self.weights @ self.y)


def nearest(point):
    """The nearest in the simplex, by bisection on the shift."""
    low, high = point.min() - 1, point.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(point - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(point - low, 0)


@pytest.mark.parametrize("rho", [0.0, 0.5])
@pytest.mark.parametrize("libmtl", [False, True], ids=["paper", "libmtl"])
def test_moco_equals_the_published_forms(libmtl, rho):
    form = {"scaling": "loss", "projection": "softmax"} if libmtl else {}
    balancer = balancing.moco(4, beta=0.5, gamma=0.3, rho=rho, **form)
    plain = PlainMoCo(4, 7, 0.5, 0.3, libmtl=libmtl, rho=rho)
    for number in range(40):
        gradients = gradients_of(4, 7, seed=number) * torch.tensor([[1.0], [3.0], [0.2], [1.0]])
        losses = losses_of(4, number)
        found, expected = given(balancer, gradients, number, losses=losses), plain(gradients, losses)
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_moco_on_one_gradient_for_ever_comes_to_mgda():
    gradients = gradients_of(4, 9, drift=0.5)
    balancer = balancing.moco(4, beta=1.0, beta_decay=0.0, gamma=0.05, gamma_decay=0.0)
    for number in range(3000):
        found = given(balancer, gradients, number)
    wanted = weights_of(lambda tasks: balancing.mgda(), gradients) @ gradients
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_moco_lets_noise_average_out():
    """The point of the method: with single batches the smallest combination would follow the noise."""
    truth, random = torch.eye(2, 6, dtype=torch.float64), torch.Generator().manual_seed(0)
    balancer = balancing.moco(2, beta=0.1, beta_decay=0.0, gamma=0.01)
    for number in range(500):
        noise = torch.randn(2, 6, dtype=torch.float64, generator=random)
        found = given(balancer, truth + noise, number)
    assert (found - truth.mean(0)).norm() < 0.5 * (noise.mean(0)).norm()


def test_moco_refuses():
    with pytest.raises(UserError) as found:
        balancing.moco(2, beta=0.0, gamma=-1.0, rho=-1.0, scaling="losses", projection="max")
    assert [problem.where for problem in found.value.problems] == ["beta", "gamma", "rho", "scaling", "projection"]
    assert "did you mean 'loss'?" in str(found.value)
    with pytest.raises(UserError, match=r"tasks\.b: its loss is -1 in step 1, and balancer 'moco' needs"):
        given(balancing.moco(2, ["a", "b"], scaling="loss"), torch.eye(2), losses=torch.tensor([1.0, -1.0]))


# DB-MTL


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_db_mtl_equals_algorithm_1(decay):
    balancer, mean = balancing.db_mtl(3, beta=0.9, beta_decay=decay), np.zeros((3, 7))
    for number in range(30):
        gradients, losses = gradients_of(3, 7, seed=number), losses_of(3, number)
        beta = 0.9 / (number + 1) ** decay
        mean = beta * mean + (1 - beta) * gradients.numpy() / (losses.numpy()[:, None] + 1e-8)
        lengths = np.linalg.norm(mean, axis=1)
        expected = lengths.max() * (mean / (lengths[:, None] + 1e-8)).sum(0)
        found = given(balancer, gradients, number, losses=losses)
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-6, atol=1e-8)


def test_db_mtl_does_not_mind_the_scale_of_a_loss():
    one, other = balancing.db_mtl(3), balancing.db_mtl(3)
    factors = torch.tensor([1.0, 1e4, 1e-2], dtype=torch.float64)
    for number in range(5):
        gradients, losses = gradients_of(3, 7, seed=number), losses_of(3, number)
        found = given(other, factors.unsqueeze(1) * gradients, number, losses=factors * losses)
        torch.testing.assert_close(found, given(one, gradients, number, losses=losses), rtol=1e-4, atol=1e-6)


def test_db_mtl_of_logarithms_that_are_given():
    one, other = balancing.db_mtl(3), balancing.db_mtl(3, logarithm=False)
    for number in range(5):
        gradients, losses = gradients_of(3, 7, seed=number), losses_of(3, number)
        of_logarithms = gradients / (losses + 1e-8).unsqueeze(1)
        found = given(other, of_logarithms, number, losses=(losses + 1e-8).log())
        torch.testing.assert_close(found, given(one, gradients, number, losses=losses))


def test_db_mtl_leaves_out_a_task_without_a_gradient():
    gradients = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    found = given(balancing.db_mtl(3, beta=0.0), gradients)
    torch.testing.assert_close(found, torch.tensor([3.0, 3.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_db_mtl_refuses():
    with pytest.raises(UserError, match="beta: is 1; give a number at least 0 and below 1"):
        balancing.db_mtl(2, beta=1)
    with pytest.raises(UserError, match=r"task 1: its loss is -1 in step 1, and balancer 'db_mtl' needs"):
        given(balancing.db_mtl(2), torch.eye(2), losses=torch.tensor([1.0, -1.0]))


# NTKMTL


def test_ntkmtl_gives_all_gradients_the_root_mean_square_of_their_lengths():
    for gradients in samples():
        lengths = gradients.norm(dim=1)
        weighted = weights_of(lambda tasks: balancing.ntkmtl(), gradients) * lengths
        torch.testing.assert_close(weighted, lengths.square().mean().sqrt().expand_as(lengths), rtol=1e-6, atol=0)


def test_ntkmtl_goes_where_the_authors_code_goes():
    gradients = gradients_of(5, 9)
    gramian = gradients @ gradients.T
    theirs = (gramian.trace() / (gramian.diagonal() + 1e-8)) ** 0.75
    ours = weights_of(lambda tasks: balancing.ntkmtl(exponent=0.75), gradients)
    torch.testing.assert_close(theirs, ours * 5**0.75, rtol=1e-6, atol=0)


def test_ntkmtl_equalises_the_largest_eigenvalues_of_kernels_of_one_part():
    gradients = gradients_of(4, 9)
    weighted = weights_of(lambda tasks: balancing.ntkmtl(), gradients).unsqueeze(1) * gradients
    largest = torch.stack([torch.linalg.eigvalsh(torch.outer(row, row)).max() for row in weighted])
    torch.testing.assert_close(largest, largest.mean().expand_as(largest))


def test_ntkmtl_claims():
    assert_direction_invariant_under_scaling(lambda tasks: balancing.ntkmtl(), gradients_of(6, 20))
    assert_permutation_invariant(lambda tasks: balancing.ntkmtl(), gradients_of(6, 20))
    zero = torch.cat([gradients_of(2, 4), torch.zeros(1, 4, dtype=torch.float64)])
    assert weights_of(lambda tasks: balancing.ntkmtl(), zero)[2] == 1.0
    assert weights_of(lambda tasks: balancing.ntkmtl(exponent=0.0), gradients_of(3, 4)).tolist() == [1.0] * 3
    assert balancing.ntkmtl().place == "parameters"
    with pytest.raises(UserError, match="exponent: -1 given; choose a finite number from 0"):
        balancing.ntkmtl(exponent=-1)


def test_orthogonal_gradients_are_all_served():
    gradients = torch.diag(torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64))
    for build in (balancing.graddrop, balancing.excess_mtl, balancing.moco, balancing.db_mtl):
        assert bool((cosines(gradients, given(build(3), gradients)) > 0).all()), build
