"""The command line of `benchmarks/quality.py`."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.quality.candidates import Candidate, networks, trees
from benchmarks.quality.labels import read_labels
from benchmarks.quality.lightgbm_baseline import FIXED, PATIENCE, ROUNDS, Baseline
from benchmarks.quality.published import PUBLISHED
from benchmarks.quality.report import Report, make_report
from polytask.config import Config, dump_config, load_config
from polytask.errors import Problem, UserError
from polytask.files import write_json
from polytask.tables import Tables, open_tables
from polytask.training.environment import describe_environment
from polytask.training.prepared import prepare

CONFIGS = {"census-income": "census-income-group-1.toml", "kuairand": "kuairand.toml"}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="One model beside one network and one LightGBM per task; the same command goes on where it stopped."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", choices=tuple(CONFIGS), help="a data set with a configuration of this benchmark")
    source.add_argument("--config", type=Path, help="another configuration; its tasks must be binary")
    add = parser.add_argument
    add("--seeds", type=int, default=5)
    add("--out", type=Path, required=True, help="folder of the run")
    add("--json", type=Path, help="write all figures to this file")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the configuration")
    add("--no-baselines", action="store_true", help="without one network per task")
    add("--no-networks", action="store_true", help="LightGBM only")
    add("--no-lightgbm", action="store_true", help="networks only")
    add("--resamples", type=int, default=1_000, help="of the bootstrap")
    add("--rounds", type=int, default=ROUNDS, help="most trees of a LightGBM model")
    add("--threads", type=int, default=0, help="CPU threads; 0: as the libraries choose")
    args = parser.parse_args(arguments)
    if args.no_networks and args.no_lightgbm:
        parser.error("--no-networks and --no-lightgbm leave nothing to measure")
    for name in ("seeds", "resamples", "rounds"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} takes a number from 1")
    return args


def measure(args: argparse.Namespace, console: Console | None) -> tuple[Report, Config, Tables]:
    """Trains what is not trained yet and takes all figures.

    Raises:
        UserError: Configuration or data are at fault, or the folder holds another run.
    """
    config, tables = _opened(args)
    prepared = prepare(tables, buffer=config.train.shuffle_buffer)
    candidates: list[Candidate] = []
    if not args.no_lightgbm:
        baseline = Baseline(prepared, args.out / "lightgbm", seeds=args.seeds, threads=args.threads, rounds=args.rounds)
        candidates.append(trees(prepared, baseline, console))
    if not args.no_networks:
        candidates += networks(config, prepared, args.out / "networks", console)
    rates = read_labels(prepared, "train").rates()
    report = make_report(_name(args), read_labels(prepared, "test"), rates, candidates, args.resamples)
    return report, config, tables


def describe(report: Report, config: Config, tables: Tables, arguments: Sequence[str]) -> dict[str, Any]:
    """Everything for the JSON file."""
    return {
        "command": shlex.join(["python", "benchmarks/quality.py", *arguments]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "memory_bytes": _memory()},
        "environment": describe_environment(tables),
        "lightgbm": {"version": importlib.metadata.version("lightgbm"), "patience": PATIENCE, **FIXED},
        "config": dump_config(config),
        "rows_per_part": {name: part.source.rows for name, part in tables.parts.items() if part.split is None},
        "positive_in_train": dict(report.rates),
        "published": [
            {"method": entry.method, "source": entry.source, **entry.auc} for entry in PUBLISHED.get(report.name, ())
        ],
        "candidates": {candidate.name: candidate.facts for candidate in report.candidates},
        "bootstrap": {"resamples": report.resamples, "unit": report.labels.unit},
        "rows": report.rows(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints the table."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    args = parse(given)
    try:
        report, config, tables = measure(args, Console(stderr=True))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    print(report.text())
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.json, describe(report, config, tables, given))


def _opened(args: argparse.Namespace) -> tuple[Config, Tables]:
    path = args.config or Path(__file__).with_name(CONFIGS[args.data])
    overrides = [*args.set, f"train.seeds={args.seeds}", f"train.baselines={str(not args.no_baselines).lower()}"]
    if args.threads:
        overrides.append(f"train.threads={args.threads}")
    config = load_config(path, overrides)
    problems = [
        Problem(f"tasks.{name}", f"is of kind '{task.kind}'", "this benchmark compares AUC: binary tasks only")
        for name, task in config.tasks.items()
        if task.kind != "binary"
    ]
    if problems:
        raise UserError(problems)
    tables = open_tables(config)
    if "test" not in tables.parts:
        raise UserError(Problem("data", "has no test part", "give data.test, or a split with one"))
    return config, tables


def _name(args: argparse.Namespace) -> str:
    return args.config.stem if args.config else Path(CONFIGS[args.data]).stem


def _processor() -> str:
    """The processor's name as Linux gives it, or what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> int | None:
    """Bytes of memory, where the system tells."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
