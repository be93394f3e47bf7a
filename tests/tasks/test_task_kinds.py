"""The formulas of each kind of task, and what its options refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.linear_model import LogisticRegression

from polytask.errors import UserError
from polytask.tasks import Task, binary, count, multiclass, ordinal, regression, stack
from polytask.types import LabelStats


def label_stats(**changes: object) -> LabelStats:
    values = {"rows": 100, "weight": 100.0, "mean": 0.25, "std": 0.4, "minimum": 0.0, "maximum": 1.0, **changes}
    return LabelStats(**values)  # type: ignore[arg-type]


# binary


def test_cross_entropy_with_weight_and_smoothing() -> None:
    z, y = torch.linspace(-4, 4, 9), torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    task = binary("like", positive_weight=3.0, label_smoothing=0.2)
    expected = F.binary_cross_entropy_with_logits(z, 0.8 * y + 0.1, pos_weight=torch.tensor(3.0), reduction="none")
    torch.testing.assert_close(task.row_losses(z[:, None], y), expected)


def test_focal_loss_by_its_definition_and_at_the_extremes() -> None:
    z, y = torch.linspace(-4, 4, 9), torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    own = torch.where(y == 1, z.sigmoid(), 1 - z.sigmoid())
    torch.testing.assert_close(binary("like", gamma=2.0).row_losses(z[:, None], y), -((1 - own) ** 2) * own.log())
    extreme = torch.tensor([[-60.0], [60.0]], requires_grad=True)
    for labels in (torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])):
        losses = binary("like", gamma=0.5).row_losses(extreme, labels)
        assert losses.isfinite().all()
        assert torch.autograd.grad(losses.sum(), extreme)[0].isfinite().all()


def test_negative_down_sampling_is_undone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60_000, 1))
    y = rng.random(60_000) < 1 / (1 + np.exp(-(x[:, 0] - 3)))
    task = binary("like", keep_negatives=0.1).fitted(label_stats(mean=float(y.mean()), rows=len(y)))
    (group,) = stack([task])
    labels = torch.from_numpy(y).float()
    keep = group.sample_mask(labels[None], np.random.default_rng(1))[0].numpy()
    assert keep[y].all()
    assert keep[~y].mean() == pytest.approx(0.1, abs=0.005)

    trained = LogisticRegression(C=1e6).fit(x[keep], y[keep])  # unbiased for the rows that were kept
    logits = torch.from_numpy(trained.decision_function(x)).float()[:, None]
    assert logits.sigmoid().mean() > 3 * labels.mean()
    assert task.predict(logits).mean().item() == pytest.approx(labels.mean().item(), rel=0.05)
    p = logits[:, 0].sigmoid()
    torch.testing.assert_close(task.predict(logits), p / (p + (1 - p) / 0.1))


def test_sampling_is_reproducible_and_per_task() -> None:
    (group,) = stack([binary("a", keep_negatives=0.2), binary("b")])
    labels = torch.zeros(2, 1_000)
    mask = group.sample_mask(labels, np.random.default_rng(3))
    assert torch.equal(mask, group.sample_mask(labels, np.random.default_rng(3)))
    assert mask[1].all()
    assert 120 < mask[0].sum() < 280


def test_balanced_weight_evens_the_classes_out() -> None:
    task = binary("like", positive_weight="balanced", keep_negatives=0.5).fitted(label_stats(mean=0.2))
    assert task.positive_weight_value == pytest.approx(0.8 * 0.5 / 0.2)


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_a_constant_label_gives_a_finite_bias(mean: float) -> None:
    (group,) = stack([binary("like").fitted(label_stats(mean=mean))])
    assert group.initial_bias().isfinite().all()


# multiclass and ordinal


def test_multiclass_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(50, 3, generator=generator), torch.randint(0, 3, (50,), generator=generator)
    plain = multiclass("tier", classes=["a", "b", "c"], label_smoothing=0.1)
    torch.testing.assert_close(
        plain.row_losses(z, y.float()), F.cross_entropy(z, y, label_smoothing=0.1, reduction="none")
    )
    weighted = multiclass("tier", classes=["a", "b", "c"], class_weights={"c": 4.0, "a": 0.5})
    expected = F.cross_entropy(z, y, weight=torch.tensor([0.5, 1.0, 4.0]), reduction="none")
    torch.testing.assert_close(weighted.row_losses(z, y.float()), expected)


def test_balanced_class_weights_have_mean_one_over_rows() -> None:
    task = multiclass("tier", class_weights="balanced").fitted(label_stats(class_weights=(60.0, 30.0, 10.0)))
    assert np.average(task.class_weight_values, weights=[60, 30, 10]) == pytest.approx(1.0)
    assert task.class_weight_values[2] == pytest.approx(100 / (3 * 10))


def test_integer_classes_are_named_by_their_text() -> None:
    task = multiclass("stars", classes=[1, 2, 3], class_weights={"3": 2.0})
    assert task.class_weight_values == (1.0, 1.0, 2.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=4, max_size=4))
def test_ordinal_probabilities_are_a_rank_consistent_distribution(logits: list[float]) -> None:
    task = ordinal("stars", classes=[1, 2, 3, 4, 5])
    z = torch.tensor([logits], dtype=torch.float64)
    p = task.predict(z)[0]
    assert (p >= 0).all()
    assert p.sum().item() == pytest.approx(1.0)
    above = 1 - p.cumsum(0)
    assert (above.diff() <= 1e-12).all()
    losses = torch.stack([task.row_losses(z, torch.tensor([float(k)]))[0] for k in range(5)])
    torch.testing.assert_close(losses, -task.predict(z)[0].clamp_min(1e-300).log(), rtol=1e-6, atol=1e-9)


def test_ordinal_loss_is_the_sum_of_conditional_binary_losses() -> None:
    z, labels = torch.tensor([[0.3, -1.0, 2.0]]).repeat(4, 1), torch.arange(4.0)
    expected = []
    for z_row, y in zip(z, labels, strict=True):
        tasks = [k for k in range(3) if y >= k]  # CORN: threshold k sees the rows that reached class k
        binary_losses = [F.binary_cross_entropy_with_logits(z_row[k], (y > k).float()) for k in tasks]
        expected.append(torch.stack(binary_losses).sum())
    torch.testing.assert_close(ordinal("stars", classes=[1, 2, 3, 4]).row_losses(z, labels), torch.stack(expected))


# regression and count


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (regression("r", scaling="none"), lambda e: e**2),
        (regression("r", scaling="none", loss="absolute"), np.abs),
        (regression("r", scaling="none", loss="huber", delta=0.5), lambda e: _huber(e, 0.5)),
        (regression("r", scaling="none", loss="quantile", quantile=0.8), lambda e: np.where(e > 0, 0.8 * e, -0.2 * e)),
    ],
)
def test_regression_losses(task: Task, expected) -> None:  # type: ignore[no-untyped-def]
    error = np.linspace(-3, 3, 13)
    losses = task.row_losses(torch.zeros(13, 1), torch.from_numpy(error).float())
    np.testing.assert_allclose(losses.numpy(), expected(error), rtol=1e-6)


def _huber(error: np.ndarray, delta: float) -> np.ndarray:
    return F.huber_loss(torch.from_numpy(error), torch.zeros(len(error)), delta=delta, reduction="none").numpy()


def test_targets_are_standardised_and_predictions_are_not() -> None:
    task = regression("time").fitted(label_stats(mean=300.0, std=50.0, maximum=900.0))
    labels = torch.tensor([250.0, 300.0, 400.0])
    torch.testing.assert_close(task.row_losses(torch.zeros(3, 1), labels), torch.tensor([1.0, 0.0, 4.0]))
    torch.testing.assert_close(task.predict(torch.tensor([[-1.0], [0.0], [2.0]])), labels)


def test_log_scaling_round_trip() -> None:
    rng = np.random.default_rng(0)
    y = np.exp(rng.normal(3.0, 2.0, 20_000))
    quantiles = tuple(np.quantile(y, np.linspace(0, 1, 101)))
    task = regression("money", scaling="log1p").fitted(label_stats(mean=y.mean(), std=y.std(), quantiles=quantiles))
    location, scale = task.location_and_scale
    assert location == pytest.approx(np.log1p(y).mean(), rel=0.02)
    assert scale == pytest.approx(np.log1p(y).std(), rel=0.05)
    z = torch.tensor([[-1.0], [0.0], [1.0]])
    expected = torch.tensor(np.expm1(location + scale * np.array([-1.0, 0.0, 1.0]))).float()
    torch.testing.assert_close(task.predict(z), expected)
    torch.testing.assert_close(task.row_losses(z, expected), torch.zeros(3), atol=1e-9, rtol=0)
    far = task.predict(torch.tensor([[-1e4], [1e4]]))
    assert far[0] == 0
    assert far[1].isfinite()
    assert task.primary_metric == "mae"
    assert task.selection_loss_name == "squared_log_error"


@settings(max_examples=50, deadline=None)
@given(y=st.integers(0, 500), log_mean=st.floats(-5, 6), dispersion=st.floats(1e-3, 5.0))
def test_count_losses_are_half_deviances(y: int, log_mean: float, dispersion: float) -> None:
    z, label, mean = torch.tensor([[log_mean]], dtype=torch.float64), torch.tensor([float(y)]), math.exp(log_mean)
    poisson = scipy_stats.poisson.logpmf(y, max(y, 1e-300)) - scipy_stats.poisson.logpmf(y, mean)
    assert count("visits").row_losses(z, label).item() == pytest.approx(poisson, rel=1e-6, abs=1e-8)

    size = float(torch.tensor(1 / dispersion))

    def log_likelihood(at: float) -> float:
        return float(scipy_stats.nbinom.logpmf(y, size, size / (size + at)))

    task = count("visits", loss="negative_binomial", dispersion=dispersion)
    expected = log_likelihood(max(y, 1e-300)) - log_likelihood(mean)
    assert task.row_losses(z, label).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_dispersion_by_moments() -> None:
    labels = scipy_stats.nbinom.rvs(2.0, 0.25, size=200_000, random_state=0)  # dispersion 1 / 2
    task = count("visits", loss="negative_binomial").fitted(
        label_stats(mean=labels.mean(), std=labels.std(), maximum=labels.max())
    )
    assert task.dispersion_value == pytest.approx(0.5, rel=0.05)
    assert count("visits").fitted(label_stats(mean=4.0, std=0.1)).dispersion_value == 1e-4


# what is refused


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(UserError) as caught:
        binary("like", positive_weight=-1.0, keep_negatives=2.0, label_smoothing=1.0, gamma=math.nan, loss="entropy")
    assert str(caught.value).splitlines() == [
        "5 problems:",
        "  1. tasks.like.loss: there is no loss 'entropy'; did you mean 'cross_entropy'? "
        'Your own is "package.module:function"',
        "  2. tasks.like.positive_weight: is -1.0; give a number above 0",
        "  3. tasks.like.keep_negatives: is 2.0; give a number above 0 and at most 1",
        "  4. tasks.like.label_smoothing: is 1.0; give a number at least 0 and below 1",
        "  5. tasks.like.gamma: is nan; give a number at least 0",
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: binary("a", positive_weight="balance"),
            "is 'balance'; did you mean 'balanced'?",
        ),
        (
            lambda: multiclass("a", class_weights=[1.0, -2.0]),
            r"a.class_weights\[1\]: is -2.0; give a number at least",
        ),
        (lambda: multiclass("a", class_weights="even"), "tasks.a.class_weights: is 'even'; choose one of balanced"),
        (lambda: regression("a", loss="hubber"), "there is no loss 'hubber'; did you mean 'huber'?"),
        (lambda: regression("a", scaling="log"), "tasks.a.scaling: is 'log'; did you mean 'log1p'?"),
        (
            lambda: regression("a", loss="quantile", quantile=1.0),
            "is 1.0; give a number above 0 and below 1",
        ),
        (lambda: regression("a", quantile=0.9), "the loss is 'squared' and does not read it; set loss = 'quantile'"),
        (lambda: regression("a", delta=True), "tasks.a.delta: is True; give a number above 0"),
        (lambda: count("a", dispersion=0.0), "tasks.a.dispersion: is 0.0; give a number at least 0.0001"),
        (lambda: ordinal("a", loss="coral"), "there is no loss 'coral'"),
    ],
)
def test_options_are_checked(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=message):
        build()


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (
            count("a"),
            {"minimum": -3.0},
            "tasks.a: the smallest of 100 labels is -3, but counts start at 0",
        ),
        (regression("a", scaling="log1p"), {"minimum": -3.0}, "tasks.a.scaling: the smallest of 100 labels is -3"),
        (multiclass("a"), {"class_weights": (100.0,)}, "a multiclass label needs at least 2 classes, found 1"),
        (ordinal("a"), {"class_weights": (100.0,)}, "an? ordinal label needs at least 2 classes, found 1"),
        (
            multiclass("a", classes=["x", "y", "z"]),
            {"class_weights": (50.0, 50.0)},
            "tasks.a.classes: 3 classes are declared, but the labels are counted in 2",
        ),
        (
            multiclass("a", class_weights={"gold": 2.0}),
            {"class_weights": (50.0, 50.0)},
            "tasks.a.class_weights: there is no class 'gold'; classes are 0, 1",
        ),
        (multiclass("a", class_weights=[1.0, 2.0]), {"class_weights": (1.0, 2.0, 3.0)}, "2 weights for 3 classes"),
    ],
)
def test_labels_that_do_not_fit_the_task(task: Task, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        task.fitted(label_stats(**changes))
