from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from polytask.config import Config
from polytask.errors import UserError
from polytask.training.checkpoint import Checkpoints, load_state, save_state
from polytask.training.run import train_run
from polytask.training.single import new_training

HARD = {
    "encoder": {"embedding": 4, "dropout": 0.2, "id_dropout": 0.2},
    "sharing": {"use": "ple", "experts": 2, "shared_experts": 1, "widths": [8], "dropout": 0.1},
    "balancer": {"use": "uncertainty"},
}


class KilledError(Exception):
    """Stands for a process that ends without warning."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Makes every run die right after step N, before anything of that step is written."""
    from polytask.training.progress import TerminalWatcher

    def arm(step: int | None) -> None:
        def see(self: TerminalWatcher, record: Any) -> None:
            if step is not None and record.step == step and not hasattr(record, "scores"):
                raise KilledError

        monkeypatch.setattr(TerminalWatcher, "see", see)

    return arm


def hard_config(new_config: Callable[..., Config], **train: Any) -> Config:
    return new_config(("click", "spend", "visits"), **HARD, train={"checkpoint_every": 5, "clip_norm": 1.0, **train})


def results(folder: Path) -> tuple[bytes, list[str], dict[str, Any]]:
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    weights = (folder / "bundle" / "model.safetensors").read_bytes()
    return weights, (folder / "records.jsonl").read_text().splitlines(), scores


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """As integers: NaN, which stands for "not known yet", is equal to itself."""
    return tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


def equal_states(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) or (one.is_floating_point() and torch.equal(*map(bits, (one, other))))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal_states(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal_states, one, other))
    return bool(one == other) or (one != one and other != other)


@pytest.mark.parametrize(
    ("buffer", "balancer"),
    [
        (100_000, {"use": "uncertainty"}),
        (128, {"use": "uncertainty"}),
        (100_000, {"use": "auto_lambda", "primary": ["click"]}),
        (100_000, {"use": "gradnorm"}),
        (100_000, {"use": "nash_mtl", "every": 4}),
    ],
    ids=["kept", "streaming", "learnt on held-out rows", "gradnorm", "every fourth step"],
)
def test_a_training_goes_on_bit_by_bit_from_any_saved_state(
    buffer: int,
    balancer: dict[str, Any],
    tmp_path: Path,
    new_config: Callable[..., Config],
    prepared_run: Callable[..., Any],
    table: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(HARD, "balancer", balancer)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=100)
    config = hard_config(new_config, shuffle_buffer=buffer, evaluate_every=3)
    prepared = prepared_run(config, str(tmp_path / "rows.parquet"))
    whole = new_training(config, prepared, 1)
    records, saved = [], []
    for record in whole:
        records.append(record)
        saved.append(deepcopy(whole.state_dict()))
        if len(records) == 7:  # in the middle, and right before an evaluation that is due
            save_state(tmp_path / "state", saved[-1])
    assert not hasattr(records[6], "scores") and hasattr(records[7], "scores")
    torch.rand(7)  # the next process starts elsewhere
    again = new_training(config, prepared, 1)
    again.load_state_dict(load_state(tmp_path / "state"))
    rest = []
    for record in again:
        rest.append(record)
        assert equal_states(saved[6 + len(rest)], again.state_dict()), f"after record {len(rest)}"
    assert str(rest) == str(records[7:])


