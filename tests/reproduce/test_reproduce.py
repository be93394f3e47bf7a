"""`polytask reproduce`: the whole program in its quick form."""

from __future__ import annotations

import builtins
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polytask.cli import main
from polytask.errors import MissingExtraError, UserError
from polytask.replicas import Plan, batches
from polytask.reproduce import find, reproduce, shipped
from polytask.reproduce.blocks import Block, Trainer, run_seed
from polytask.reproduce.experiment import load_experiment
from polytask.reproduce.figures import require_matplotlib
from polytask.reproduce.run import CELLS
from polytask.reproduce.work import Workshop

NAME = "ma-2018-mmoe"
FIGURES = [f"figure{number}.png" for number in (2, 3, 4, 5)]


def command(*arguments: str) -> int:
    try:
        main(["reproduce", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    assert command(NAME, "--quick", "--threads", "2", "--out", str(folder)) == 0
    return folder


def test_results_and_figures_are_written(out: Path) -> None:
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["quick"]
    assert [claim["key"] for claim in results["claims"]] == list("abcdef")
    assert all(isinstance(claim["held"], bool) and claim["statements"] for claim in results["claims"])
    cells = results["figures_4_and_5"]
    assert len({(cell["model"], cell["correlation"]) for cell in cells}) == 9
    assert all(cell["runs"] == len(cell["losses"]) == 3 and cell["diverged"] == 0 for cell in cells)
    assert len(results["pilot"]) == 27
    for cell in cells:  # the learning rate is the pilot's best
        tried = {
            entry["validation_loss"]: entry["learning_rate"]
            for entry in results["pilot"]
            if (entry["model"], entry["correlation"]) == (cell["model"], cell["correlation"])
        }
        assert cell["learning_rate"] == tried[min(tried)]
    for name in FIGURES:
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_resume_reads_what_is_there_and_does_the_rest(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    shutil.copytree(out, again)
    before = json.loads((out / "results.json").read_text(encoding="utf-8"))
    lost = sorted((again / CELLS).glob("figure4-mmoe-*"))[:2]
    for file in lost:
        file.unlink()
    cut = sorted((again / CELLS).glob("pilot-*"))[0]
    cut.write_bytes(cut.read_bytes()[:100])
    assert command(NAME, "--quick", "--resume", "--out", str(again)) == 0
    printed = capsys.readouterr().out
    assert "figure 3: 0 of 10 pieces done now" in printed
    assert "learning rates: 1 of 27 pieces done now" in printed
    assert "figures 4 and 5: 2 of 18 pieces done now" in printed
    after = json.loads((again / "results.json").read_text(encoding="utf-8"))
    for old, new in zip(before["figures_4_and_5"], after["figures_4_and_5"], strict=True):
        np.testing.assert_allclose(new["losses"], old["losses"], rtol=1e-5)


def test_a_used_folder_needs_resume_and_the_same_settings(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(NAME, "--quick", "--out", str(out)) == 2
    assert "add --resume" in capsys.readouterr().err
    assert command(NAME, "--resume", "--out", str(out)) == 2
    assert "holds results under other settings (data, figure2" in capsys.readouterr().err


def test_names_are_listed_and_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command() == 0
    assert NAME in capsys.readouterr().out
    assert find(NAME) == find(str(shipped()[NAME]))
    assert command("ma-2018-mmeo", "--out", str(tmp_path / "a")) == 2
    assert f"did you mean '{NAME}'" in capsys.readouterr().err
    assert command(str(tmp_path), "--out", str(tmp_path / "a")) == 2
    assert "holds no experiment.toml" in capsys.readouterr().err
    assert command(NAME) == 2
    assert "--out" in capsys.readouterr().err


def test_without_a_checkout_it_says_where_experiments_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polytask.reproduce.places.shipped", dict)
    with pytest.raises(UserError, match="clone the repository"):
        find(NAME)


def test_without_matplotlib_nothing_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'polytask\[plot\]'"):
        require_matplotlib()
    with pytest.raises(MissingExtraError):
        reproduce(find(NAME), tmp_path / "out", quick=True)
    assert not (tmp_path / "out").exists()


def test_mistakes_in_the_file_are_named_at_once(tmp_path: Path) -> None:
    shutil.copytree(find(NAME), tmp_path / "mine")
    file = tmp_path / "mine" / "experiment.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("experts = 8", 'experts = "eight"').replace("trials =", "trails ="), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_experiment(tmp_path / "mine")
    assert {problem.where for problem in caught.value.problems} == {
        "experiment.toml: figure2.trials", "experiment.toml: figure2.trails", "experiment.toml: figure4.experts",
    }  # fmt: skip
    file.write_text(text.replace("sines = 10", "sines = 9").replace("train = 10_000", "train = 10"), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_experiment(tmp_path / "mine")
    assert [problem.where for problem in caught.value.problems] == [
        "generator", "figure3.training.batch_size", "figure4.training.batch_size",
    ]  # fmt: skip


def test_the_shipped_experiment_is_the_paper_s() -> None:
    experiment, expected = load_experiment(find(NAME))
    four = experiment.figure4
    assert (experiment.generator.features, experiment.generator.noise_variance) == (100, 0.01)
    assert (four.experts, four.expert_width, four.bottom_width, four.tower_width) == (8, 16, 113, 8)
    assert (four.correlations, four.learning_rates, four.runs) == ((0.5, 0.9, 1.0), (1e-4, 1e-3, 1e-2), 200)
    assert (experiment.figure2.rows, experiment.figure2.trials) == (10_000, 100)
    assert (experiment.figure3.bottom_width, experiment.figure3.tower_width, experiment.figure3.runs) == (16, 8, 200)
    assert [claim.key for claim in expected.claims] == list("abcdef")
    drawn = np.random.default_rng(2018).standard_normal((2, 10)).round(4)
    assert [experiment.generator.alpha, experiment.generator.beta] == [tuple(row) for row in drawn.tolist()]


def test_runs_do_not_depend_on_their_block() -> None:
    experiment = load_experiment(find(NAME))[0].quick()
    trainer = Trainer(experiment)
    whole = trainer.train(Block("figure4", "mmoe", 0.9, 0.01, 0, 3))
    parts = [trainer.train(Block("figure4", "mmoe", 0.9, 0.01, first, 1)) for first in range(3)]
    assert whole["test"].shape == (3, 3)
    for name in ("test", "validation"):
        np.testing.assert_allclose(whole[name], np.concatenate([part[name] for part in parts]), rtol=1e-5)
    assert len(set(whole["validation"])) == 3


def test_an_error_in_a_piece_ends_the_work_and_keeps_what_is_done(tmp_path: Path) -> None:
    blocks = [Block("pilot", "mmoe", 1.0, 0.01, first, 1) for first in range(4)]

    def work(block: Block, watch: Any) -> dict[str, Any]:
        watch(1)
        if block.first == 1:
            raise KeyboardInterrupt
        return {"value": np.array([float(block.first)])}

    workshop = Workshop(tmp_path, 1, None)
    with pytest.raises(KeyboardInterrupt):
        workshop.do("test", blocks, work, lambda _: 1)
    assert [file.name for file in tmp_path.iterdir()] == [f"{blocks[0].name}.npz"]
    done = Workshop(tmp_path, 2, None).do("test", blocks, lambda block, _: {"value": np.ones(1)}, lambda _: 1)
    assert [float(done[block]["value"][0]) for block in blocks] == [0.0, 1.0, 1.0, 1.0]


def test_seeds_and_plans() -> None:
    assert run_seed(0, "pilot", 3) != run_seed(0, "figure4", 3) != run_seed(1, "figure4", 3)
    assert Plan(1, 2, 0.1, 1) == Plan(1, 2, 0.1, 1)
    assert len(next(batches(4, 4, 0))) == 4
