"""A short run on the real table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polytask import presets
from polytask.config import load_config
from polytask.training.run import train_run


@pytest.mark.slow
@pytest.mark.skipif("POLYTASK_DATA" not in os.environ, reason="POLYTASK_DATA is not set")
def test_three_tasks_on_census_income(tmp_path: Path) -> None:
    short = ["train.steps=150", "train.baselines=false", "train.device=cpu", "train.evaluate_every=75"]
    config = load_config(presets.path("census-income"), short)
    run = train_run(config, tmp_path / "run", check=False)
    scores = run.scores["test"]
    assert scores["income"]["auc"] > 0.92
    assert scores["never_married"]["auc"] > 0.98
    assert scores["college"]["auc"] > 0.8
