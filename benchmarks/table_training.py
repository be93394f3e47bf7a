"""Training on a table, side by side: polytask, a hand-written floor and other libraries, as ratios from one run.

    python benchmarks/table_training.py --setup                  # once: an environment for each peer
    python benchmarks/table_training.py --json rows.json         # MMoE and PLE, 2 and 6 tasks
    python benchmarks/table_training.py --part vocabulary --runners floor polytask

The children take turns, round by round, so that a disturbance of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Spec
from benchmarks.parts import Options, input_share, make_spec, memory, vocabulary
from benchmarks.processes import RUNNERS, VENVS, Child, set_up
from benchmarks.synthetic import TableSpec

TRAIN_TO_FORWARD = 3  # a step's matrix products: forward, gradient of the input, gradient of the weights
Row = dict[str, Any]


def measure(runners: Sequence[str], spec: Spec, options: Options) -> list[Row]:
    """Measures all runners on one configuration; one row each, in the order asked for."""
    with ExitStack() as stack:
        machine = stack.enter_context(Child("floor", spec, threads=options.threads, venvs=options.venvs))
        children = {
            name: stack.enter_context(Child(name, spec, threads=options.threads, venvs=options.venvs))
            for name in runners
        }
        rows: dict[str, Row] = {}
        for name, child in children.items():
            rows[name] = {"runner": name, "architecture": spec.architecture, "tasks": spec.tasks}
            rows[name] |= {"threads": options.threads, **_without_seconds(child.ask("describe"))}
            rows[name]["load_seconds"] = child.ask("load")["seconds"]
            rows[name]["start_seconds"] = child.ask("start", seed=spec.seed)["seconds"]
            child.ask("train", rows=options.warm_rows)
        peak = [machine.ask("gemm", size=options.gemm)["gflops"]]
        for name, rates in _rounds(children, "train", options, rows=options.rows).items():
            rows[name] |= {"train_rates": rates} | _without_seconds(children[name].ask("memory"))
        peak.append(machine.ask("gemm", size=options.gemm)["gflops"])
        for child in children.values():
            child.ask("predict", rows=options.infer_rows, score=False)
        for name, rates in _rounds(children, "predict", options, rows=options.infer_rows, score=False).items():
            rows[name]["infer_rates"] = rates
            rows[name]["infer_peak_mib"] = children[name].ask("memory")["peak_mib"]
        peak.append(machine.ask("gemm", size=options.gemm)["gflops"])
        for name, child in children.items():
            rows[name] |= _curve(child, spec, options)
    return _finish(list(rows.values()), max(peak))


def _without_seconds(answer: Row) -> Row:
    return {key: value for key, value in answer.items() if key != "seconds"}


def _rounds(children: dict[str, Child], verb: str, options: Options, **arguments: Any) -> dict[str, list[float]]:
    """Rows per second of every child in every round; the children take turns."""
    rates: dict[str, list[float]] = {name: [] for name in children}
    for _ in range(options.repeats):
        for name, child in children.items():
            rates[name].append(arguments["rows"] / child.ask(verb, **arguments)["seconds"])
    return rates


def _curve(child: Child, spec: Spec, options: Options) -> Row:
    """Trains a fresh model and takes the held-out AUC of each task after exactly so many rows."""
    if not options.curve:
        return {"auc": {}, "curve_seconds": []}
    child.ask("start", seed=spec.seed)
    seen, scores, seconds = 0, {}, []
    for rows in options.curve:
        seconds.append(child.ask("train", rows=rows - seen)["seconds"])
        seen = rows
        scores[str(rows)] = child.ask("predict", rows=spec.table.heldout, score=True)["auc"]
    return {"auc": scores, "curve_seconds": seconds}


def _finish(rows: list[Row], gemm: float) -> list[Row]:
    """Adds best, median, share of the machine, and ratios to the floor and to the best peer."""
    for row in rows:
        for kind in ("train", "infer"):
            row[f"{kind}_best"] = max(row[f"{kind}_rates"])
            row[f"{kind}_median"] = median(row[f"{kind}_rates"])
        flops = row["flops_per_row"]
        row["gemm_gflops"] = gemm
        row["train_share"] = row["train_best"] * flops * TRAIN_TO_FORWARD / gemm / 1e9
        row["infer_share"] = row["infer_best"] * flops / gemm / 1e9
    references = {
        "floor": [row for row in rows if row["runner"] == "floor"],
        "peer": [row for row in rows if RUNNERS[row["runner"]].is_peer],
    }
    for label, candidates in references.items():
        for key, best in (("train_best", max), ("infer_best", max), ("peak_mib", min)):
            value = best((candidate[key] for candidate in candidates), default=None)
            for row in rows:
                row[f"{key}_x_{label}"] = row[key] / value if value else None
    return rows


def format_rows(rows: Sequence[Row]) -> str:
    """The rows of one configuration as text; ratios to the floor / to the best peer stand behind each figure."""
    first = rows[0]
    head = f"{first['architecture'].upper()}, {first['tasks']} tasks, {first['threads']} threads"
    lines = [f"{head}; machine: {first['gemm_gflops']:.0f} GFLOP/s (one large matrix product)"]
    title = ["train rows/s", "median", "x floor", "x peer", "of peak", "infer rows/s", "x floor", "x peer"]
    title += ["memory MiB", "x floor", "x peer"]
    lines.append(f"{'runner':<14}" + "".join(f"{name:>14}" for name in title) + "   held-out AUC after so many rows")
    for row in rows:
        cells = [f"{row['train_best']:,.0f}", f"{row['train_median']:,.0f}", *_ratios(row, "train_best")]
        cells += [f"{100 * row['train_share']:.0f} %", f"{row['infer_best']:,.0f}", *_ratios(row, "infer_best")]
        cells += [f"{row['peak_mib']:,.0f}", *_ratios(row, "peak_mib")]
        curve = "   ".join(f"{int(n):,}: " + " ".join(f"{a:.4f}" for a in aucs) for n, aucs in row["auc"].items())
        lines.append(f"{row['runner']:<14}" + "".join(f"{cell:>14}" for cell in cells) + "   " + curve)
    return "\n".join(lines)


def _ratios(row: Row, key: str) -> list[str]:
    values = (row[f"{key}_x_{label}"] for label in ("floor", "peer"))
    return ["-" if value is None else f"{value:.2f}" for value in values]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    add = parser.add_argument
    add("--part", choices=("table", "vocabulary", "memory", "input"), default="table")
    add("--setup", action="store_true", help="make the peers' environments and stop")
    add("--runners", nargs="+", choices=tuple(RUNNERS), default=None, help="all (table), or polytask (other parts)")
    add("--architectures", nargs="+", choices=("mmoe", "ple"), default=["mmoe", "ple"])
    add("--tasks", nargs="+", type=int, choices=(2, 6), default=[2, 6])
    add("--threads", type=int, default=2)
    add("--repeats", type=int, default=4)
    add("--rows", type=int, default=40_960, help="rows of one timed repeat of training")
    add("--warm-rows", type=int, default=65_536)
    add("--infer-rows", type=int, default=81_920, help="rows of one timed repeat of scoring")
    add("--curve", nargs="*", type=int, default=[102_400, 400_000], help="rows after which AUC is taken; none: skip")
    add("--gemm", type=int, default=4096, help="size of the matrix product that measures the machine")
    add("--table-rows", type=int, default=400_000)
    add("--heldout-rows", type=int, default=100_000)
    add("--ids", nargs=2, type=int, default=[1_000_000, 10_000_000], help="sizes for --part vocabulary")
    add("--memory-rows", nargs=2, type=int, default=[1_000_000, 20_000_000], help="sizes for --part memory")
    add("--work", type=Path, default=here / ".work", help="where the tables are written once")
    add("--venvs", type=Path, default=VENVS, help="where the peers' environments are")
    add("--json", type=Path, help="write all rows to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one part and prints it."""
    args = parse(arguments)
    runners = args.runners or (list(RUNNERS) if args.part == "table" else ["polytask"])
    if args.setup:
        set_up(args.runners or list(RUNNERS), args.venvs)
        return
    options = Options(
        work=args.work, venvs=args.venvs, threads=args.threads, repeats=args.repeats, warm_rows=args.warm_rows,
        rows=args.rows, infer_rows=args.infer_rows, curve=tuple(args.curve), gemm=args.gemm,
    )  # fmt: skip
    table = TableSpec(rows=args.table_rows, heldout=args.heldout_rows)
    rows: list[Row] = []
    match args.part:
        case "vocabulary":
            rows = vocabulary(runners, table, options, (args.ids[0], args.ids[1]))
        case "memory":
            rows = memory(runners, table, options, (args.memory_rows[0], args.memory_rows[1]))
        case "input":
            rows = input_share(runners, table, options)
        case _:
            for architecture in args.architectures:
                for tasks in args.tasks:
                    measured = measure(runners, make_spec(table, options, architecture, tasks), options)
                    print(format_rows(measured), end="\n\n", flush=True)
                    rows += measured
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
