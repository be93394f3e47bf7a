from __future__ import annotations

import math

import numpy as np
import pytest
from made import made

from polytask.comparing.statistics import interval, paired_test
from polytask.comparing.verdict import verdict

SINGLE = [[0.80, 2.0], [0.82, 2.2], [0.78, 1.8]]


def test_gains_and_delta_by_hand() -> None:
    found = made({"single": SINGLE, "a": [[0.88, 1.8], [0.861, 2.31], [0.78, 1.8]]})
    (entry, single) = found.entries
    # buy: +.08, +.041, 0; cost, where lower is better: +.2, -.11, 0
    assert entry.gains[0] == interval([0.08, 0.041, 0.0]) or entry.gains[0].mean == pytest.approx(0.121 / 3)
    assert entry.gains[1].mean == pytest.approx((0.2 - 0.11) / 3)
    # relative: (.1 + .1) / 2, (.05 - .05) / 2, 0
    assert entry.deltas == pytest.approx([0.1, 0.0, 0.0], abs=1e-12)
    assert entry.delta.mean == pytest.approx(0.1 / 3)
    assert single.deltas.tolist() == [0.0, 0.0, 0.0] and single.delta.sign == 0


def test_the_leader_is_chosen_on_validation_alone() -> None:
    better_on_test = {"single": SINGLE, "a": [[0.9, 1.0]] * 3, "b": [[0.81, 1.9]] * 3}
    validation = {"single": SINGLE, "a": [[0.81, 1.9]] * 3, "b": [[0.9, 1.0]] * 3}
    found = made(better_on_test, validation=validation)
    assert found.leader is not None and found.leader.method.name == "b"
    assert found.leader is found.entries[0] and [one.method.name for one in found.entries] == ["b", "a", "single"]
    assert found.leader.scores[0].tolist() == [0.81] * 3  # but its test scores are shown
    assert found.best_run == "runs/b/2"  # the seed with the best validation score
    assert "did better than b by more than noise; to choose by that would be to choose on test rows" in " ".join(
        verdict(found)
    )


def test_tests_are_paired_and_corrected() -> None:
    a = [[0.84, 1.9], [0.861, 2.1], [0.83, 1.75]]
    b = [[0.83, 1.9], [0.84, 2.15], [0.80, 1.75]]
    trees = [[0.81, 2.1], [0.83, 2.0], [0.79, 1.9]]
    found = made({"single": SINGLE, "trees": trees, "a": a, "b": b})
    entries = {one.method.name: one for one in found.entries}
    assert found.best_baseline is not None and found.best_baseline.method.name == "trees"
    assert found.leader is not None and found.leader.method.name == "a"
    raw = {name: paired_test(one.deltas - entries["trees"].deltas) for name, one in entries.items()}
    first, second = sorted(("a", "b"), key=lambda name: raw[name])
    assert entries[first].versus_baseline == pytest.approx(2 * raw[first])
    assert entries[second].versus_baseline == pytest.approx(max(2 * raw[first], raw[second]))
    assert math.isnan(entries["a"].versus_leader) and math.isnan(entries["single"].versus_baseline)
    assert all(not math.isnan(entries[name].versus_leader) for name in ("b", "single", "trees"))


def test_ranks_are_means_over_tasks_and_seeds() -> None:
    found = made({"single": SINGLE, "a": [[0.9, 3.0]] * 3, "b": [[0.9, 1.0]] * 3})
    ranks = {one.method.name: one.rank for one in found.entries}
    # buy: a and b share 1.5, single is 3; cost: b 1, single 2, a 3
    assert ranks == {"a": pytest.approx(2.25), "b": pytest.approx(1.25), "single": pytest.approx(2.5)}


def test_costs_of_single_models_add_up() -> None:
    found = made({"single": SINGLE, "a": SINGLE})
    shared, single = (one.cost for one in found.entries)
    assert (shared.seconds, shared.parameters, shared.rows_per_second) == (2.0, 100, 1000.0)
    assert (single.seconds, single.parameters, single.rows_per_second) == (4.0, 200, 500.0)


