"""The benchmark of loggers at a tiny size."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("tensorboard")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.tracking import main


def test_a_logger_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        (result,) = main(["--loggers", "tensorboard", "--steps", "20", "--batch-size", "64"])
    finally:
        torch.set_num_threads(before)
    assert result.logger == "tensorboard" and 0 < result.training < 1 and result.loggers > 0
    assert "training thread" in capsys.readouterr().out
