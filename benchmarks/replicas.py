"""Replicas as one vectorised program against one run after another, on the networks of experiments/ma-2018-mmoe.

Both train the same networks on the same rows with the same batches. "One after another" is an ordinary loop: polytask's
model, a backward pass, torch's fused Adam. Rounds alternate, so that a disturbance hits both; the best round counts.

    python benchmarks/replicas.py
    python benchmarks/replicas.py --replicas 200 --threads 2
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from polytask.replicas import Plan, Program, Replicas, Rows, batches, train
from polytask.reproduce.claims import MODELS
from polytask.reproduce.network import ModelName, Network, network

FEATURES, ROWS = 100, 2_000


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured.

    Attributes:
        replicas: Runs side by side.
        steps: Steps per run and round.
        batch_size: Rows per step and run.
        rounds: Of both, in turns.
        threads: Of torch.
    """

    replicas: int
    steps: int
    batch_size: int
    rounds: int
    threads: int


@dataclass(frozen=True, slots=True)
class Result:
    """Microseconds per run and step, and their ratio."""

    model: str
    together: float
    one_after_another: float

    @property
    def ratio(self) -> float:
        """How many times faster the program is."""
        return self.one_after_another / self.together


def build(model: ModelName, count: int) -> list[Network]:
    networks = []
    for seed in range(count):
        torch.manual_seed(seed)
        networks.append(network(model, FEATURES))
    return networks


def together(networks: Sequence[Network], rows: Rows, plan: Plan) -> Callable[[], None]:
    replicas = Replicas(networks, Program(networks[0], rows.x[0, 0], rows={1, plan.batch_size}))
    # one held-out row: the curves are not what is measured
    return lambda: void(train(replicas, rows, rows[:1], plan, range(len(networks))))


def one_after_another(networks: Sequence[Network], rows: Rows, plan: Plan) -> Callable[[], None]:
    def run() -> None:
        for number, model in enumerate(networks):
            optimizer = torch.optim.Adam(model.parameters(), lr=plan.learning_rate, fused=True)
            x, y, order = rows.x[number], rows.y[number], batches(ROWS, plan.batch_size, number)
            for _ in range(plan.steps):
                chosen = torch.from_numpy(next(order))
                optimizer.zero_grad(set_to_none=True)
                (model(x[chosen]) - y[:, chosen]).square().mean().backward()
                optimizer.step()

    return run


def void(_: object) -> None:
    return None


def seconds(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def measure(model: ModelName, options: Options) -> Result:
    rows = Rows(torch.randn(options.replicas, ROWS, FEATURES), torch.randn(options.replicas, 2, ROWS))
    plan = Plan(options.steps, options.batch_size, 1e-3, options.steps)
    runs = [make(build(model, options.replicas), rows, plan) for make in (together, one_after_another)]
    for run in runs:
        run()
    best = [float("inf")] * 2
    for _ in range(options.rounds):
        best = [min(known, seconds(run)) for known, run in zip(best, runs, strict=True)]
    return Result(model, *(1e6 * value / options.replicas / options.steps for value in best))


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, Path | None]:
    parser = argparse.ArgumentParser(description="Replicas as one program against one run after another.")
    parser.add_argument("--replicas", type=int, default=50)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = vars(parser.parse_args(arguments))
    file = given.pop("json")
    return Options(**given), file


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    options, file = parse(arguments)
    torch.set_num_threads(options.threads)
    print(f"{options.replicas} runs, batches of {options.batch_size}, {options.threads} thread(s); µs per run and step")
    print(f"{'model':<14}{'together':>10}{'one after another':>20}{'ratio':>8}")
    results = []
    for model in MODELS:
        result = measure(model, options)
        results.append(result)
        print(f"{model:<14}{result.together:>10.0f}{result.one_after_another:>20.0f}{result.ratio:>8.1f}")
    if file is not None:
        rows = [{**asdict(result), "ratio": result.ratio} for result in results]
        file.write_text(json.dumps({"options": asdict(options), "rows": rows}, indent=1), encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
