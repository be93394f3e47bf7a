"""`polytask reproduce neutral-balancers`: the whole program in its quick form on drawn data, and its parts."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import polytask.balancing
from polytask.balancing.interfaces import Weighting
from polytask.cli import main
from polytask.errors import UserError
from polytask.reproduce import find
from polytask.reproduce.neutral.experiment import ASKING, BALANCERS, EQUAL, SINGLE, STATIC, Static, load_neutral
from polytask.reproduce.neutral.material import material
from polytask.reproduce.neutral.measured import relative_gain
from polytask.reproduce.neutral.methods import Variant, balancing, static_weights
from polytask.reproduce.neutral.ranks import Ranking, cliques, holm, rank
from polytask.reproduce.neutral.rows import MemoryReader, Rows
from polytask.reproduce.neutral.study import best
from polytask.reproduce.neutral.training import Job, Outcome, new_training, train
from polytask.reproduce.neutral.verdict import compared, verdict

NAME = "neutral-balancers"
TOY = """
[[data_sets]]
name = "toy"
title = "Toy"
metric = "auc"

[data_sets.data]
source = "table"
table = { source = "train.parquet", validation = "validation.parquet", test = "test.parquet", drop = ["topic", "spend", "visits", "weight", "row"] }

[data_sets.data.tasks]
click = { kind = "binary", label = "click" }
starred = { kind = "binary", label = "stars >= 2" }

[data_sets.network]
encoder = { embedding = 4 }
sharing = { use = "mmoe", experts = 2, widths = [8] }

[data_sets.train]
steps = 10
batch_size = 64
evaluations = 2
learning_rates = [0.01, 0.03]

"""  # noqa: E501


def command(*arguments: str) -> int:
    try:
        main(["reproduce", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Bars: the class is where the bar lies."""
    random = np.random.default_rng(len(split))
    classes = random.integers(0, 10, 400 if split == "train" else 100)
    images = np.zeros((len(classes), 28, 28), dtype=np.uint8)
    images[np.arange(len(classes)), 4 + 2 * classes, 6:22] = 255
    return images, classes


