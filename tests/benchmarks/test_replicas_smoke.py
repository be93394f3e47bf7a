"""The benchmark of replicas at a tiny size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.replicas import main


def test_all_models_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, file = torch.get_num_threads(), tmp_path / "rows.json"
    try:
        results = main(["--replicas", "2", "--steps", "2", "--rounds", "1", "--json", str(file)])
    finally:
        torch.set_num_threads(before)
    assert [result.model for result in results] == ["mmoe", "omoe", "shared-bottom"]
    assert all(result.ratio > 0 for result in results)
    assert [row["model"] for row in json.loads(file.read_text(encoding="utf-8"))["rows"]] == [
        "mmoe",
        "omoe",
        "shared-bottom",
    ]
    assert "one after another" in capsys.readouterr().out
