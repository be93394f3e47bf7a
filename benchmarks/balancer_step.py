"""One training step under every balancer, at 2, 8 and 40 tasks, beside the usual module-list model and TorchJD.

python benchmarks/balancer_step.py --json rows.json
python benchmarks/balancer_step.py --balancers mgda upgrad --places representation --tasks 40 200
python benchmarks/balancer_step.py --memory --tasks 40
python benchmarks/balancer_step.py --solve --tasks 2 8 40 200
python benchmarks/balancer_step.py --quick

A step is forward, backward and Adam. The floor is an MMoE of module lists with one summed backward pass; all ratios are
to it, in one process, taking turns, median of the repeats. TorchJD's way is `mtl_backward` and `jac_to_grad` on the
same module-list model. ``--memory`` starts one process per method and reports its peak above what it had after imports.
``--solve`` times the T x T problem of every weighting alone, on Gramians of random gradients that conflict about as
often as not.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polytask.balancing
from polytask.balancing import Balancing
from polytask.balancing.engine import Part
from polytask.balancing.interfaces import Aggregator, Scalarizer, Weighting
from polytask.balancing.slopes import slopes
from polytask.balancing.split import SplitTasks
from polytask.config import asked_for
from polytask.files import write_json
from polytask.sharing import mmoe
from polytask.towers import Heads, HeadStack, Towers
from polytask.types import Step

Run = Callable[[], None]
TORCHJD = {
    "upgrad": "UPGrad",
    "mgda": "MGDA",
    "pcgrad": "PCGrad",
    "nash_mtl": "NashMTL",
    "cagrad": "CAGrad",
    "mean": "Mean",
}
QUICK = {"tasks": [2, 3], "batch": 16, "width": 8, "experts": 2, "widths": [8, 4], "tower": 4, "repeats": 1, "warm": 1}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the model and the batch."""

    tasks: int
    batch: int
    width: int
    experts: int
    widths: tuple[int, ...]
    tower: int

    def data(self) -> tuple[Tensor, Tensor]:
        """Inputs, and labels of which the first half of the tasks is binary."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(self.batch, self.width, generator=generator)
        y = torch.randn(self.tasks, self.batch, generator=generator)
        half = self.tasks // 2
        y[:half] = (y[:half] > 0).float()
        return x, y

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of every task: cross-entropy of the first half, squared error of the others."""
        half = self.tasks // 2
        entropy = functional.binary_cross_entropy_with_logits(logits[:half], labels[:half], reduction="none")
        return torch.cat([entropy.mean(1), (logits[half:] - labels[half:]).square().mean(1)])


class ModuleLists(nn.Module):
    """The usual way to write MMoE."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [sizes.width, *sizes.widths]

        def expert() -> nn.Sequential:
            pairs = pairwise(layers)
            return nn.Sequential(*(part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU())))

        def tower() -> nn.Sequential:
            return nn.Sequential(nn.Linear(layers[-1], sizes.tower), nn.ReLU(), nn.Linear(sizes.tower, 1))

        self.experts = nn.ModuleList(expert() for _ in range(sizes.experts))
        self.gates = nn.ModuleList(nn.Linear(sizes.width, sizes.experts, bias=False) for _ in range(sizes.tasks))
        self.towers = nn.ModuleList(tower() for _ in range(sizes.tasks))
        self.sizes = sizes

    def forward(self, x: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Losses, and the outputs of the experts."""
        outputs = [expert(x) for expert in self.experts]
        stacked, losses = torch.stack(outputs, 1), []
        for task, (gate, tower) in enumerate(zip(self.gates, self.towers, strict=True)):
            mixed = torch.bmm(gate(x).softmax(1).unsqueeze(1), stacked).squeeze(1)
            logits = tower(mixed).squeeze(1)
            if task < self.sizes.tasks // 2:
                losses.append(functional.binary_cross_entropy_with_logits(logits, labels[task]))
            else:
                losses.append((logits - labels[task]).square().mean())
        return losses, outputs


