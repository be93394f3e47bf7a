"""The side of a benchmark that asks: environments of the peers, and child processes that take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.common import Spec

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = Path(__file__).resolve().parent / "peers"
VENVS = Path(__file__).resolve().parent / ".venvs"


@dataclass(frozen=True, slots=True)
class Entry:
    """A runner that can be asked for.

    Attributes:
        target: ``module:Class`` of the runner.
        environment: Name of its virtual environment and requirements file; empty for the current interpreter.
    """

    target: str
    environment: str = ""

    @property
    def is_peer(self) -> bool:
        """Whether somebody else's library runs here."""
        return bool(self.environment)


RUNNERS = {
    "floor": Entry("benchmarks.peers.floor:Floor"),
    "floor_sparse": Entry("benchmarks.peers.floor:FloorSparse"),
    "deepctr": Entry("benchmarks.peers.deepctr:DeepCtr", "deepctr"),
    "rechub": Entry("benchmarks.peers.rechub:Rechub", "rechub"),
    "polytask": Entry("benchmarks.peers.ours:Polytask"),
}


def set_up(names: list[str], venvs: Path) -> None:
    """Makes the environment of each peer among ``names`` and installs its pinned requirements."""
    for name in sorted({RUNNERS[name].environment for name in names} - {""}):
        folder = venvs / name
        print(f"{name}: installing into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS / f"{name}.txt")], check=True)


def interpreter(name: str, venvs: Path) -> str:
    """The Python of a runner; an error with the remedy where its environment is missing."""
    environment = RUNNERS[name].environment
    if not environment:
        return sys.executable
    python = venvs / environment / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{name}: {python} is missing; run with --setup first, or leave it out with --runners")
    return str(python)


class Child:
    """One runner in its own process.

    Args:
        name: A key of :data:`RUNNERS`.
        spec: The configuration.
        threads: Threads and cores it may use.
        venvs: Folder of the peers' environments.
    """

    def __init__(self, name: str, spec: Spec, *, threads: int, venvs: Path = VENVS) -> None:
        self.name = name
        self.log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed in close)
        limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
        environment = {**os.environ, **dict.fromkeys(limits, str(threads))}
        path = [str(ROOT), str(ROOT / "src")]
        environment["PYTHONPATH"] = os.pathsep.join(path)
        self.process = subprocess.Popen(
            [interpreter(name, venvs), "-m", "benchmarks.child", RUNNERS[name].target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self._send({"threads": threads, "spec": spec.to_json()})

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Sends one request and waits for the answer."""
        self._send({"do": verb, **arguments})
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended during {verb!r}; the last it said:\n{self._last_words()}")
        return dict(json.loads(answer))

    def _send(self, value: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(value) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise SystemExit(f"{self.name} ended early; the last it said:\n{self._last_words()}") from error

    def _last_words(self) -> str:
        self.process.wait()
        self.log.seek(0)
        return "".join(self.log.readlines()[-15:])

    def close(self) -> None:
        """Ends the process; it is not waited for politely, because a library may hang on a network look-up at exit."""
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