@pytest.fixture(scope="module", autouse=True)
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Six drawn schools, drawn digits in the place of MNIST, and nothing else."""
    scipy_io = pytest.importorskip("scipy.io", reason="scipy writes the schools")
    data = tmp_path_factory.mktemp("data")
    (data / "school").mkdir()
    random = np.random.default_rng(0)
    features, scores = np.empty((1, 6), dtype=object), np.empty((6, 1), dtype=object)
    for number in range(6):
        rows = 30 + 5 * number
        features[0, number] = np.c_[random.integers(0, 2, (rows, 5)), np.ones(rows)].astype(np.uint8)
        scores[number, 0] = random.integers(1, 70, (rows, 1)).astype(np.uint8)
    scipy_io.savemat(data / "school" / "school.mat", {"X": features, "Y": scores})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYTASK_DATA", str(data))
        # the package has a function of the module's name
        patch.setattr(sys.modules["polytask.data.images.multi_mnist"], "mnist", digits)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, new_table: Any) -> Path:
    """The shipped experiment with a small table in the place of its two."""
    made = tmp_path_factory.mktemp("experiment")
    for seed, part in enumerate(("train", "validation", "test")):
        pq.write_table(new_table(300, seed).drop_columns(["history"]), made / f"{part}.parquet")
    text = (find(NAME) / "experiment.toml").read_text(encoding="utf-8")
    before, rest = text.split("[[data_sets]]", 1)
    after = rest[rest.index('[[data_sets]]\nname = "school"') :].replace("validation = 5000", "validation = 60")
    after = after.replace("schools = 20", "schools = 6")
    (made / "experiment.toml").write_text(before + TOY + after, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reproduction") / "out"
    assert command(str(folder), "--quick", "--out", str(made)) == 0
    return made


def test_results_table_and_figures_are_written(out: Path) -> None:
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["quick"]
    toy, school, images = results["data_sets"]
    assert toy["tasks"] == ["click", "starred"]
    assert len(school["tasks"]) == 5
    assert images["tasks"] == ["left", "right"]
    for one in (toy, school, images):
        assert [row["method"] for row in one["methods"]][:3] == [SINGLE, STATIC, EQUAL]
        single = next(row for row in one["methods"] if row["method"] == SINGLE)
        assert single["gain"]["mean"] == pytest.approx(0.0, abs=1e-9)
        for row in one["methods"][1:]:
            assert row["step_seconds"] > 0
            assert sum(row["weights"]) == pytest.approx(len(one["tasks"]) if row["method"] == STATIC else 0.0)
    ranking = results["ranking"]
    methods = len(toy["methods"]) - 1
    assert ranking["blocks"] == 6
    assert SINGLE not in ranking["mean_ranks"]
    assert sum(ranking["mean_ranks"].values()) == pytest.approx(methods * (methods + 1) / 2)
    assert results["ranking_over_data_sets"]["blocks"] == 3
    for name in ("critical-difference", "toy", "school", "multi-mnist"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    table = (out / "table.md").read_text(encoding="utf-8")
    assert all(f"- {sentence}\n" in table for sentence in results["verdict"])
    assert "| method | mean rank | by data sets | p against static | Toy, gain % | School, gain % |" in table


def test_resume_does_what_is_missing_and_nothing_else(
    folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    shutil.copytree(out, again)
    cell = again / "cells" / "toy" / "mgda" / "run-000.json"
    before = json.loads(cell.read_text(encoding="utf-8"))
    cell.unlink()
    assert command(str(folder), "--quick", "--resume", "--out", str(again)) == 0
    said = capsys.readouterr().out
    assert said.count("about 0 min left") == 1
    assert "toy, mgda, learning rate 0.01" in said
    assert json.loads(cell.read_text(encoding="utf-8"))["test"] == pytest.approx(before["test"])


def test_a_used_folder_needs_resume_and_the_same_settings(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(str(folder), "--quick", "--out", str(out)) == 2
    assert "add --resume" in capsys.readouterr().err
    assert command(str(folder), "--resume", "--out", str(out)) == 2
    assert "holds results under other settings (data_sets, speed_rounds, static)" in capsys.readouterr().err
    assert command(str(folder), "--quick", "--threads", "2", "--out", str(out)) == 2
    assert "use --workers" in capsys.readouterr().err


def test_the_shipped_file_has_every_balancer_that_asks_for_nothing() -> None:
    experiment = load_neutral(find(NAME))
    assert set(experiment.methods) == set(BALANCERS)
    assert set(polytask.balancing.__all__) == {*BALANCERS, *ASKING}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"equal", ', "", "methods: equal is missing"),
        ('"mgda"', '"mdga"', "no balancer is named 'mdga'; did you mean 'mgda'"),
        ('"mgda"', '"equal"', "one stands there twice"),
        ('name = "toy"', 'name = "school"', "data_sets: two have one name"),
        ("widths = [8] }\n", 'widths = [8] }\nsingles = "together"\n', "data_sets.toy.network.singles: 'together'"),
        ("train = 0.6", "train = 0.8", "data_sets.school.data: train and validation leave no rows"),
    ],
)
def test_the_file_is_checked(folder: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (folder / "experiment.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "experiment.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_neutral(tmp_path)


def test_absent_data_are_an_error(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"data set 'school': school\.mat is not in .*; set POLYTASK_DATA"):
        material(load_neutral(folder).data_sets[1], folder, seed=0)


def test_every_pupil_has_the_label_of_one_school(folder: Path) -> None:
    data_set = load_neutral(folder).quick().data_sets[1]
    made = material(data_set, folder, seed=0)
    counts = {part: rows.observed.sum(1).tolist() for part, rows in made.parts.items()}
    # the five largest of six, 35 to 55 pupils
    assert counts == {
        "train": [21, 24, 27, 30, 33],
        "validation": [7, 8, 9, 10, 11],
        "test": [7, 8, 9, 10, 11],
    }
    for rows in made.parts.values():
        assert (rows.observed.sum(0) == 1).all()
        assert rows.numeric.shape[1] == 5


def test_readers_give_every_row_once_an_epoch() -> None:
    numbers = torch.arange(10.0)
    rows = Rows(
        torch.zeros(10, 0, dtype=torch.int32), numbers[:, None], numbers[None], torch.ones(1, 10).bool(), ("a",)
    )
    reader = MemoryReader(rows)
    given = reader.shuffled(4, seed=0)
    epochs = [[next(given) for _ in range(3)] for _ in range(2)]
    orders = [torch.cat([batch.labels["a"] for _, batch in epoch]) for epoch in epochs]
    assert all(torch.equal(order.sort().values, numbers) for order in orders)
    assert not torch.equal(*orders)
    position, _ = epochs[0][1]
    again = next(reader.shuffled(4, seed=0, start=position))[1]
    assert torch.equal(again.labels["a"], epochs[0][2][1].labels["a"])
    assert torch.equal(torch.cat([batch.features.numeric for batch in reader.ordered(4)])[:, 0], numbers)
    assert len(rows.some(4, 0)) == 4
    assert rows.some(None, 0) is rows


def test_stacked_single_networks_do_not_touch_one_another(folder: Path) -> None:
    data_set = load_neutral(folder).quick().data_sets[1]
    made = material(data_set, folder, seed=0)
    training = new_training(Job(1, Variant(SINGLE), 0.01, 0, ""), data_set, made)
    features = next(MemoryReader(made.parts["train"]).ordered(8)).features
    value = training.model.double().sharing(features.numeric.double()).value
    grads = torch.autograd.grad(value[0].sum(), list(training.model.sharing.parameters()))
    assert all((grad[1:] == 0).all() and (grad[0] != 0).any() for grad in grads if grad.shape[0] == 5)
    assert any(grad.shape[0] == 5 for grad in grads)


def test_what_is_not_finite_is_an_outcome(folder: Path) -> None:
    data_set = load_neutral(folder).quick().data_sets[1]
    made = material(data_set, folder, seed=0)
    made.parts["train"].numeric[:] = math.inf
    outcome = train(Job(1, Variant(EQUAL), 0.01, 0, ""), data_set, made)
    assert "its loss is not finite" in outcome.diverged
    assert outcome.objective == -math.inf
    assert outcome.test == {}


def test_weightings_compare_where_the_data_set_says(folder: Path) -> None:
    tasks = material(load_neutral(folder).quick().data_sets[1], folder, seed=0).tasks
    for name in BALANCERS:
        made = balancing(Variant(name), tasks, "last_layer", 0)
        assert (made.at == "last_layer") == isinstance(made.balancer, Weighting), name


def test_static_weights_sum_to_the_number_of_tasks() -> None:
    for tasks in (2, 3, 20):
        found = static_weights(Static(settings=6, concentration=1.0), tasks, seed=0)
        assert len(set(found)) == 6
        for weights in found:
            assert len(weights) == tasks
            assert sum(weights) == pytest.approx(tasks)
            assert min(weights) > 0
            assert weights != (1.0,) * tasks


def test_lower_errors_are_gains() -> None:
    test, single = np.array([[1.0, 4.0], [2.0, math.nan]]), np.array([2.0, 4.0])
    np.testing.assert_allclose(relative_gain(test, single, lower=True), [25.0, math.nan])
    np.testing.assert_allclose(relative_gain(test, single, lower=False), [-25.0, math.nan])


def test_the_best_trial_has_a_score() -> None:
    def outcome(validation: float | None) -> Outcome:
        return Outcome(0.1, (), 0, validation, 1, {}, 1.0)

    assert best([outcome(None), outcome(-3.0), outcome(-2.0)]).validation == -2.0


def test_friedman_and_nemenyi_as_in_demsar() -> None:
    # Demsar 2006, section 3.2.2 and table 6: four algorithms on 14 data sets
    auc = [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]  # fmt: skip
    found = rank(["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"], np.array(auc), level=0.05)
    np.testing.assert_allclose(list(found.mean.values()), [3.143, 2.000, 2.893, 1.964], atol=1e-3)
    # 9.28 there, without the correction for ties: one of four, three of two
    assert found.statistic == pytest.approx(9.28 / (1 - (60 + 3 * 6) / (14 * 60)), abs=0.02)
    assert found.difference == pytest.approx(1.25, abs=0.01)
    against = found.against("C4.5")
    # p = .019, .607 and .016 there; Holm: 3 times the lowest, the next is not lower
    np.testing.assert_allclose(list(against.values()), [0.047, 0.607, 0.047], atol=2e-3)


def test_diverged_methods_rank_last() -> None:
    found = rank(["a", "b", "c"], np.array([[math.nan, 1.0, 2.0], [3.0, math.nan, math.nan]]), level=0.05)
    assert found.ranks.tolist() == [[3.0, 2.0, 1.0], [1.0, 2.5, 2.5]]


def test_holm_never_falls() -> None:
    assert holm([0.04, 0.001, 0.5, 0.02]) == pytest.approx([0.08, 0.004, 0.5, 0.06])
    assert holm([0.6, 0.6]) == [1.0, 1.0]


def test_bars_join_what_lies_within_the_difference() -> None:
    assert cliques([1.0, 5.0, 9.0], 2.0) == []
    assert cliques([1.0, 2.0, 3.0], 9.0) == [(0, 2)]


def ranking(mean: dict[str, float], blocks: int = 40) -> Ranking:
    return Ranking(tuple(mean), np.tile(list(mean.values()), (blocks, 1)), 9.0, 0.01, 1.0)


def test_the_verdict_names_who_is_better_and_worse() -> None:
    found = ranking({STATIC: 2.5, EQUAL: 2.5, "mgda": 1.0, "famo": 4.0})
    assert compared(found, STATIC, level=0.05) == [
        "Significantly better than tuned static weights at 5 % is mgda.",
        "Significantly worse than tuned static weights at 5 % is famo.",
    ]
    sentences = verdict(found, ranking({STATIC: 1.0, EQUAL: 2.0, "mgda": 3.0, "famo": 4.0}, 2), level=0.05)
    assert sentences[0].startswith("Over data sets and seeds the 4 methods differ (Friedman, 40 blocks")
    assert sentences[-1].startswith("The lowest mean rank has mgda (1.0 of 4); tuned static weights are number 2 (2.5)")
    level = ranking({STATIC: 2.4, EQUAL: 2.5, "mgda": 2.5, "famo": 2.6})
    assert compared(level, STATIC, level=0.05) == [
        "No balancer is significantly better than tuned static weights at 5 %.",
        "None is significantly worse than tuned static weights at 5 %.",
    ]
