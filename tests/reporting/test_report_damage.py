"""Damaged, foreign and hostile folders: the report that is left, and what it says of the rest."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_folders import everything, run, write

import polytask
from polytask.errors import UserError
from polytask.reporting import write_report

HOSTILE = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "{{ 7 * 7 }}'\"`${1}=SUM(A1)\\")


def damage(value: Any, draw: random.Random) -> Any:
    """One value somewhere within, replaced by another kind of value, or left out."""
    kinds: list[Any] = [None, -1, 1e400, "x", "", [], {}, [[]], {"a": 1}, True, [None], 10**400]
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        rest = {**value}
        if draw.random() < 0.2:
            del rest[key]
        else:
            rest[key] = damage(value[key], draw)
        return rest
    if isinstance(value, list) and value and draw.random() < 0.85:
        place = draw.randrange(len(value))
        return (
            value[:place] if draw.random() < 0.2 else [*value[:place], damage(value[place], draw), *value[place + 1 :]]
        )
    return draw.choice(kinds)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return everything(tmp_path_factory.mktemp("made"), ("click", "watch"))


@pytest.mark.parametrize("seed", range(60))
def test_values_of_any_kind_anywhere_are_survived(made: list[Path], tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    files = [file for folder in made for file in folder.rglob("*.json")]
    file = draw.choice(sorted(files))
    before = file.read_bytes()
    try:
        broken = json.loads(before)
        for _ in range(draw.randint(1, 3)):
            broken = damage(broken, draw)
        file.write_text(json.dumps(broken), encoding="utf-8")
        try:
            page = write_report(made, tmp_path / "report.html")
        except UserError as error:  # nothing of that folder is left
            assert str(file.parent) in str(error)
        else:
            assert "</html>" in page.read_text(encoding="utf-8")
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("seed", range(20))
def test_torn_files_are_survived_and_named(made: list[Path], tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    folder = made[0]
    file = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    before = file.read_bytes()
    try:
        file.write_bytes(draw.choice([before[: draw.randrange(len(before))], b"\xff\xfe\x00", b"", before[::-1]]))
        page = write_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
        assert "Learning curves" in page or "records.jsonl" in page
    finally:
        file.write_bytes(before)


def test_a_file_that_cannot_be_read_is_named_in_the_page(made: list[Path], tmp_path: Path) -> None:
    file = made[0] / "seeds" / "0" / "diagnostics.json"
    before = file.read_bytes()
    file.write_text("{", encoding="utf-8")
    try:
        page = write_report([made[0]], tmp_path / "report.html").read_text(encoding="utf-8")
    finally:
        file.write_bytes(before)
    missing = page[page.index('id="missing"') :]
    assert "diagnostics.json" in missing and "cannot be read" in missing


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "does not exist"),
        (lambda folder: folder, "holds nothing to report"),
        (lambda folder: write(folder / "other.json", {"a": 1}) or folder / "other.json", "without any of the keys"),
        (lambda folder: write(folder / "sub" / "sweep.json", [1]) or folder / "sub", "sweep.json holds a list"),
    ],
)
def test_nothing_to_read_is_an_error(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(UserError, match=message):
        write_report([make(tmp_path)], tmp_path / "out" / "report.html")
    assert not (tmp_path / "out").exists()


def test_all_wrong_paths_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "report.html")
    assert len(caught.value.problems) == 2


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    page = write_report(everything(tmp_path, HOSTILE), tmp_path / "report.html").read_text(encoding="utf-8")
    assert (
        "<img src=x" not in page and "alert(1)</script>" not in page and "49" not in re.findall(r"<h3>(.*?)</h3>", page)
    )
    scripts = re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert len(scripts) > 30
    for script in scripts:
        json.loads(script)
        assert "<" not in script


def test_a_page_is_small_and_says_nothing_of_a_network(made: list[Path], tmp_path: Path) -> None:
    page = write_report(made, tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 1.5e6
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(r'(src|href)="(?!#|data:,)|url\(|@import', markup)
    assert "default-src 'none'" in text and 'http-equiv="refresh"' not in text


def test_a_page_that_is_renewed_says_so(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", finished=False)
    text = write_report([folder], tmp_path / "report.html", refresh=7.5).read_text(encoding="utf-8")
    assert '<meta http-equiv="refresh" content="7.5">' in text and "Training goes on" in text


def test_from_python(tmp_path: Path) -> None:
    assert polytask.report([run(tmp_path / "run")], tmp_path / "deep" / "report.html").exists()
    assert polytask.report(tmp_path / "run") == tmp_path / "run" / "report.html"
