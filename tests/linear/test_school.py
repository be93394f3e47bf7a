"""The School experiment on real data; without the data it is skipped."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "evgeniou-2004-school"


def experiment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("school_experiment", FOLDER / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_splits_keep_the_share_of_every_school() -> None:
    tasks = np.repeat(np.arange(3), [20, 40, 100])
    train = experiment().split(tasks, 0.75, seed=0)
    assert np.bincount(tasks, train).tolist() == [15, 30, 75]
    assert (train != experiment().split(tasks, 0.75, seed=1)).any()


def test_measures_by_hand() -> None:
    y, tasks = np.array([0.0, 2.0, 10.0, 14.0]), np.array([0, 0, 1, 1])
    found = experiment().measures(y, np.array([0.0, 2.0, 12.0, 12.0]), tasks)
    total = ((y - 6.5) ** 2).sum()
    assert found["explained"] == pytest.approx(100 * (1 - 8 / total))
    assert found["explained_within"] == pytest.approx(50)
    assert found["nmse"] == pytest.approx(0.5)
    assert found["rmse"] == pytest.approx(np.sqrt(2))


@pytest.mark.skipif("POLYTASK_DATA" not in os.environ, reason="POLYTASK_DATA is not set")
def test_relations_between_schools_pay() -> None:
    module = experiment()
    data = module.load(Path(os.environ["POLYTASK_DATA"]))
    assert data[0].shape == (15362, 28) and len(np.unique(data[2])) == 139
    settings = tomllib.loads((FOLDER / "experiment.toml").read_text(encoding="utf-8"))
    names = ("independent ridge", "pooled ridge", "mean-regularised")
    settings["models"] = {name: settings["models"][name] for name in names}
    found = {name: run["explained"] for name, run in module.one_split(settings, data, seed=0).items()}
    assert found["mean-regularised"] > found["independent ridge"] + 2
    assert found["mean-regularised"] > found["pooled ridge"] + 2
    assert 30 < found["independent ridge"] < 45
