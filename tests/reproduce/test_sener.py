"""`polytask reproduce sener-2018-mgda`: the whole program in its quick form, on drawn digits and faces."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polytask.balancing import backward
from polytask.balancing.solvers.min_norm import min_norm_weights
from polytask.cli import main
from polytask.data.images import LabelledImages
from polytask.errors import UserError
from polytask.reproduce import find
from polytask.reproduce.sener import reproduce_sener
from polytask.reproduce.sener.claims import CLAIMS, Judge
from polytask.reproduce.sener.experiment import METHODS, Group, Judging, SenerExperiment, load_sener
from polytask.reproduce.sener.measured import Row
from polytask.reproduce.sener.methods import Variant, balancing, variants
from polytask.reproduce.sener.network import MultiTaskNetwork
from polytask.reproduce.sener.table import verdict
from polytask.reproduce.sener.training import Job, Outcome, Steps, train

NAME = "sener-2018-mgda"
HAVE_MNIST = (Path(os.environ.get("POLYTASK_DATA", "missing")) / "mnist").is_dir()
ATTRIBUTES = ("Bald", "Smiling", "Young")


def command(*arguments: str) -> int:
    try:
        main(["reproduce", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Bars: the class is where the bar lies."""
    random = np.random.default_rng(len(split))
    classes = random.integers(0, 10, 700 if split == "train" else 200)
    images = np.zeros((len(classes), 28, 28), dtype=np.uint8)
    images[np.arange(len(classes)), 4 + 2 * classes, 6:22] = 255
    return images, classes


def write_faces(home: Path) -> None:
    """CelebA of 24 images, in which what is bald is bright."""
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the images")
    (home / "img_align_celeba").mkdir(parents=True)
    values = np.random.default_rng(0).choice([-1, 1], (24, len(ATTRIBUTES)))
    files = [f"{number:06d}.jpg" for number in range(1, 25)]
    for file, row in zip(files, values, strict=True):
        pixels = np.full((22, 18, 3), 200 if row[0] > 0 else 40, dtype=np.uint8)
        image.fromarray(pixels).save(home / "img_align_celeba" / file)
    rows = [" ".join([file, *map(str, row)]) for file, row in zip(files, values.tolist(), strict=True)]
    (home / "list_attr_celeba.txt").write_text("\n".join(["24", " ".join(ATTRIBUTES), *rows, ""]))
    lines = [f"{file} {number % 3}\n" for number, file in enumerate(files)]
    (home / "list_eval_partition.txt").write_text("".join(lines))


