"""The import rule of the design: who may know whom, read from the source text."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import polytask

ROOT = Path(polytask.__file__).parent
PEERS = ("data", "encoders", "sharing", "tasks", "chains", "balancing")
NO_TORCH_IN_DATA_BUT = {"loader.py", "reader.py"}


def imports(room: str) -> Iterator[tuple[Path, str]]:
    """Every polytask module, and torch, that the files of a room import at their top or for the type checker."""
    folder = ROOT / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield file, node.module
                yield from ((file, f"{node.module}.{alias.name}") for alias in node.names)


def broken(room: str, forbidden: tuple[str, ...]) -> list[str]:
    return sorted(
        {
            f"{file.relative_to(ROOT)} imports {name}"
            for file, name in imports(room)
            for other in forbidden
            if name == other or name.startswith(f"{other}.")
        }
    )


def rooms() -> list[str]:
    folders = [path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()]
    return sorted(folders + [path.stem for path in ROOT.glob("*.py") if path.stem not in ("__init__", "__main__")])


@pytest.mark.parametrize("room", PEERS)
def test_peers_do_not_know_each_other(room: str) -> None:
    later = ("model", "training", "evaluation", "serving", "reporting", "config", "tables")
    others = tuple(f"polytask.{other}" for other in (*PEERS, *later) if other != room)
    assert broken(room, others) == []


def test_metrics_are_a_leaf() -> None:
    others = tuple(f"polytask.{room}" for room in rooms() if room not in ("metrics", "errors", "types", "specs"))
    assert broken("metrics", others) == []


def test_config_knows_only_plain_values() -> None:
    others = tuple(f"polytask.{room}" for room in rooms() if room not in ("config", "errors", "specs"))
    assert broken("config", (*others, "torch")) == []


def test_linear_models_know_only_numpy() -> None:
    others = tuple(f"polytask.{room}" for room in rooms() if room not in ("linear", "errors", "options"))
    assert broken("linear", (*others, "torch", "scipy")) == []


def test_fronts_know_balancing_and_any_model() -> None:
    kept = ("fronts", "balancing", "errors", "files", "options", "types")
    assert broken("fronts", tuple(f"polytask.{room}" for room in rooms() if room not in kept)) == []


def test_loggers_know_only_records() -> None:
    others = tuple(f"polytask.{room}" for room in rooms() if room not in ("tracking", "errors", "files"))
    assert broken("tracking", (*others, "torch", "tensorboard", "mlflow", "wandb")) == []


def test_reports_read_files_only() -> None:
    kept = ("reporting", "errors", "files")
    assert broken("reporting", (*(f"polytask.{room}" for room in rooms() if room not in kept), "torch")) == []


def test_replicas_are_a_leaf() -> None:
    assert broken("replicas", tuple(f"polytask.{room}" for room in rooms() if room != "replicas")) == []


def test_decisions_are_plain_numbers() -> None:
    others = tuple(f"polytask.{room}" for room in rooms() if room != "decisions")
    assert broken("decisions", (*others, "torch", "scipy", "sklearn")) == []


def test_serving_applies_what_it_cannot_fit() -> None:
    assert broken("serving", ("polytask.deciding", "scipy", "sklearn")) == []
    assert broken("deciding", ("polytask.training", "polytask.balancing", "polytask.evaluation")) == []


@pytest.mark.parametrize("room", [room for room in rooms() if room not in ("cli", "reproduce")])
def test_only_the_command_line_knows_reproductions(room: str) -> None:
    assert broken(room, ("polytask.reproduce",)) == []


@pytest.mark.parametrize(
    "room", [room for room in rooms() if room not in ("cli", "comparing", "grouping", "tuning", "tradeoffs")]
)
def test_only_the_command_line_knows_comparisons(room: str) -> None:
    # a sweep compares methods as well: it names parts, checks data and draws tables as a comparison does; a front
    # has its trainings done as a comparison has, and so has a grouping
    assert broken(room, ("polytask.comparing",)) == []


@pytest.mark.parametrize("room", [room for room in rooms() if room not in ("cli", "tradeoffs")])
def test_only_the_command_line_knows_trade_offs(room: str) -> None:
    assert broken(room, ("polytask.tradeoffs",)) == []


@pytest.mark.parametrize("room", [room for room in rooms() if room not in ("cli", "tuning")])
def test_only_the_command_line_knows_sweeps(room: str) -> None:
    assert broken(room, ("polytask.tuning",)) == []


@pytest.mark.parametrize("room", [room for room in rooms() if room not in ("cli", "grouping")])
def test_only_the_command_line_knows_groupings(room: str) -> None:
    assert broken(room, ("polytask.grouping",)) == []


def test_the_search_for_groups_knows_only_numpy() -> None:
    others = tuple(f"polytask.{room}" for room in rooms() if room != "grouping")
    names = ("objective.py", "exact.py", "local.py")
    assert [
        line
        for line in broken("grouping", (*others, "torch"))
        if line.startswith(tuple(f"grouping/{name}" for name in names))
    ] == []


def test_statistics_of_comparisons_know_only_numpy() -> None:
    others = tuple(f"polytask.{room}" for room in rooms())
    found = broken("comparing", (*others, "torch", "scipy"))
    assert [line for line in found if line.startswith("comparing/statistics.py")] == []


@pytest.mark.parametrize("room", [room for room in rooms() if room not in ("cli", "estimators")])
def test_nothing_is_built_on_the_estimators(room: str) -> None:
    assert broken(room, ("polytask.estimators",)) == []


@pytest.mark.parametrize("room", [room for room in rooms() if room != "cli"])
def test_nothing_knows_the_command_line(room: str) -> None:
    assert broken(room, ("polytask.cli",)) == []


@pytest.mark.parametrize("room", ["serving", "evaluation", "reporting"])
def test_serving_and_reports_do_without_training(room: str) -> None:
    if room in rooms():
        assert broken(room, ("polytask.training", "polytask.balancing")) == []


def test_raw_tables_and_preprocessing_do_without_torch() -> None:
    found = {file.name for file, name in imports("data") if name == "torch" or name.startswith("torch.")}
    assert found <= NO_TORCH_IN_DATA_BUT


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT.parent), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "polytask",
        "polytask.cli",
        "polytask.config",
        "polytask.data.checks",
        "polytask.data.inference",
        "polytask.linear",
        "polytask.reporting",
        "polytask.specs",
    ],
)
def test_looking_costs_no_torch(module: str) -> None:
    assert run(f"import sys, {module}; print('torch' in sys.modules)") == "False"


def test_lazy_names_are_found_and_listed() -> None:
    for name in polytask.__all__:
        assert name in dir(polytask)
        assert getattr(polytask, name) is not None
    with pytest.raises(AttributeError, match="module 'polytask' has no attribute 'fitt'"):
        polytask.fitt


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert polytask.__version__ == project["version"]
