"""A whole run: all seeds, all single-task baselines, one folder that can be taken up again at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from rich.console import Console
from rich.markup import escape

from polytask.chained import joint_tasks
from polytask.config import BalancerConfig, Config, absolute
from polytask.data.preprocessor import Preprocessor
from polytask.data.spaces import sample_space
from polytask.errors import Problem, raise_errors
from polytask.evaluation.diagnostics import FILE as DIAGNOSTICS
from polytask.evaluation.scores import Scores
from polytask.files import read_json, write_json
from polytask.model import build_chain
from polytask.serving import Bundle, load_bundle
from polytask.serving.bundle import fitted_tasks
from polytask.tables import Tables, open_tables, report_on
from polytask.tasks import Task
from polytask.training.folder import check_folder, run_folder
from polytask.training.inside import write_diagnostics
from polytask.training.prepared import Prepared
from polytask.training.progress import TerminalWatcher, prepare_shown, show_finding
from polytask.training.single import Watcher, choose_device, read_scores, train_one
from polytask.training.summary import AllScores, average, comparison
from polytask.training.warm import extended, other_columns, roles_of
from polytask.training.watchers import Watchers, loggers, tracked

SCORES = "scores.json"


@dataclass(frozen=True, repr=False)
class RunResult:
    """A finished run.

    Attributes:
        path: Its folder.
        scores: ``{part: {task: {metric: value}}}``, the mean over seeds.
        seeds: The same per seed.
        baselines: Per task, the scores of its single-task network per seed; empty without baselines.
        bundle_path: The bundle of the first seed.
        allow_code: Modules outside polytask that its configuration may name.
    """

    path: Path
    scores: dict[str, Scores]
    seeds: tuple[AllScores, ...]
    baselines: Mapping[str, tuple[AllScores, ...]]
    bundle_path: Path
    allow_code: tuple[str, ...] = ()

    def __repr__(self) -> str:
        scores = self.scores.get("test") or self.scores.get("validation", {})
        return (
            f"RunResult({str(self.path)!r}, tasks={list(scores)}, parts={list(self.scores)}, seeds={len(self.seeds)})"
        )

    @cached_property
    def bundle(self) -> Bundle:
        """The model of the first seed with its preprocessing."""
        return load_bundle(self.bundle_path, allow_code=self.allow_code)

    @property
    def diagnostics(self) -> dict[str, Any] | None:
        """What is inside the model of the first seed, as `diagnostics.json` has it; None where there is none."""
        file = self.bundle_path.parent / DIAGNOSTICS
        return read_json(file) if file.exists() else None

    def predict(self, data: Any, *, keys: Sequence[str] | None = None) -> pa.Table:
        """Predictions for raw rows; see `Bundle.predict`."""
        return self.bundle.predict(data, keys=keys)

    def save(self, path: Path | str) -> Path:
        """Writes the bundle to ``path``."""
        return self.bundle.save(path)


def train_run(
    config: Config,
    out: Path,
    *,
    resume: bool = False,
    check: bool = True,
    console: Console | None = None,
    data: Any = None,
    validation: Any = None,
    test: Any = None,
    watchers: Sequence[Watcher] = (),
) -> RunResult:
    """Trains what a configuration describes: every seed and, if asked for, one network per task and seed.

    Args:
        config: The configuration.
        out: The run folder.
        resume: Go on where an interrupted run stopped; finished parts are not done again.
        check: Look at the data before any training: leaks, constant labels, time order and the like.
        console: Where progress and the comparison are shown; None shows nothing.
        data: A table in memory, in place of ``data.source``; ``validation`` and ``test`` likewise.
        validation: See ``data``.
        test: See ``data``.
        watchers: Who sees every record, beside the console and the loggers of ``train.log``.

    Raises:
        UserError: Configuration or data are at fault, or ``out`` holds another run.
        KeyboardInterrupt: After Ctrl-C; the last step is saved.
    """
    config, out = absolute(config), Path(out)
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    choose_device(config.train.device)  # asked for and not there: better said before the data are read
    builders = loggers(config)
    tables = open_tables(config, data, validation=validation, test=test)
    check_folder(out, config, tables, resume=resume)
    finished = _finished(config, out)
    if finished is None:
        findings: tuple[Problem, ...] = ()
        if check:
            findings = _check(config, tables, console)
        prepared = _prepare(config, tables, console)
        with run_folder(out, config, tables):
            terminal = TerminalWatcher(console)
            with tracked(builders, out, tell=terminal.tell if console is not None else None) as tracking:
                runs, baselines = _train_all(config, prepared, out, findings, Watchers([terminal, tracking, *watchers]))
                _keep_mean(config, out, runs)
        rows = prepared.part_rows
    else:
        runs, baselines, rows = finished
        _keep_mean(config, out, runs)
    scores = average(runs)
    bundle = _seed_folder(config, out, config.train.seed) / "bundle"
    result = RunResult(out, scores, tuple(runs), baselines, bundle, config.allow_code)
    if console is not None:
        tasks = result.bundle.model.tasks if finished else fitted_tasks(config, prepared.preprocessor)
        _show(config, tasks, rows, result, console)
    return result


def single_task(config: Config, task: str, preprocessor: Preprocessor) -> Config:
    """The configuration of one task's baseline, in the same sample space: all else is equal, nothing is to balance.

    Trained as it is, it does not take the labels of the others for features.

    Args:
        config: Of all tasks.
        task: Which.
        preprocessor: Of all tasks, fitted.
    """
    (label,) = (one for one in preprocessor.labels if one.spec.task == task)
    drop = dict.fromkeys((*config.data.drop, *preprocessor.columns_of_others([task])))
    data = config.data.model_copy(update={"drop": tuple(drop)})
    once: dict[str, Any] = {"seeds": 1, "baselines": False, "warm_start": None, "selection": None}
    once |= {"probe": 0, "diagnostics": False}
    alone = config.train.model_copy(update=once)
    tasks = {
        task: config.tasks[task].model_copy(update={"after": None, "where": sample_space(label.spec, label.names)})
    }
    update = {"data": data, "tasks": tasks, "balancer": BalancerConfig(use="equal"), "chain": None, "fusion": None}
    return config.model_copy(update={**update, "train": alone})


def _train_all(
    config: Config, prepared: Prepared, out: Path, findings: Sequence[Problem], watcher: Watcher
) -> tuple[list[AllScores], dict[str, tuple[AllScores, ...]]]:
    """Scores per seed, and per task those of its baselines."""
    try:
        runs = []
        for seed in _seeds(config):
            runs.append(_seed(config, prepared, out, seed, watcher))
            if seed == config.train.seed:
                folder = _seed_folder(config, out, seed)
                write_diagnostics(config, prepared, folder, findings=findings, tell=watcher.tell)
        baselines = {
            task: tuple(_baseline(config, prepared, out, task, seed, watcher) for seed in _seeds(config))
            for task in (config.tasks if config.train.baselines else ())
        }
    finally:
        watcher.finish()
    return runs, baselines


def _keep_mean(config: Config, out: Path, runs: Sequence[AllScores]) -> None:
    """Several seeds have scores of their own in the run folder."""
    if len(runs) > 1:
        seeds = dict(zip(map(str, _seeds(config)), runs, strict=True))
        write_json(out / SCORES, {"scores": average(runs), "seeds": seeds})


def _finished(
    config: Config, out: Path
) -> tuple[list[AllScores], dict[str, tuple[AllScores, ...]], dict[str, int]] | None:
    """Scores per seed, those of the baselines, and the rows per part, where nothing is left to train; else ``None``."""
    tasks = list(config.tasks) if config.train.baselines else []
    files = [_seed_folder(config, out, seed) / SCORES for seed in _seeds(config)]
    alone = {
        task: [_seed_folder(config, out / "baselines" / task, seed) / SCORES for seed in _seeds(config)]
        for task in tasks
    }
    if not all(file.exists() for file in [*files, *(file for own in alone.values() for file in own)]):
        return None
    runs: list[AllScores] = [read_scores(file) for file in files]
    rows = read_json(files[0]).get("part_rows")
    if rows is None:
        return None  # of before they were written down
    found: dict[str, tuple[AllScores, ...]] = {
        task: tuple(read_scores(file) for file in own) for task, own in alone.items()
    }
    return runs, found, rows


def _seeds(config: Config) -> range:
    return range(config.train.seed, config.train.seed + config.train.seeds)


def _seed_folder(config: Config, out: Path, seed: int) -> Path:
    """One seed needs no folder of its own."""
    return out if config.train.seeds == 1 else out / "seeds" / str(seed)


def _seed(config: Config, prepared: Prepared, out: Path, seed: int, watcher: Watcher) -> AllScores:
    several = f", seed {seed}" if config.train.seeds > 1 else ""
    title = f"{config.sharing.use}, {len(config.tasks)} task{'s' * (len(config.tasks) > 1)}{several}"
    folder = _seed_folder(config, out, seed)
    alone = config.model_copy(update={"train": config.train.model_copy(update={"seeds": 1, "seed": seed})})
    used = config if folder == out else alone
    return train_one(used, prepared, folder, seed=seed, title=title, watcher=watcher, probes=True)


def _baseline(config: Config, prepared: Prepared, out: Path, task: str, seed: int, watcher: Watcher) -> AllScores:
    """The same architecture, encoder, rows, schedule and stopping rule, for one task alone."""
    title = f"{task} alone" + (f", seed {seed}" if config.train.seeds > 1 else "")
    folder = _seed_folder(config, out / "baselines" / task, seed)
    own = prepared.only(task)
    alone = single_task(config, task, prepared.preprocessor)
    alone = alone.model_copy(update={"train": alone.train.model_copy(update={"seed": seed})})
    return train_one(alone, own, folder, seed=seed, title=title, watcher=watcher)


def _prepare(config: Config, tables: Tables, console: Console | None) -> Prepared:
    bundle = None
    if config.train.warm_start is not None:
        bundle = load_bundle(config.relative_to / config.train.warm_start, allow_code=config.allow_code)
        for problem in other_columns(bundle.preprocessor, tables.roles, tables.train.schema.names):
            if console is not None:
                show_finding(problem, console)
        tables = replace(tables, roles=roles_of(bundle.preprocessor, tables.roles))
    prepared = prepare_shown(config, tables, console)
    if bundle is None:
        return prepared
    return replace(prepared, preprocessor=extended(bundle.preprocessor, prepared.preprocessor))


def _check(config: Config, tables: Tables, console: Console | None) -> tuple[Problem, ...]:
    report = report_on(config, tables)
    findings = raise_errors([*tables.problems, *report.problems])
    for problem in findings:
        if console is not None:
            show_finding(problem, console)
    return findings


def _show(config: Config, tasks: Sequence[Task], rows: Mapping[str, int], result: RunResult, console: Console) -> None:
    title = f"{config.sharing.use} + {config.balancer.use}"
    console.print()
    chain = build_chain(config, tasks)
    shown = [*tasks, *(joint_tasks(chain, tasks).values() if chain is not None else ())]
    console.print(comparison(shown, result.seeds, result.baselines, title=title, rows=rows))
    console.print(f"run folder: {escape(str(result.path))}", highlight=False)
