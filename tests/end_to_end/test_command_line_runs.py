"""Real processes: killed, interrupted, and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CONFIG = """
[data]
source = "log.parquet"
drop = ["row", "topic", "stars", "visits", "weight"]

[features.history]
kind = "sequence"

[tasks.click]
kind = "binary"
label = "click"

[tasks.spend]
kind = "regression"
label = "spend"

[encoder]
embedding = 4
dropout = 0.1

[sharing]
use = "mmoe"
experts = 2
widths = [8]

[balancer]
use = "uncertainty"

[train]
epochs = 40
batch_size = 32
checkpoint_every = 10
evaluate_every = 37
patience = 0
threads = 1
device = "cpu"
"""


@pytest.fixture
def project(tmp_path: Path, table: pa.Table) -> Path:
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=150)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "polytask", *words]


def start(project: Path, out: str, *more: str) -> subprocess.Popen[str]:
    words = command("train", "config.toml", "--out", out, *more)
    return subprocess.Popen(words, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(project: Path, out: str, *more: str) -> tuple[int, str]:
    done = subprocess.run(
        command("train", "config.toml", "--out", out, *more), cwd=project, text=True, capture_output=True
    )
    return done.returncode, done.stdout + done.stderr


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run did not get there"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, new_table: Callable[..., pa.Table]) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    pq.write_table(new_table(), folder / "log.parquet", row_group_size=150)
    (folder / "config.toml").write_text(CONFIG)
    code, text = finish(folder, "run")
    assert code == 0, text
    return folder / "run"


def same_results(one: Path, other: Path) -> bool:
    files = ("bundle/model.safetensors", "records.jsonl")
    scores = [json.loads((folder / "scores.json").read_text())["scores"] for folder in (one, other)]
    return scores[0] == scores[1] and all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_weights(project: Path, whole: Path) -> None:
    for at in (20, 150):
        process = start(project, "run", *(["--resume"] if at > 20 else []))
        steps = project / "run" / "checkpoints"
        wait_for(lambda: any(int(path.name[5:]) >= at for path in steps.glob("step-*")), process)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL and not (project / "run" / "scores.json").exists()
    code, text = finish(project, "run", "--resume")
    assert code == 0 and "goes on from step" in text
    assert same_results(project / "run", whole)


@pytest.mark.slow
def test_ctrl_c_saves_the_step_and_exits_with_130(project: Path, whole: Path) -> None:
    process = start(project, "run", "--set", "train.checkpoint_every=10")
    wait_for(lambda: any((project / "run" / "checkpoints").glob("step-*")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "--resume goes on from the last checkpoint" in out and "Traceback" not in out + err
    latest = max(int(path.name[5:]) for path in (project / "run" / "checkpoints").glob("step-*"))
    last = json.loads((project / "run" / "records.jsonl").read_text().splitlines()[-1])
    assert last["step"] == latest
    code, text = finish(project, "run", "--resume")
    assert code == 0 and f"goes on from step {latest}" in text
    assert same_results(project / "run", whole)


@pytest.mark.slow
def test_a_finished_run_is_only_read(whole: Path) -> None:
    before = (whole / "bundle" / "model.safetensors").stat().st_mtime_ns
    code, text = finish(whole.parent, "run", "--resume")
    assert code == 0 and "click" in text
    assert (whole / "bundle" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_diverging_run_ends_with_2_and_a_sentence(project: Path) -> None:
    code, text = finish(project, "run", "--set", "train.learning_rate=1e30", "--set", "train.warmup=0.0")
    assert code == 2 and "its loss is not finite in step" in text and "Traceback" not in text


@pytest.mark.slow
def test_the_environment_has_no_secrets_of_the_machine(whole: Path) -> None:
    text = (whole / "environment.json").read_text()
    assert set(json.loads(text)) == {"command", "polytask", "python", "packages", "platform", "threads", "cuda", "data"}
    assert os.environ.get("HOME", "/root") not in text
