from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from polytask.errors import UserError
from polytask.files import whole_file, whole_folder, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with whole_folder(tmp_path / "result") as partial:
            (partial / f"{text}.txt").write_text(text)
            (partial / "inner").mkdir()
            (partial / "inner" / "b").write_text(text)
    assert names(tmp_path) == ["result"] and names(tmp_path / "result") == ["inner", "new.txt"]


def test_a_failure_leaves_the_old_folder_and_no_litter(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "result") as partial:
        (partial / "old.txt").write_text("old")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "result") as partial:
        (partial / "new.txt").write_text("new")
        raise RuntimeError
    assert names(tmp_path) == ["result"] and names(tmp_path / "result") == ["old.txt"]


def test_leftovers_of_a_crash_do_not_mix_in(tmp_path: Path) -> None:
    (tmp_path / ".result.partial").mkdir()
    (tmp_path / ".result.partial" / "half").write_text("x")
    (tmp_path / ".result.stale").mkdir()
    with whole_folder(tmp_path / "result") as partial:
        assert names(partial) == []
    assert names(tmp_path) == ["result"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_json(file, {"auc": math.nan, "rows": 3, "nested": [math.inf, {"x": 0.5}]})
    assert json.loads(file.read_text()) == {"auc": None, "rows": 3, "nested": [None, {"x": 0.5}]}
    with pytest.raises(RuntimeError), whole_file(file) as partial:
        partial.write_text("{")
        raise RuntimeError
    assert json.loads(file.read_text())["rows"] == 3 and names(tmp_path) == ["scores.json"]


def test_where_no_file_can_be_made_the_user_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        write_json(tmp_path / "folder", {})
    with pytest.raises(UserError, match="cannot be written"):
        write_json(tmp_path / "absent" / "a.json", {})
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"), whole_folder(tmp_path / "file" / "bundle"):
        pass
