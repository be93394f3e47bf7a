"""The notebooks are their sources, executed, and run in an interpreter that has nothing but the packages."""

from __future__ import annotations

import doctest
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from blocks import ROOT

FOLDER = ROOT / "examples" / "notebooks"
SOURCES = sorted(file for file in FOLDER.glob("*.py") if file.name != "build.py")
LARGEST = 200_000

notebooks = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "build.py"))


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str, str]]:
    return [(cell.id, cell.cell_type, cell.source) for cell in notebook.cells]


def test_there_is_a_notebook_for_each_source() -> None:
    assert len(SOURCES) == 4
    assert {file.stem for file in FOLDER.glob("*.ipynb")} == {source.stem for source in SOURCES}


@notebooks
def test_a_notebook_is_its_source_executed(source: Path, build: dict[str, Any]) -> None:
    file = source.with_suffix(".ipynb")
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert cells(notebook) == cells(build["read"](source)), "run examples/notebooks/build.py"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(notebook.cells) <= 25 and len(code) <= 15
    assert file.stat().st_size < LARGEST
    assert not any(cell.metadata for cell in notebook.cells)


@notebooks
def test_outputs_are_of_no_one_machine(source: Path, build: dict[str, Any]) -> None:
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert build["texts"](notebook) and build["places"](notebook) == []
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    assert not re.search(r"\bat 0x[0-9a-f]{6,}", "\n".join(build["texts"](notebook)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run folder: /tmp/polytask-x/run", ["/tmp/polytask-x/run"]),
        ("PosixPath('/home/me/run')", ["/home/me/run"]),
        (r"C:\Users\me", [r"C:\Users\me"]),
        ("<style scoped></style> 1/2, https://pytorch.org/home and runs/first", []),
    ],
)
def test_absolute_paths_are_found(text: str, found: list[str], build: dict[str, Any]) -> None:
    output = nbformat.v4.new_output("stream", text=text)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    assert build["places"](notebook) == found


def test_the_percent_format_is_read(build: dict[str, Any]) -> None:
    found = doctest.DocTestFinder().find(build["read"], "read", globs={**build})
    results = [doctest.DocTestRunner().run(test) for test in found]
    assert sum(result.attempted for result in results) == 2 and not any(result.failed for result in results)


def execute(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs build.py apart from this process, so that warnings of its packages are not ours."""
    command = [sys.executable, str(FOLDER / "build.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ), check=False)


@pytest.mark.slow
@notebooks
def test_a_notebook_executes(source: Path, tmp_path: Path) -> None:
    done = execute(source.stem, "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert pictures(tmp_path / f"{source.stem}.ipynb") == pictures(source.with_suffix(".ipynb")) > 0


def pictures(file: Path) -> int:
    cells = nbformat.read(file, as_version=4).cells
    return sum("image/png" in output.get("data", ()) for cell in cells for output in cell.get("outputs", ()))


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    done = execute("researchr", "-o", str(tmp_path))
    assert (
        done.returncode == 2
        and "no notebook researchr; choose of data_scientist" in done.stderr
        and not list(tmp_path.iterdir())
    )


def test_a_cell_that_raises_stops_the_build(tmp_path: Path, build: dict[str, Any]) -> None:
    source = tmp_path / "broken.py"
    source.write_text("# %%\n1 / 0\n", encoding="utf-8")
    code = f"import runpy; runpy.run_path({str(FOLDER / 'build.py')!r})['build'](*map(__import__('pathlib').Path, "
    code += f"({str(source)!r}, {str(tmp_path / 'out')!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert not (tmp_path / "out").exists()
