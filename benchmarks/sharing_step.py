"""One training step of every architecture at 2, 8 and 40 tasks, beside module lists with loops over tasks and experts.

python benchmarks/sharing_step.py
python benchmarks/sharing_step.py --architectures mmoe ple --tasks 2 40 --json rows.json
python benchmarks/sharing_step.py --quick

A step is forward and backward of the architecture alone, its penalty included. The loops (`twins/`) are what libraries
of module lists do (one `nn.Sequential` per expert, one `nn.Linear` per gate, a Python loop over both), with the same
weights; values and gradients at the input are compared before anything is timed. The two take turns, the best of the
repeats counts. "growth" is the time at most tasks over that at fewest, beside the same ratio of the arithmetic. "floor"
is the arithmetic of the loop, which computes nothing that nobody reads, at the rate of one large matrix product, as a
share of the loop's time: no implementation of the same formula gets below it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polytask.sharing
from benchmarks.child import gemm
from benchmarks.twins import twin
from polytask.files import write_json
from polytask.sharing.representation import Sharing

Forward = Callable[[Tensor], tuple[Tensor, Tensor | None]]
QUICK = {"tasks": [2, 3], "batch": 16, "width": 8, "repeats": 1, "warm": 0, "gemm": 64}


def step(forward: Forward, x: Tensor, down: Tensor) -> None:
    """Forward and backward; the gradient of the input is dropped."""
    value, penalty = forward(x)
    torch.autograd.backward([value] if penalty is None else [value, penalty], [down, None][: 1 + (penalty is not None)])
    x.grad = None


def seconds(forward: Forward, parameters: list[nn.Parameter], x: Tensor, down: Tensor) -> float:
    """One step."""
    for parameter in parameters:
        parameter.grad = None
    start = time.perf_counter()
    step(forward, x, down)
    return time.perf_counter() - start


def gflop(forward: Forward, x: Tensor, down: Tensor) -> float:
    """The products of one step."""
    with FlopCounterMode(display=False) as counter:
        step(forward, x, down)
    return float(counter.get_total_flops()) / 1e9


def compare(ours: Forward, loop: Forward, x: Tensor, down: Tensor) -> None:
    """Raises if values, penalties or gradients at the input differ; both draw the same random numbers."""
    found = []
    for forward in (ours, loop):
        torch.manual_seed(1)
        value, penalty = forward(x)
        (gradient,) = torch.autograd.grad(value, x, down)
        found.append((value.detach(), gradient, torch.zeros(()) if penalty is None else penalty.detach()))
    for mine, theirs in zip(*found, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4 * max(scale, 1e-3))


def measure(name: str, tasks: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(0)
    sharing: Sharing = getattr(polytask.sharing, name)(tasks, args.width)
    sharing.train()
    loop = twin(sharing).train()
    x = torch.randn(args.batch, args.width, requires_grad=True)

    def ours(x: Tensor) -> tuple[Tensor, Tensor | None]:
        found = sharing(x)
        return found.value, found.penalty

    down = torch.randn(tasks, args.batch, sharing.out_features)
    compare(ours, loop, x, down)
    candidates: dict[str, tuple[Forward, list[nn.Parameter]]] = {
        "ours": (ours, list(sharing.parameters())),
        "loop": (loop, list(loop.parameters())),
    }
    products = {key: gflop(forward, x, down) for key, (forward, _) in candidates.items()}
    for forward, parameters in candidates.values():
        for _ in range(args.warm):
            seconds(forward, parameters, x, down)
    times: dict[str, list[float]] = {key: [] for key in candidates}
    for _ in range(args.repeats):
        for key, (forward, parameters) in candidates.items():
            times[key].append(seconds(forward, parameters, x, down))
    best = {key: min(values) for key, values in times.items()}
    row = {
        "architecture": name,
        "tasks": tasks,
        "gflop": products,
        "seconds": best,
        "ratio": best["ours"] / best["loop"],
    }
    return {**row, "all_seconds": times}


def main(given: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Prints one line per architecture and number of tasks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--architectures", nargs="+", default=list(polytask.sharing.__all__))
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 8, 40])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gemm", type=int, default=2048, help="size of the product that measures the machine")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    args = parser.parse_args(given)
    if args.quick:
        vars(args).update(QUICK)
    torch.set_num_threads(args.threads)
    peak = gemm(args.gemm)["gflops"]
    print(f"one product of {args.gemm} x {args.gemm} matrices: {peak:.0f} GFLOP/s with {args.threads} threads")
    print(
        f"{'architecture':<22}{'tasks':>6}{'GFLOP':>9}{'ours ms':>10}{'loop ms':>10}{'ours/loop':>11}"
        f"{'floor':>8}{'of peak':>9}"
    )
    rows = []
    for name in args.architectures:
        measured = [measure(name, tasks, args) for tasks in args.tasks]
        for row in measured:
            mine, theirs = row["seconds"]["ours"], row["seconds"]["loop"]
            row["floor"] = row["gflop"]["loop"] / peak / theirs
            row["of_peak"] = row["gflop"]["ours"] / peak / mine
            text = f"{name:<22}{row['tasks']:>6}{row['gflop']['ours']:>9.2f}{mine * 1e3:>10.2f}{theirs * 1e3:>10.2f}"
            print(f"{text}{row['ratio']:>11.2f}{row['floor']:>8.2f}{row['of_peak']:>9.2f}")
        first, last = measured[0], measured[-1]
        grown = last["seconds"]["ours"] / first["seconds"]["ours"]
        arithmetic = last["gflop"]["ours"] / first["gflop"]["ours"]
        print(f"{'':<22}growth x{grown:.1f}, arithmetic x{arithmetic:.1f}", flush=True)
        for row in measured:
            row["peak_gflops"] = peak
        rows += measured
    if args.json:
        write_json(args.json, json.loads(json.dumps(rows)))
    return rows


if __name__ == "__main__":
    main()
