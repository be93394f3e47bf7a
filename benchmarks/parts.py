"""Smaller questions beside the table: cost of a large vocabulary, growth of memory with rows, share of the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import Architecture, Spec
from benchmarks.processes import Child
from benchmarks.synthetic import TableSpec, write_table


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure.

    Attributes:
        work: Folder of the tables.
        venvs: Folder of the peers' environments.
        threads: Threads and cores of each child.
        repeats: Timed repeats; best and median are kept.
        warm_rows: Rows trained before the clock starts. DeepCTR-Torch starts with weights so small that its first ten
            steps are slowed by denormal numbers, so that this should be above 40 960 at full size.
        rows: Rows of one timed repeat of training.
        infer_rows: Rows of one timed repeat of scoring.
        curve: After how many rows held-out AUC is taken; empty for not at all.
        gemm: Size of the matrix product that measures the machine.
    """

    work: Path
    venvs: Path
    threads: int = 2
    repeats: int = 4
    warm_rows: int = 65_536
    rows: int = 40_960
    infer_rows: int = 81_920
    curve: tuple[int, ...] = (102_400, 400_000)
    gemm: int = 4096


def make_spec(
    table: TableSpec, options: Options, architecture: Architecture = "mmoe", tasks: int = 2, **sizes: Any
) -> Spec:
    """Writes the table where it is missing and joins it with the sizes."""
    folder = write_table(table, options.work)
    return Spec(architecture, tasks, str(folder.resolve()), table, **sizes)


def vocabulary(runners: list[str], table: TableSpec, options: Options, sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """Seconds per training step with a small and with a large vocabulary; all ids equally frequent."""
    specs = [make_spec(replace(table, ids=ids, skew=1.0), options) for ids in sizes]
    out = []
    for name in runners:
        steps = []
        for spec in specs:
            with Child(name, spec, threads=options.threads, venvs=options.venvs) as child:
                child.ask("load")
                child.ask("start", seed=0)
                child.ask("train", rows=options.warm_rows)
                seconds = [child.ask("train", rows=options.rows)["seconds"] for _ in range(options.repeats)]
            steps.append(min(seconds) * spec.batch / options.rows)
        row = {"runner": name, "ids": list(sizes), "step_seconds": steps, "ratio": steps[1] / steps[0]}
        print(f"{name:<14} {sizes[0]:>11,} ids {steps[0] * 1e3:8.1f} ms/step", end="")
        print(f"   {sizes[1]:>11,} ids {steps[1] * 1e3:8.1f} ms/step   x{row['ratio']:.2f}", flush=True)
        out.append(row)
    return out


def memory(runners: list[str], table: TableSpec, options: Options, sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """Peak resident memory of one pass over a short and over a long table, with a network that costs little."""
    small: dict[str, Any] = {"experts": 1, "expert_widths": (8,), "towers": (8,), "embedding": 4}
    specs = [make_spec(replace(table, rows=rows), options, **small) for rows in sizes]
    out = []
    for name in runners:
        peaks = []
        for spec in specs:
            with Child(name, spec, threads=options.threads, venvs=options.venvs) as child:
                child.ask("load")
                child.ask("start", seed=0)
                child.ask("train", rows=spec.table.rows)
                peaks.append(child.ask("memory")["peak_mib"])
        row = {"runner": name, "rows": list(sizes), "peak_mib": peaks, "ratio": peaks[1] / peaks[0]}
        print(f"{name:<14} {sizes[0]:>11,} rows {peaks[0]:8.0f} MiB", end="")
        print(f"   {sizes[1]:>11,} rows {peaks[1]:8.0f} MiB   x{row['ratio']:.2f}", flush=True)
        out.append(row)
    return out


def input_share(runners: list[str], table: TableSpec, options: Options) -> list[dict[str, Any]]:
    """Time of making batches alone over the time of training on as many, in turns."""
    spec = make_spec(table, options)
    out = []
    for name in runners:
        with Child(name, spec, threads=options.threads, venvs=options.venvs) as child:
            child.ask("load")
            child.ask("start", seed=0)
            child.ask("train", rows=options.warm_rows)
            child.ask("read", rows=options.warm_rows)
            pairs = [
                (child.ask("read", rows=options.rows)["seconds"], child.ask("train", rows=options.rows)["seconds"])
                for _ in range(options.repeats)
            ]
        share = median(read / train for read, train in pairs)
        print(f"{name:<14} input {100 * share:5.1f} % of a training step", flush=True)
        out.append({"runner": name, "share": share, "read_train_seconds": pairs})
    return out
