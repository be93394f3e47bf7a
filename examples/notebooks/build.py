"""Makes the notebooks of this folder: each `NAME.py` becomes `NAME.ipynb`, executed, with its outputs.

    python examples/notebooks/build.py                    # all of them
    python examples/notebooks/build.py researcher -o out  # one, into another folder

The sources are in the percent format: `# %%` begins a cell, `# %% [markdown]` one of text. What stands above the first
mark is no cell. The kernel is the interpreter that runs this file, in an empty folder, with one thread.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

HERE = Path(__file__).parent
SOURCES = sorted(file for file in HERE.glob("*.py") if file != Path(__file__))
MARK = re.compile(r"^# %%(?P<text> \[markdown\])?\n", re.MULTILINE)
PLACE = re.compile(r"(?<![\w.:/<])/(?:tmp|home|root|Users|usr|opt|var|work)\b[^\s'\"<]*|\b[A-Z]:\\\w[^\s'\"<]*")


def read(source: Path) -> nbformat.NotebookNode:
    r"""The notebook of a percent-format file, without outputs.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.py")
        ...     _ = file.write_text("# %% [markdown]\n# # Sum\n\n# %%\n1 + 1\n")
        ...     [(cell.cell_type, cell.source) for cell in read(file).cells]
        [('markdown', '# Sum'), ('code', '1 + 1')]
    """
    _, *parts = MARK.split(source.read_text(encoding="utf-8"))
    cells = []
    for number, (text, body) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        if text:
            new, body = nbformat.v4.new_markdown_cell, re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        else:
            new = nbformat.v4.new_code_cell
        cells.append(new(body.strip(), id=f"cell-{number}"))  # ids are random else
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python", "file_extension": ".py"}}
    )


def execute(notebook: nbformat.NotebookNode) -> None:
    """Runs all cells in a new kernel and keeps their outputs.

    Raises:
        CellExecutionError: A cell raised.
    """
    with TemporaryDirectory(prefix="nb-") as folder:
        working, sockets = Path(folder, "working"), Path(folder, "sockets")
        working.mkdir()
        sockets.mkdir()
        manager = AsyncKernelManager(
            kernel_name="python3",
            # without folders to search, "python3" is ipykernel in this interpreter, whatever else is installed
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=str(sockets / "k.json"),
            transport="tcp" if os.name == "nt" else "ipc",
        )
        client = NotebookClient(notebook, km=manager, timeout=300, record_timing=False, coalesce_streams=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "IPYTHONDIR": folder}
        client.execute(cwd=str(working), env=environment, cleanup_kc=True)  # else the kernel outlives its manager
    for cell in notebook.cells:
        cell.metadata.clear()


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Everything that the cells put out as text."""
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [value for output in outputs for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return [*shown, *(output["text"] for output in outputs if "text" in output)]


def places(notebook: nbformat.NotebookNode) -> list[str]:
    """Absolute paths in what the cells put out: they are of one machine and one run."""
    return [found for text in texts(notebook) for found in PLACE.findall(text)]


def build(source: Path, out: Path) -> Path:
    """Writes the executed notebook of a source into the folder ``out``.

    Raises:
        ValueError: Outputs name places of this machine.
    """
    notebook = read(source)
    execute(notebook)
    if found := places(notebook):
        raise ValueError(f"{source.name}: outputs with absolute paths: {', '.join(found)}")
    out.mkdir(parents=True, exist_ok=True)
    file = out / source.with_suffix(".ipynb").name
    nbformat.write(notebook, file)
    return file


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description="Execute the notebooks and write them with their outputs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all if left out")
    parser.add_argument("-o", "--out", type=Path, default=HERE, metavar="FOLDER")
    arguments = parser.parse_args()
    known = [source.stem for source in SOURCES]
    if unknown := set(arguments.names).difference(known):
        parser.error(f"no notebook {', '.join(sorted(unknown))}; choose of {', '.join(known)}")
    for source in SOURCES:
        if not arguments.names or source.stem in arguments.names:
            print(build(source, arguments.out).name)


if __name__ == "__main__":
    main()