@pytest.mark.parametrize("at", [3, 7, 9, 16])
def test_a_killed_run_ends_as_one_that_was_not(
    at: int, tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, killed_at: Callable[[int | None], None]
) -> None:
    config = hard_config(new_config)
    train_run(config, tmp_path / "whole", data=table, check=False)
    killed_at(at)
    with pytest.raises(KilledError):
        train_run(config, tmp_path / "cut", data=table, check=False)
    killed_at(None)
    train_run(config, tmp_path / "cut", data=table, check=False, resume=True)
    assert results(tmp_path / "whole") == results(tmp_path / "cut")
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_an_evaluation_that_was_due_at_the_checkpoint_is_still_done(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint of step 5 is written before the evaluation of step 5; best score and patience depend on it."""
    from polytask.training.loop import Training

    config = hard_config(new_config, evaluate_every=5, patience=1)
    train_run(config, tmp_path / "whole", data=table, check=False)
    evaluate = Training._evaluate

    def dies(self: Training) -> Any:
        raise KilledError

    monkeypatch.setattr(Training, "_evaluate", dies)
    with pytest.raises(KilledError):
        train_run(config, tmp_path / "cut", data=table, check=False)
    monkeypatch.setattr(Training, "_evaluate", evaluate)
    train_run(config, tmp_path / "cut", data=table, check=False, resume=True)
    assert results(tmp_path / "whole") == results(tmp_path / "cut")


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, killed_at: Callable[[int | None], None]
) -> None:
    config = hard_config(new_config)
    train_run(config, tmp_path / "whole", data=table, check=False)
    killed_at(13)
    with pytest.raises(KilledError):
        train_run(config, tmp_path / "cut", data=table, check=False)
    killed_at(None)
    folder = tmp_path / "cut" / "checkpoints"
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-000000005", "step-000000010"]
    file = folder / "step-000000010" / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    (folder / ".step-000000015.partial").mkdir()  # half written when the process died
    (folder / ".best-000000008.stale").mkdir()
    train_run(config, tmp_path / "cut", data=table, check=False, resume=True)
    assert results(tmp_path / "whole") == results(tmp_path / "cut")


def test_only_damaged_checkpoints_are_an_error_and_not_a_new_start(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, killed_at: Callable[[int | None], None]
) -> None:
    killed_at(7)
    with pytest.raises(KilledError):
        train_run(hard_config(new_config), tmp_path / "run", data=table, check=False)
    (tmp_path / "run" / "checkpoints" / "step-000000005" / "state.json").write_text("[]")
    with pytest.raises(UserError, match=r"checkpoint .*step-000000005: cannot be read"):
        train_run(hard_config(new_config), tmp_path / "run", data=table, check=False, resume=True)


def test_several_seeds_and_baselines_go_on_at_the_right_place(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polytask.training import run

    config = new_config(("click", "spend"), train={"epochs": 1, "seeds": 2, "baselines": True, "seed": 3})
    whole = train_run(config, tmp_path / "whole", data=table, check=False)
    done: list[str] = []
    train_one = run.train_one

    def counted(*args: Any, title: str, **options: Any) -> Any:
        done.append(title)
        if len(done) == 4:
            raise KilledError
        return train_one(*args, title=title, **options)

    monkeypatch.setattr(run, "train_one", counted)
    with pytest.raises(KilledError):
        train_run(config, tmp_path / "cut", data=table, check=False)
    assert done == ["mmoe, 2 tasks, seed 3", "mmoe, 2 tasks, seed 4", "click alone, seed 3", "click alone, seed 4"]
    monkeypatch.setattr(run, "train_one", train_one)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").rglob("model.safetensors")}
    again = train_run(config, tmp_path / "cut", data=table, check=False, resume=True)
    assert len(times) == 3 and all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert again.scores == whole.scores and again.baselines == whole.baselines and again.seeds == whole.seeds
    assert again.seeds[0] != again.seeds[1]
    assert {path.name for path in (tmp_path / "cut" / "baselines").iterdir()} == {"click", "spend"}
    assert json.loads((tmp_path / "cut" / "scores.json").read_text())["seeds"].keys() == {"3", "4"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_finished_run_is_shown_again_without_reading_the_data(
    seeds: int, tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polytask.training import run

    config = new_config(("click", "spend"), train={"epochs": 1, "seeds": seeds, "baselines": True})
    shown = [Console(file=io.StringIO(), width=120), Console(file=io.StringIO(), width=120)]
    first = train_run(config, tmp_path / "run", data=table, check=False, console=shown[0])

    def fail(*args: Any) -> None:
        raise AssertionError("the data are read")

    monkeypatch.setattr(run, "_prepare", fail)
    monkeypatch.setattr(run, "_check", fail)
    again = train_run(config, tmp_path / "run", data=table, resume=True, console=shown[1])
    assert (again.scores, again.seeds, again.baselines) == (first.scores, first.seeds, first.baselines)
    texts = [console.file.getvalue() for console in shown]  # type: ignore[attr-defined]
    assert texts[1].strip() and texts[0].endswith(texts[1])
    (tmp_path / "run" / "baselines" / "spend" / ("." if seeds == 1 else "seeds/1") / "scores.json").unlink()
    with pytest.raises(AssertionError, match="the data are read"):
        train_run(config, tmp_path / "run", data=table, check=False, resume=True)


def test_a_device_that_is_not_there_is_told_before_the_data_are_read(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"train\.device: 'cuda' asked for"):
        train_run(new_config(("click",), train={"device": "cuda"}), tmp_path / "run", data=table)
    assert not (tmp_path / "run").exists()


def test_a_changed_configuration_or_table_is_refused_key_by_key(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, new_table: Callable[..., pa.Table]
) -> None:
    config = new_config(("click", "spend"), train={"epochs": 1})
    train_run(config, tmp_path / "run", data=table, check=False)
    with pytest.raises(UserError, match="holds a run already; add --resume"):
        train_run(config, tmp_path / "run", data=table, check=False)
    other = new_config(("click",), train={"epochs": 1, "batch_size": 32}, sharing={"use": "ple", "experts": 1})
    with pytest.raises(UserError) as caught:
        train_run(other, tmp_path / "run", data=new_table(600, 1), check=False, resume=True)
    found = {problem.where: problem.what for problem in caught.value.problems}
    assert found["train.batch_size"] == "was 64 when this run was begun, is 32 now"
    assert found["sharing.use"] == "was 'mmoe' when this run was begun, is 'ple' now"
    assert "tasks.spend" in found and found["train part"] == "is not the data that this run was begun with"
    assert "train.epochs" not in found


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table
) -> None:
    (tmp_path / "thesis.tex").write_text("dear to me")
    with pytest.raises(UserError, match="exists and is no run folder"):
        train_run(new_config(("click",)), tmp_path, data=table)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_data_at_fault_leave_no_folder_behind(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table
) -> None:
    constant = table.set_column(table.schema.get_field_index("click"), "click", pa.array([1] * len(table)))
    with pytest.raises(UserError, match=r"tasks\.click"):
        train_run(new_config(("click",)), tmp_path / "run", data=constant)
    assert not (tmp_path / "run").exists()


def test_best_weights_stay_as_long_as_a_checkpoint_may_need_them(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3, 4, 5, 6):
        checkpoints.save_best(10 * step - 5, {"w": torch.tensor(float(step))})
        checkpoints.save(10 * step, {"step": step})
    # kept: steps 50 and 60; a run taken up at 50 has its best at 45
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-000000045", "best-000000055", "step-000000050", "step-000000060",
    ]  # fmt: skip
    assert checkpoints.best(45)["w"].item() == 5.0


def test_a_saved_state_is_exact_and_replaces_the_old_one(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "tensors": {0: shared, 1: shared[::2], "half": torch.tensor(1.5, dtype=torch.bfloat16)},
        "numbers": [0.1, 1e-310, float("inf"), 2**60, None, True, "ü"],
        "betas": (0.9, 0.999),
    }
    save_state(tmp_path / "state", {"old": 1})
    save_state(tmp_path / "state", state)
    found = load_state(tmp_path / "state")
    assert equal_states(found, {**state, "betas": [0.9, 0.999]})
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    with pytest.raises(TypeError, match="cannot save set at /odd"):
        save_state(tmp_path / "state", {"odd": {1}})
    assert equal_states(load_state(tmp_path / "state"), found)
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(UserError, match="cannot be read"):
        load_state(tmp_path / "state")
