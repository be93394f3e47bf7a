"""The paper's claims on losses of which we know whether they hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from polytask.reproduce.claims import CLAIMS, judge
from polytask.reproduce.experiment import Judging
from polytask.reproduce.network import MODELS

JUDGING = Judging(resamples=500, level=0.95, far_smaller=0.5, equal=0.1, much_larger=2.0, comparable=1.25)
CORRELATIONS = (0.5, 0.9, 1.0)
Losses = npt.NDArray[np.float64]


def as_published() -> Losses:
    """[mmoe, omoe, shared-bottom] by p by run, as the paper describes them."""
    rng = np.random.default_rng(0)
    means = np.array([[1.06, 1.03, 1.0], [1.4, 1.2, 1.0], [1.9, 1.6, 1.4]])
    spread = np.array([0.02, 0.03, 0.2])[:, None, None]
    losses = means[..., None] + spread * rng.standard_normal((3, 3, 200))
    losses[..., :10] = 0.9  # the best runs are alike
    return np.maximum(losses, 0.9)


def held(losses: Losses) -> dict[str, bool]:
    findings = judge(losses, CORRELATIONS, JUDGING, seed=0)
    return {key: all(finding.held for finding in found) for key, found in findings.items()}


def test_all_claims_hold_on_losses_as_the_paper_describes_them() -> None:
    assert held(as_published()) == dict.fromkeys(CLAIMS, True)


@pytest.mark.parametrize(
    ("key", "model", "at", "change"),
    [
        ("a", "omoe", 1, 0.3),  # worse at 0.9 than at 0.5
        ("b", "mmoe", 0, 0.3),  # loses as much as the others
        ("c", "mmoe", 2, 0.5),
        ("d", "mmoe", 1, 0.8),
        ("f", "shared-bottom", 0, 0.5),
    ],
)
def test_a_claim_falls_with_the_losses_that_it_is_about(key: str, model: str, at: int, change: float) -> None:
    losses = as_published()
    losses[MODELS.index(model), at] += change  # type: ignore[arg-type]
    assert not held(losses)[key]


def test_equal_spreads_are_not_much_larger_ones() -> None:
    losses = as_published()
    mean = losses[2].mean(-1, keepdims=True)
    losses[2] = mean + (losses[2] - mean) / 10
    assert not held(losses)["e"]


def test_differences_within_noise_are_not_held() -> None:
    rng = np.random.default_rng(1)
    found = held(1.0 + 0.1 * rng.standard_normal((3, 3, 200)))
    assert found == {"a": False, "b": False, "c": True, "d": False, "e": False, "f": found["f"]}


def test_intervals_hold_the_estimate_and_shrink_with_runs() -> None:
    losses = as_published()
    wide, narrow = (judge(part, CORRELATIONS, JUDGING, seed=0)["d"] for part in (losses[..., :30], losses))
    for few, many in zip(wide, narrow, strict=True):
        assert many.low < many.estimate < many.high
        assert many.high - many.low < few.high - few.low


def test_runs_are_resampled_across_cells() -> None:
    common = np.random.default_rng(2).standard_normal(200)  # what all models share cancels in differences
    losses = np.broadcast_to(common, (3, 3, 200)) + np.array([0.0, 0.0, 0.1])[:, None, None]
    (finding, *_) = judge(losses, CORRELATIONS, JUDGING, seed=0)["d"]
    assert finding.low == pytest.approx(0.1)
    assert finding.high == pytest.approx(0.1)


def test_a_diverged_run_is_no_proof() -> None:
    losses = as_published()
    losses[2, 0, 3] = np.nan
    found = held(losses)
    assert not found["d"]
    assert found["c"]