def test_a_failed_run_loses_its_seed_alone_and_does_not_lead() -> None:
    found = made({"single": SINGLE, "a": [[0.99, 0.5], None, [0.99, 0.5]], "b": [[0.81, 1.95]] * 3})
    a = next(one for one in found.entries if one.method.name == "a")
    assert (a.failed, a.runs, a.delta.count) == (1, 3, 2) and np.isnan(a.scores[:, 1]).all()
    assert found.leader is not None and found.leader.method.name == "b"
    assert "1 of 12 runs failed" in " ".join(verdict(found))


def test_nothing_finished() -> None:
    found = made({"single": SINGLE, "a": [None] * 3})
    assert found.leader is None and found.best_run is None
    assert verdict(found)[0] == "No shared model can be judged: see the failures."


def test_a_task_without_a_score_leaves_delta() -> None:
    single = [[math.nan, 2.0], [math.nan, 2.0]]
    found = made({"single": single, "a": [[0.9, 1.0], [0.9, 1.0]]})
    assert found.left_out == ("buy",) and found.entries[0].delta.mean == pytest.approx(0.5)
    assert "Delta-m leaves out buy" in " ".join(verdict(found))


def test_verdict_no_difference() -> None:
    found = made(
        {"single": SINGLE, "a": [[0.81, 2.0], [0.80, 2.1], [0.79, 1.9]], "b": [[0.81, 2.1], [0.8, 2.2], [0.8, 1.8]]}
    )
    text = " ".join(verdict(found))
    assert text.startswith("No difference larger than the noise of 3 seeds between one network per task and a")
    assert "No difference larger than the noise of 3 seeds, corrected for 2 tests, between a and b." in text


def test_verdict_some_are_behind() -> None:
    noise = [[0.001, 0.0], [-0.001, 0.01], [0.0, -0.01]]
    scores = {
        name: [[row[0] + up + own[0] * twist, row[1] + own[1]] for row, own in zip(SINGLE, noise, strict=True)]
        for name, up, twist in (("a", 0.05, 1), ("b", 0.0499, -1), ("c", 0.01, 1), ("d", 0.0, 1))
    }
    text = " ".join(verdict(made({"single": SINGLE, **scores})))
    assert "a is ahead of 2 of the 3 other candidates by more than noise." in text
    assert "the noise of 3 seeds, corrected for 4 tests, between a and 1 of the 3 other candidates." in text


def test_verdict_sharing_pays_and_a_seesaw() -> None:
    found = made({"single": SINGLE, "a": [[0.90, 2.02], [0.925, 2.22], [0.88, 1.82]]})
    sentences = verdict(found)
    assert sentences[0].startswith("Sharing pays: a, chosen on validation, is +5.")
    assert sentences[1] == "A seesaw: buy (auc +0.1017) gains and cost (mae -0.0200) pays."


def test_verdict_sharing_does_not_pay() -> None:
    found = made({"single": SINGLE, "a": [[0.70, 2.5], [0.72, 2.7], [0.68, 2.3]]})
    assert verdict(found)[0].startswith("Sharing does not pay: a, the best on validation, is +18.")
    assert "below one network per task over 3 seeds" in verdict(found)[0]


def test_verdict_trees() -> None:
    a = [[0.81, 2.0], [0.80, 2.1], [0.79, 1.9]]
    trees = [[0.95, 1.0], [0.94, 1.1], [0.93, 0.9]]
    text = " ".join(verdict(made({"single": SINGLE, "trees": trees, "a": a})))
    assert "Consider trees before any network: one LightGBM model per task is +3" in text
    assert "LightGBM is better for buy and cost." in text


def test_verdict_of_one_seed() -> None:
    found = made({"single": SINGLE[:1], "a": [[0.9, 1.0]]})
    text = verdict(found)
    assert len(text) == 1 and text[0].startswith("One seed says nothing about noise: a is first on validation (+31.25%")
    assert all(gain.sign == 0 for gain in found.entries[0].gains)


def test_without_a_test_part_the_verdict_says_so() -> None:
    found = made({"single": SINGLE, "a": SINGLE}, parts=("validation",))
    assert found.part == "validation"
    assert "shown on the rows that chose it" in " ".join(verdict(found))