@pytest.fixture(scope="module", autouse=True)
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Drawn digits in the place of MNIST, and a folder of data sets that is empty."""
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYTASK_DATA", str(data))
        # the package has a function of the module's name
        patch.setattr(sys.modules["polytask.data.images.multi_mnist"], "mnist", digits)
        yield data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped experiment with fewer digits set aside."""
    made = tmp_path_factory.mktemp("experiment") / NAME
    shutil.copytree(find(NAME), made)
    text = (made / "experiment.toml").read_text(encoding="utf-8")
    (made / "experiment.toml").write_text(text.replace("validation = 5000", "validation = 100"), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reproduction") / "out"
    assert command(str(folder), "--quick", "--out", str(made)) == 0
    return made


@pytest.fixture(scope="module")
def experiment(folder: Path) -> SenerExperiment:
    return load_sener(folder)[0]


def parts(*, train: int = 600) -> dict[str, LabelledImages]:
    """Two bars one beside the other, so that both tasks are easy."""
    found = {}
    for seed, (name, count) in enumerate({"train": train, "validation": 60, "test": 100}.items()):
        classes = np.random.default_rng(seed).integers(0, 10, (2, count))
        images = np.zeros((count, 1, 28, 28), dtype=np.uint8)
        for task, columns in enumerate((slice(2, 13), slice(15, 26))):
            images[np.arange(count), 0, 4 + 2 * classes[task], columns] = 255
        found[name] = LabelledImages(images, classes, ("left", "right"))
    return found


def test_results_tables_and_figure_are_written(out: Path) -> None:
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["quick"]
    digits_, faces = results["groups"]
    assert digits_["tasks"] == ["left", "right"]
    assert [one["method"] for one in digits_["methods"]] == list(METHODS)
    for one in digits_["methods"]:
        np.testing.assert_allclose(one["mean"], np.mean(one["test"], axis=1))
        np.testing.assert_allclose(one["std"], np.std(one["test"], axis=1, ddof=1))
        assert one["step_seconds"] > 0
    assert [claim["key"] for claim in digits_["claims"]] == list(CLAIMS)
    assert "img_align_celeba" in faces["skipped"]
    assert faces["methods"] == []
    assert (out / "multi-mnist.png").read_bytes().startswith(b"\x89PNG")
    tables = (out / "tables.md").read_text(encoding="utf-8")
    assert "| MGDA-UB | 97.26 |" in tables
    assert "| MGDA-UB | 8.25 |  |  |  |" in tables
    assert "Skipped: list_attr_celeba.txt" in tables


def test_resume_does_what_is_missing_and_nothing_else(
    folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    shutil.copytree(out, again)
    cells = again / "cells" / "multi-mnist" / "mgda_ub"
    kept, lost, cut = cells / "trial-0.01.json", cells / "run-000.json", cells / "run-001.json"
    before = {file: json.loads(file.read_text(encoding="utf-8")) for file in (kept, lost, cut)}
    lost.unlink()
    cut.write_text("{", encoding="utf-8")
    assert command(str(folder), "--quick", "--resume", "--out", str(again)) == 0
    said = capsys.readouterr().out
    assert "multi-mnist, run 15 of 16: mgda_ub" in said
    assert "multi-mnist, trial" not in said
    for file in (lost, cut):
        after = json.loads(file.read_text(encoding="utf-8"))
        assert after["validation"] == pytest.approx(before[file]["validation"], abs=0.02)
    assert json.loads(kept.read_text(encoding="utf-8")) == before[kept]


def test_a_used_folder_needs_resume_and_the_same_settings(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(str(folder), "--quick", "--out", str(out)) == 2
    assert "add --resume" in capsys.readouterr().err
    assert command(str(folder), "--resume", "--out", str(out)) == 2
    assert "holds results under other settings (groups, speed_rounds)" in capsys.readouterr().err
    assert command(str(folder), "--quick", "--threads", "2", "--out", str(out)) == 2
    assert "use --workers" in capsys.readouterr().err


def test_faces_are_trained_where_they_are(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_faces(tmp_path / "celeba")
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    text = (folder / "experiment.toml").read_text(encoding="utf-8")
    before, rest = text.replace("size = 64", "size = 32").split("[[groups]]", 1)
    (tmp_path / "experiment.toml").write_text(before + "[[groups]]" + rest.split("[[groups]]", 1)[1])
    shutil.copy(folder / "expected.toml", tmp_path)
    result = reproduce_sener(tmp_path, tmp_path / "out", quick=True)
    (faces,) = result.groups
    assert faces.tasks == ATTRIBUTES
    assert [row.method for row in faces.rows] == [method for method in METHODS if method != "static"]
    assert all(row.right.shape == (2, 3, 8) for row in faces.rows)
    tables = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert "| method | error, paper | error, ours | learning rate | s per epoch |" in tables
    assert "| Uniform | 9.62 | " in tables
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.slow
@pytest.mark.skipif(not HAVE_MNIST, reason="POLYTASK_DATA names no folder with mnist in it")
def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("POLYTASK_DATA", REAL_DATA)
    monkeypatch.setattr(sys.modules["polytask.data.images.multi_mnist"], "mnist", REAL_MNIST)
    found = [
        reproduce_sener(find(NAME), tmp_path / str(workers), quick=True, workers=workers).groups[0].rows
        for workers in (1, 2)
    ]
    for one, two in zip(*found, strict=True):
        assert (one.method, one.share) == (two.method, two.share)
        np.testing.assert_allclose(one.accuracy, two.accuracy, atol=0.01)


REAL_DATA = os.environ.get("POLYTASK_DATA", "")
REAL_MNIST = sys.modules["polytask.data.images.multi_mnist"].mnist  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(experiment: SenerExperiment, method: Any) -> None:
    group = experiment.groups[0]
    variant = next(one for one in variants(group, ("left", "right")) if one.method == method)
    schedule = group.train.model_copy(update={"batch_size": 50, "halve_every": 100})
    with torch.random.fork_rng():
        job = Job(0, variant, 0.02, 1, "")
        _, outcome = train(job, group.model_copy(update={"train": schedule}), parts(), epochs=6)
    assert set(outcome.test) == ({"left"} if method == "single_task" else {"left", "right"})
    assert min(outcome.test.values()) > 0.8
    assert outcome.objective == pytest.approx(np.mean(list(outcome.validation.values())))
    for task, accuracy in outcome.test.items():
        assert outcome.right(task, 100).mean() == pytest.approx(accuracy)
    assert Outcome(**json.loads(json.dumps(outcome.as_json()))) == outcome


def test_a_divergent_rate_is_an_outcome(experiment: SenerExperiment) -> None:
    with torch.random.fork_rng():
        _, outcome = train(Job(0, Variant("uniform"), 1e30, 1, ""), experiment.groups[0], parts(), epochs=2)
    assert "not finite" in outcome.diverged
    assert outcome.objective == -np.inf
    assert not outcome.right("left", 0).any()


def gradients(network: MultiTaskNetwork) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("place", ["parameters", "representation"])
def test_mgda_weighs_where_it_says(experiment: SenerExperiment, place: str) -> None:
    """Against plain autograd: the Gramian there, the smallest combination, and heads with their own gradient."""
    group, images = experiment.groups[0], parts(train=20)["train"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MultiTaskNetwork(group, 2).double()
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    seen: list[torch.Tensor] = []
    handle = network.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    losses = network.losses(pixels, labels)
    handle.remove()
    shared = list(network.encoder.parameters())
    at = shared if place == "parameters" else seen
    rows = [torch.autograd.grad(loss, at, retain_graph=True) for loss in losses]
    flat = torch.stack([torch.cat([grad.flatten() for grad in row]) for row in rows])
    weights = torch.from_numpy(min_norm_weights((flat @ flat.T).numpy()))
    expected = torch.autograd.grad(weights @ torch.stack(losses), shared, retain_graph=True)
    heads = torch.autograd.grad(torch.stack(losses).sum(), list(network.heads.parameters()), retain_graph=True)

    method = "mgda" if place == "parameters" else "mgda_ub"
    found = backward(network.losses(pixels, labels), balancing(Variant(method), group, 2))
    torch.testing.assert_close(found, weights)
    torch.testing.assert_close([p.grad for p in shared], list(expected))
    torch.testing.assert_close([p.grad for p in network.heads.parameters()], list(heads))


def test_static_weights_weigh_losses(experiment: SenerExperiment) -> None:
    group, images = experiment.groups[0], parts(train=20)["train"]
    network = MultiTaskNetwork(group, 2)
    losses = network.losses(torch.from_numpy(images.pixels), torch.from_numpy(images.labels))
    weights = backward(losses, balancing(Variant("static", share=0.2), group, 2))
    assert weights.tolist() == pytest.approx([0.4, 1.6])


def test_uncertainty_learns_its_weights(experiment: SenerExperiment) -> None:
    group, images = experiment.groups[0], parts(train=20)["train"]
    network = MultiTaskNetwork(group, 2)
    steps = Steps(network, Job(0, Variant("uncertainty"), 0.1, 0, ""), group)
    (weights,) = steps._balancing.parameters()
    steps.step(torch.from_numpy(images.pixels), torch.from_numpy(images.labels))
    assert weights.detach().abs().min() > 0
    steps.end_epoch()


def test_heads_can_be_those_of_the_code(experiment: SenerExperiment) -> None:
    group = experiment.groups[0]
    network = group.network.model_copy(update={"head_hidden": 50, "head_dropout": 0.5, "channel_dropout": 0.5})
    made = MultiTaskNetwork(group.model_copy(update={"network": network}), 2)
    assert [tuple(p.shape) for p in made.heads[0].parameters()] == [(50, 50), (50,), (10, 50), (10,)]
    assert made.encoder.dropout.p == 0.5
    assert made(torch.zeros(3, 1, 28, 28, dtype=torch.uint8))[1].shape == (3, 10)


def row(method: Any, accuracy: float, *, share: float | None = None, seconds: float = 1.0, seeds: int = 3) -> Row:
    """Right in the first images of 2,000."""
    right = np.broadcast_to(np.arange(2000) < accuracy * 2000, (seeds, 2, 2000))
    return Row(method, share, {}, accuracy, right, 3 - seeds, (seconds, 1.1 * seconds, seconds), seconds)


def judged(rows: list[Row]) -> dict[str, str]:
    judging = Judging(level=0.95, resamples=300, alike=0.01)
    judge = Judge(rows, ("left", "right"), judging, seed=0)
    return {key: verdict(list(made(judge))) for key, made in CLAIMS.items()}


def test_claims_follow_the_figures() -> None:
    paper = [
        row("single_task", 0.95), row("uniform", 0.9), row("static", 0.91, share=0.7), row("uncertainty", 0.92),
        row("gradnorm", 0.92), row("mgda", 0.95, seconds=2.0), row("mgda_ub", 0.95),
    ]  # fmt: skip
    assert judged(paper) == dict.fromkeys("abcdef", "held")
    worse = [*paper[:-1], row("mgda_ub", 0.80, seconds=3.0)]
    assert judged(worse) == {"a": "held", **dict.fromkeys("bcdef", "not held")}
    assert judged([*paper[:-1], row("mgda_ub", 0.94)])["b"] == "open"
    assert judged(paper[:2]) == {"a": "held", **dict.fromkeys("bcdef", "not tested")}
    assert judged([*paper[:-1], row("mgda_ub", 0.9, seeds=0)])["c"] == "not tested"


def test_the_best_static_weights_are_those_of_validation() -> None:
    rows = [row("uniform", 0.9), row("static", 0.91, share=0.7), row("mgda_ub", 0.95)]
    judge = Judge(rows, ("left", "right"), Judging(level=0.95, resamples=10, alike=0.01), seed=0)
    (finding,) = CLAIMS["c"](judge)
    assert finding.text == "mean over tasks: MGDA-UB minus best static weights (0.7 / 0.3)"
    assert finding.estimate == pytest.approx(0.04)


def test_mistakes_of_the_file_are_named_at_once(folder: Path, tmp_path: Path) -> None:
    text = (folder / "experiment.toml").read_text(encoding="utf-8")
    wrong = text.replace('encoder = "lenet"', 'encoder = "resnet18"').replace("mean = [0.1307]", "mean = [0.1, 0.2]")
    (tmp_path / "experiment.toml").write_text(wrong.replace("shares = [0.2, 0.35, 0.65, 0.8]", "shares = []"))
    shutil.copy(folder / "expected.toml", tmp_path)
    with pytest.raises(UserError) as caught:
        load_sener(tmp_path)
    assert [problem.where for problem in caught.value.problems] == [
        "groups.multi-mnist.train.mean", "groups.multi-mnist.balancing.shares", "groups.multi-mnist.network.encoder",
    ]  # fmt: skip
    assert "2 given for images of 1 channels; give one number per channel" in str(caught.value)


def test_claims_without_statements_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "experiment.toml", tmp_path)
    text = (folder / "expected.toml").read_text(encoding="utf-8")
    (tmp_path / "expected.toml").write_text(text.replace('key = "a"', 'key = "z"'))
    with pytest.raises(UserError, match=r"claims\.z: no statements have that name; choose among a, b, c"):
        load_sener(tmp_path)


def test_every_group_names_its_variants(experiment: SenerExperiment) -> None:
    group: Group = experiment.groups[0]
    names = [one.name for one in variants(group, ("left", "right"))]
    assert names[:4] == ["single_task-left", "single_task-right", "uniform", "static-0.2"]
    assert len(names) == len(set(names)) == 11
