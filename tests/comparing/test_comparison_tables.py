from __future__ import annotations

import io

from made import made
from rich.console import Console

from polytask.comparing.tables import grids, markdown, of_task, overall, seesaw, show
from polytask.comparing.verdict import verdict

SINGLE = [[0.80, 2.0], [0.82, 2.2], [0.78, 1.8]]
FOUND = made({
    "single": SINGLE,
    "a": [[0.90, 2.02], [0.925, 2.22], [0.88, 1.82]],
    "b|c": [[0.81, 1.9], None, [0.79, 1.9]],
})  # fmt: skip
ONE = made({"single": SINGLE[:1], "a": [[0.9, 1.0]]})


def test_marks_stand_where_the_interval_excludes_zero() -> None:
    table = seesaw(FOUND)
    assert table.headings == ("method", "buy (auc)", "cost (mae)")
    assert table.rows[0] == ("a", "▲ +0.1017", "▼ -0.0200") and table.bold == 0
    assert table.rows[1] == ("b|c", "▲ +0.0100", "· 0.0000")
    assert "chance alone would mark about 0 of 4 cells" in table.caption


def test_rows_of_a_task_have_spread_and_interval() -> None:
    rows = of_task(FOUND, 0).rows
    assert rows[-1] == ("single", "0.8000 ± 0.0200", "", "")
    assert rows[0][:3] == ("a", "0.9017 ± 0.0225", "▲ +0.1017") and rows[0][3].startswith("+0.0")


def test_one_seed_has_no_intervals_marks_or_tests() -> None:
    for table in grids(ONE):
        text = table.markdown()
        assert "▲" not in text and "interval" not in text and "±" not in text and "p leader" not in text
    assert overall(ONE).rows == (("a", "+31.25 %", "+31.25 %", "1.00"), ("single", "0", "0", "2.00"))


def test_the_page_holds_verdict_tables_and_failures() -> None:
    failures = [("runs/b/1", "a loss is NaN\nsecond line")]
    page = markdown(FOUND, verdict(FOUND), failures, "comparison.png")
    assert page.startswith("# Comparison\n\n- ") and "](comparison.png)" in page
    assert "## Failures\n\n- runs/b/1: a loss is NaN\n" in page and "second line" not in page
    assert "| **a** |" in page and "b\\|c" in page


def test_the_terminal_shows_the_verdict_last() -> None:
    target = Console(file=io.StringIO(), width=120)
    show(FOUND, verdict(FOUND), [("runs/b/1", "a loss is NaN")], target)
    text = target.file.getvalue()  # type: ignore[attr-defined]
    assert all(title in text for title in ("Overall", "Seesaw", "buy", "Costs", "Failures", "Verdict"))
    assert text.index("Costs") < text.index("Verdict")