class Ours(nn.Module):
    """polytask's parts."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sharing = mmoe(sizes.tasks, sizes.width, experts=sizes.experts, widths=sizes.widths)
        self.towers = Towers(sizes.tasks, sizes.widths[-1], (sizes.tower,))
        self.heads = Heads(sizes.tower, [HeadStack(tuple(range(sizes.tasks)), 1)])


def floor(sizes: Sizes) -> Run:
    """One summed loss."""
    model, (x, labels) = ModuleLists(sizes), sizes.data()
    optimizer = torch.optim.Adam(model.parameters())

    def run() -> None:
        optimizer.zero_grad()
        losses, _ = model(x, labels)
        torch.stack(losses).sum().backward()
        optimizer.step()

    return run


def torchjd(sizes: Sizes, method: str) -> Run:
    """TorchJD's per-task gradients at the parameters of the experts."""
    from torchjd import aggregation
    from torchjd.autojac import jac_to_grad, mtl_backward

    warnings.filterwarnings("ignore", message="You are solving a parameterized problem")  # of cvxpy, in Nash-MTL
    model, (x, labels) = ModuleLists(sizes), sizes.data()
    optimizer, aggregator = torch.optim.Adam(model.parameters()), _torchjd_aggregator(aggregation, method, sizes.tasks)
    shared = list(model.experts.parameters())

    def run() -> None:
        optimizer.zero_grad()
        losses, outputs = model(x, labels)
        mtl_backward(losses, features=outputs)
        jac_to_grad(shared, aggregator)
        optimizer.step()

    return run


def _torchjd_aggregator(aggregation: Any, method: str, tasks: int) -> Any:
    found = getattr(aggregation, TORCHJD[method])
    return found(n_tasks=tasks) if method == "nash_mtl" else found(c=0.4) if method == "cagrad" else found()


def ours(sizes: Sizes, method: str, place: str) -> Run:
    """Polytask's step."""
    model, (x, labels) = Ours(sizes), sizes.data()
    balancer = build(method, sizes.tasks)
    engine = Balancing(balancer, sizes.tasks, at=None if place in ("losses", "own") else place)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam([*model.parameters(), *balancer.parameters()], fused=True)
    present, count = torch.ones(sizes.tasks, dtype=torch.bool), 0

    def losses_and_value() -> tuple[Tensor, Any]:
        made = model.sharing(x)
        (logits,) = model.heads(model.towers(made.value))
        return sizes.losses(logits.squeeze(2), labels), made

    @torch.no_grad()
    def again() -> Tensor:
        return losses_and_value()[0]

    def looking_ahead(weights: Tensor) -> Tensor:
        held_out = lambda chosen: (chosen * losses_and_value()[0]).sum()  # noqa: E731  # as many rows, the same ones
        return slopes(weights, held_out, again, list(model.parameters()))

    def run() -> None:
        nonlocal count
        optimizer.zero_grad()
        losses, made = losses_and_value()
        step = Step(count, 0, present, losses.detach())
        engine.backward([Part(SplitTasks(losses, made.value, made.cut))], step)
        optimizer.step()
        engine.after_step(step, again, looking_ahead)
        count += 1

    return run


def build(method: str, tasks: int) -> Any:
    """A balancer with its defaults."""
    builder = getattr(polytask.balancing, method)
    names = [f"task{number}" for number in range(tasks)]
    known = {"tasks": tasks, "names": names, "kinds": ["binary"] * (tasks // 2) + ["regression"] * (tasks - tasks // 2)}
    own = {"constant": {"weights": [1.0] * tasks}, "annealed": {"weights": [1.0] * tasks, "rates": [0.99] * tasks}}
    given = asked_for(builder, own.get(method, {}))
    return builder(**asked_for(builder, known), **given)


def places(method: str, wanted: Sequence[str]) -> list[str]:
    """Where a method is measured."""
    balancer = build(method, 2)
    if isinstance(balancer, Scalarizer):
        return ["losses"] if "representation" in wanted else []
    if isinstance(balancer, Aggregator):
        return ["parameters"] if "parameters" in wanted else []
    own = [] if balancer.place == "representation" else [balancer.place]
    return own if own else list(wanted)


def candidates(sizes: Sizes, args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Run]]]:
    """All runs, by name; the floor first."""
    yield "floor", lambda: floor(sizes)
    yield "ours plain", lambda: ours(sizes, "equal", "losses")
    for method in args.balancers:
        for place in places(method, args.places):
            yield f"ours {method} {place}", lambda m=method, p=place: ours(sizes, m, p)
    if sizes.tasks <= args.peer_tasks:
        for method in args.balancers:
            if method in TORCHJD and "parameters" in args.places:
                yield f"torchjd {method}", lambda m=method: torchjd(sizes, m)


