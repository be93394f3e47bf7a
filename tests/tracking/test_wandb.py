from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from killing import Bomb, KilledError

from polytask.config import Config
from polytask.training.run import train_run

pytest.importorskip("wandb")
pytestmark = pytest.mark.slow
BLOCK, IDENTITY = 32_768, 7


def records(file: Path) -> Iterator[Any]:
    """The records that ``wandb sync`` would upload: LevelDB's log format around protobuf messages."""
    messages = importlib.import_module("wandb.proto.wandb_internal_pb2")
    data, place, pieces = file.read_bytes(), IDENTITY, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        pieces += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last piece
            yield messages.Record.FromString(pieces)
            pieces = b""


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_offline_runs_can_be_read_back(
    tmp_path: Path, new_config: Callable[..., Config], table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    config = new_config(("click", "spend"), train={"log": ["wandb"], "epochs": 3, "checkpoint_every": 3})
    with pytest.raises(KilledError):
        train_run(config, tmp_path / "run", data=table, watchers=[Bomb(23)])
    result = train_run(config, tmp_path / "run", data=table, resume=True)

    known = json.loads((tmp_path / "run/tracking.json").read_text())["loggers"]["wandb"]["id"]
    files = sorted((tmp_path / "run/wandb").glob("offline-run-*/*.wandb"))
    assert [file.name for file in files] == [f"run-{known}.wandb"] * 2  # one run, in the order of `wandb sync`
    found = [record for file in files for record in records(file)]
    first = next(record.run for record in found if record.HasField("run"))
    assert (first.run_id, first.project, first.run_group, first.job_type) == (known, "polytask", "run", "run")
    assert "seed:0" in first.tags and values(first.config.update)["sharing"]["use"] == "mmoe"
    history = [values(record.history.item) for record in found if record.HasField("history")]
    steps = [row["_step"] for row in history if "loss/click" in row]
    assert len(steps) == len(set(steps)) and {8, 16, 24} <= set(steps)
    assert [row["_step"] for row in history if "validation/click/auc" in row] == [8, 16, 24]
    summary: dict[str, Any] = {}
    for record in found:
        summary |= values(record.summary.update) if record.HasField("summary") else {}
    assert summary["final/test/click/auc"] == pytest.approx(result.scores["test"]["click"]["auc"])
