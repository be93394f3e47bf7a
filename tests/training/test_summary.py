from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from polytask.tasks import binary, regression
from polytask.training.summary import Spread, average, comparison

TASKS = (binary("click"), regression("spend"))


def run(auc: float, mae: float, part: str = "test") -> dict[str, Any]:
    click = {"auc": auc, "normalized_entropy": 0.9, "log_loss": 0.3, "rows": 100}
    return {part: {"click": click, "spend": {"r2": 0.5, "rmse": 3.0, "mae": mae, "rows": 80}}}


def shown(*args: Any, **options: Any) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=120, color_system="truecolor", force_terminal=True)
    table = comparison(*args, title="mmoe + equal", rows={"test": 1234}, **options)
    console.print(table)
    assert "1,234 rows" in console.file.getvalue() or "part, 0 rows" in console.file.getvalue()  # type: ignore[attr-defined]
    return [list(cells) for cells in zip(*(column.cells for column in table.columns), strict=True)]


def test_one_seed_without_baselines() -> None:
    rows = shown(TASKS, [run(0.75, 2.0)], {})
    assert rows == [
        ["click", "auc", "0.7500"], ["", "normalized_entropy", "0.9000"], ["spend", "r2", "0.5000"],
        ["", "mae", "2.0000"],
    ]  # fmt: skip


def test_several_seeds_beside_baselines_and_the_sign_of_the_gain() -> None:
    alone = {"click": [run(0.70, 0), run(0.72, 0)], "spend": [run(0, 1.9), run(0, 1.9)]}
    rows = shown(TASKS, [run(0.80, 2.0), run(0.82, 2.2)], alone)
    assert rows[0] == ["click", "auc", "0.7100 ± 0.0141", "0.8100 ± 0.0141", "[green]+0.1000[/green]"]
    # a larger error is a loss
    assert rows[3] == ["", "mae", "1.9000 ± 0.0000", "2.1000 ± 0.1414", "[red]-0.2000[/red]"]
    assert rows[1][-1] == "[white]+0.0000[/white]"


def test_what_is_undefined_is_a_dash() -> None:
    rows = shown(TASKS, [run(0.8, 2.0), run(math.nan, 2.0)], {"click": [run(0.7, 0)] * 2, "spend": [run(0, 2.0)] * 2})
    assert rows[0] == ["click", "auc", "0.7000 ± 0.0000", "-", ""]


def test_without_a_test_part_the_validation_part_is_shown() -> None:
    assert shown(TASKS, [run(0.75, 2.0, "validation")], {})[0] == ["click", "auc", "0.7500"]


def test_averages() -> None:
    found = average([run(0.8, 2.0), run(0.9, math.nan)])["test"]
    assert found["click"]["auc"] == pytest.approx(0.85) and found["click"]["rows"] == 100
    assert isinstance(found["click"]["rows"], int)
    assert math.isnan(found["spend"]["mae"])
    assert str(Spread.of([0.5])) == "0.5000" and str(Spread.of([math.nan, 1.0])) == "-"