def timed(runs: Mapping[str, Run], args: argparse.Namespace) -> dict[str, float]:
    """Median seconds of every run, one step of each after the other."""
    for run in runs.values():
        for _ in range(args.warm):
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(tasks: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one number of tasks; the methods in groups, each with its own floor, to bound memory."""
    sizes = sizes_of(tasks, args)
    everyone = dict(candidates(sizes, args))
    first = {name: everyone.pop(name) for name in ("floor", "ours plain")}
    rows, names = [], list(everyone)
    for start in range(0, max(len(names), 1), args.group):
        group = {**first, **{name: everyone[name] for name in names[start : start + args.group]}}
        found = timed({name: make() for name, make in group.items()}, args)
        for name, seconds in found.items():
            if start and name in first:
                continue
            row = {"tasks": tasks, "method": name, "seconds": seconds, "floor": seconds / found["floor"],
                   "plain": seconds / found["ours plain"]}  # fmt: skip
            rows.append(row)
            print(f"{tasks:>6} {name:<36}{seconds * 1e3:>10.1f}{row['floor']:>9.2f}{row['plain']:>9.2f}", flush=True)
    return rows


def sizes_of(tasks: int, args: argparse.Namespace) -> Sizes:
    """The sizes that were asked for."""
    return Sizes(tasks, args.batch, args.width, args.experts, tuple(args.widths), args.tower)


def memory(args: argparse.Namespace, given: Sequence[str]) -> list[dict[str, Any]]:
    """Peak memory of every method, each in a process of its own."""
    rows = []
    for tasks in args.tasks:
        for name, _ in candidates(sizes_of(tasks, args), args):
            command = [sys.executable, __file__, *given, "--alone", name, "--tasks", str(tasks)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append({"tasks": tasks, "method": name, "mib": float(done.stdout.split()[-1])})
            print(f"{tasks:>6} {name:<36}{rows[-1]['mib']:>10.0f} MiB", flush=True)
    return rows


def solve(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Milliseconds from a Gramian to weights."""
    rows = []
    for tasks in args.tasks:
        generator = torch.Generator().manual_seed(0)
        gramians = []
        for _ in range(args.repeats):
            gradients = torch.randn(tasks, 4 * tasks, generator=generator)
            gramians.append(gradients @ gradients.T)
        for method in args.balancers:
            balancer = build(method, tasks)
            if not isinstance(balancer, Weighting):
                continue
            times = []
            for number, gramian in enumerate([gramians[0], *gramians]):
                step = Step(number, 0, torch.ones(tasks, dtype=torch.bool), torch.ones(tasks))
                begun = time.perf_counter()
                balancer(gramian, step)
                times.append(time.perf_counter() - begun)
            rows.append({"tasks": tasks, "method": method, "ms": 1e3 * statistics.median(times[1:])})
            print(f"{tasks:>6} {method:<36}{rows[-1]['ms']:>10.2f} ms", flush=True)
    return rows


def alone(name: str, args: argparse.Namespace) -> None:
    """Prints the peak of one method above what the process had before."""
    if name.startswith("torchjd"):
        import torchjd.autojac  # noqa: F401  # part of the imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = dict(candidates(sizes_of(args.tasks[0], args), args))[name]()
    for _ in range(5):
        run()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main(given: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Prints one line per method and number of tasks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--balancers", nargs="+", default=list(polytask.balancing.__all__))
    parser.add_argument("--places", nargs="+", default=["representation", "parameters"])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 8, 40])
    parser.add_argument("--peer-tasks", type=int, default=40, help="TorchJD runs up to so many tasks")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 128])
    parser.add_argument("--tower", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--group", type=int, default=6, help="methods that take turns")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--solve", action="store_true")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    arguments = list(sys.argv[1:] if given is None else given)
    args = parser.parse_args(arguments)
    if args.quick:
        vars(args).update(QUICK if args.alone is None else {**QUICK, "tasks": args.tasks})
    torch.set_num_threads(args.threads)
    if args.alone:
        alone(args.alone, args)
        return []
    if args.solve:
        rows = solve(args)
    elif args.memory:
        rows = memory(args, arguments)
    else:
        print(f"{'tasks':>6} {'method':<36}{'ms':>10}{'floor':>9}{'plain':>9}")
        rows = [row for tasks in args.tasks for row in measure(tasks, args)]
    if args.json:
        write_json(args.json, json.loads(json.dumps(rows)))
    return rows


if __name__ == "__main__":
    main()
