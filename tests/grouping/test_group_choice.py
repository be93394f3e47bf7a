from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from polytask.errors import MissingExtraError
from polytask.grouping.affinity import Affinity, mean_known
from polytask.grouping.choice import choose, received
from polytask.grouping.figure import draw
from polytask.grouping.objective import Group
from polytask.grouping.words import verdict

TASKS = ("click", "like", "watch", "share")
PAIRS = np.array([[0, 2, -1, -1], [2, 0, -1, -1], [-1, -1, 0, 1], [-1, -1, 1, 0.0]]) / 100
"""click and like help each other, watch and share as well, and each pair harms the other."""


def made(
    mean: np.ndarray = PAIRS, noise: float = 0.001, samples: int = 8, tasks: tuple[str, ...] = TASKS, **more: object
) -> Affinity:
    rng = np.random.default_rng(0)
    drawn = mean + noise * rng.normal(size=(samples, *mean.shape))
    units = more.pop("units", tuple((task,) for task in range(len(tasks))))
    return Affinity("pairs", tasks, mean_known(drawn), drawn, f"{samples} seeds", units, **more)  # type: ignore[arg-type]


def test_groups_that_stand_out_are_suggested() -> None:
    affinity = made()
    choice = choose(affinity)
    assert choice.suggested is choice.best and choice.exact
    assert [group.tasks for group in choice.suggested.groups] == [(0, 1), (2, 3)]
    assert choice.suggested.score == pytest.approx(0.015, abs=0.001)
    sentences = verdict(affinity, choice)
    assert sentences[0].startswith(
        "Train 2 models, (click + like) and (watch + share): training beside another task of its group saves a task +1."
    )
    assert sentences[1].startswith("One model of all tasks has ") and "above, over 8 seeds" in sentences[1]
    assert sentences[2].startswith("The best partner is ") and "(+2" in sentences[2]


def test_noise_suggests_one_model() -> None:
    affinity = made(np.full((4, 4), 0.01), noise=0.05)
    choice = choose(affinity)
    assert len(choice.best.groups) > 1 and choice.suggested is choice.candidates[0]
    first, second, *_ = verdict(affinity, choice)
    assert "no division into at most 4 groups gives more that counts" in first
    assert second.startswith("The highest score has (") and second.endswith("that is within noise.")


def test_one_sample_says_nothing_of_noise() -> None:
    affinity = made(samples=1)
    choice = choose(affinity)
    assert choice.suggested is choice.best and math.isnan(choice.candidates[0].behind.low)
    assert np.isnan(affinity.spread).all()
    assert "how much of this is noise is not known" in verdict(affinity, choice)[1]


def test_scores_of_samples_average_to_the_score() -> None:
    affinity = made(noise=0.1)
    for candidate in choose(affinity, 3, overlap=True).candidates:
        assert candidate.samples.mean() == pytest.approx(candidate.score)
        gains = [gain.mean for gain in received(affinity, candidate.groups)]
        assert np.mean(gains) == pytest.approx(candidate.score)


def test_the_spread_is_the_standard_error() -> None:
    affinity = made(noise=0.1)
    assert affinity.spread == pytest.approx(affinity.samples.std(0, ddof=1) / math.sqrt(8))
    samples = affinity.samples.copy()
    samples[0, 1, 2] = np.nan
    known = samples[1:, 1, 2]
    found = Affinity("pairs", TASKS, mean_known(samples), samples, "8 seeds", affinity.units)
    assert found.spread[1, 2] == pytest.approx(known.std(ddof=1) / math.sqrt(7))
    assert found.mean[1, 2] == pytest.approx(known.mean())


def test_who_is_harmed_and_what_is_not_known_is_said() -> None:
    mean = np.array([[0, 0.05, np.nan], [-0.01, 0, 0.05], [-0.01, 0.05, 0]])
    affinity = made(mean, tasks=TASKS[:3], units=((0, 1), (2,)), failures=(("runs/x/0", "a loss is NaN"),))
    said = " ".join(verdict(affinity, choose(affinity)))
    assert "Its group harms click (−0.98 %) by more than noise" in said
    assert "click and like are one chain and stay together." in said
    assert "1 run failed" in said
    helpful = made(np.array([[0, 3, 2], [1, 0, 4], [5, 6, 0.0]]) / 100, tasks=TASKS[:3])
    partners = "The best partner is watch for like (+6 %), the worst like for click (+"
    assert any(sentence.startswith(partners) for sentence in verdict(helpful, choose(helpful)))


def test_without_groups_or_knowledge_there_is_an_answer() -> None:
    affinity = made(np.full((4, 4), np.nan))
    choice = choose(affinity)
    assert choice.suggested is choice.candidates[0] and choice.suggested.score == 0.0
    assert verdict(affinity, choice)


def test_small_shares_are_shown_in_millionths() -> None:
    assert made().unit.signed(0.0213) == "+2.13 %"
    assert made(PAIRS / 1000, noise=1e-7).unit.signed(-0.0000213) == "−21.3 ppm"


def test_the_figure_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra 'plot'")
    affinity = made()
    draw(affinity, choose(affinity).suggested.groups, tmp_path / "affinity.png")
    assert (tmp_path / "affinity.png").read_bytes()[:4] == b"\x89PNG"
    monkeypatch.setattr("importlib.import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)))
    with pytest.raises(MissingExtraError, match=r"pip install 'polytask\[plot\]'"):
        draw(affinity, (Group((0, 1, 2, 3), (0, 1, 2, 3)),), tmp_path / "none.png")
