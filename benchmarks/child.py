"""The side of a benchmark that is measured: a process that obeys one request at a time and answers in JSON.

Run as ``python -m benchmarks.child benchmarks.peers.floor:Floor``; requests come in on standard input, one per line,
and answers leave on the original standard output. Whatever the library prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import torch

from benchmarks.common import Runner, Spec, auc, dense_flops

MIB = 1024.0


def status(field: str) -> float:
    """A field of ``/proc/self/status`` in MiB; 0 where the system has none."""
    path = Path("/proc/self/status")
    if not path.exists():
        return 0.0
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(line[1]) / MIB for line in lines if line and line[0] == f"{field}:"), 0.0)


def reset_peak() -> None:
    """Makes the kernel forget the peak so far; where that is not allowed the peak of the imports remains in it."""
    path = Path("/proc/self/clear_refs")
    if os.access(path, os.W_OK):
        path.write_text("5")


def take_threads(threads: int) -> None:
    """Gives this process ``threads`` threads and as many cores, so that loaders do not come on top."""
    torch.set_num_threads(threads)
    pa.set_cpu_count(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def gemm(size: int) -> dict[str, Any]:
    """Rate of one large matrix product, the ceiling of everything else, in GFLOP/s (best of two)."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return {"gflops": 2 * size**3 / best / 1e9}


class Session:
    """Carries out requests on one runner and measures them."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        reset_peak()
        self.base = status("VmRSS")

    def memory(self) -> dict[str, Any]:
        """Peak resident memory above that after imports, then forgets the peak."""
        peak = status("VmHWM") - self.base
        reset_peak()
        return {"peak_mib": peak, "after_imports_mib": self.base}

    def predict(self, rows: int, score: bool) -> dict[str, Any]:
        """Scores held-out rows, on request with the AUC of each task (not part of the time)."""
        start = time.perf_counter()
        scores = self.runner.predict(rows)
        seconds = time.perf_counter() - start
        expected = (rows, self.runner.spec.tasks)
        if scores.shape != expected:
            raise ValueError(f"predictions have shape {scores.shape}, expected {expected}")
        labels = self.runner.heldout.labels[:rows] if score else None
        aucs = [] if labels is None else [auc(labels[:, t], scores[:, t]) for t in range(scores.shape[1])]
        return {"seconds": seconds, "auc": aucs}

    def describe(self) -> dict[str, Any]:
        """Versions and the arithmetic of one row."""
        runner = self.runner
        return {
            "version": version(runner.distribution),
            "torch": torch.__version__,
            "flops_per_row": dense_flops(runner.spec, runner.dense_width),
        }

    def obey(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carries out one request and returns its answer, always with ``seconds``."""
        arguments = {key: value for key, value in request.items() if key != "do"}
        start = time.perf_counter()
        match request["do"]:
            case "load" | "start" | "train" | "read" as verb:
                getattr(self.runner, verb)(**arguments)
                answer: dict[str, Any] = {}
            case "predict":
                answer = self.predict(**arguments)
            case "memory":
                answer = self.memory()
            case "describe":
                answer = self.describe()
            case "gemm":
                answer = gemm(**arguments)
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")
        return {"seconds": time.perf_counter() - start, **answer}


def private_stdout() -> TextIO:
    """Keeps the original standard output for answers and sends everything that libraries print to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Reads the first line (threads and sizes), then obeys until standard input closes."""
    answers = private_stdout()
    hello = json.loads(sys.stdin.readline())
    take_threads(hello["threads"])
    module, _, name = sys.argv[1].partition(":")
    runner: Runner = getattr(importlib.import_module(module), name)(Spec.from_json(hello["spec"]))
    session = Session(runner)
    for line in sys.stdin:
        answers.write(json.dumps(session.obey(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
