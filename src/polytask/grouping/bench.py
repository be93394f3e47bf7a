"""Where runs of one grouping are trained: open data, a folder, a console."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from polytask.comparing.checks import build_problems, data_problems
from polytask.comparing.plan import Plan
from polytask.comparing.progress import Display
from polytask.comparing.result import Comparison
from polytask.config import Config
from polytask.errors import Problem, UserError, raise_errors
from polytask.grouping.affinity import Affinity
from polytask.grouping.check import check_plan, run_check
from polytask.grouping.choice import Choice
from polytask.grouping.lookahead import train_lookahead
from polytask.grouping.methods import alone, once, task_group
from polytask.grouping.options import Options
from polytask.grouping.pairs import pair_methods, pair_runs, train_pairs
from polytask.tables import Tables, open_tables
from polytask.training.folder import check_folder, run_folder
from polytask.training.prepared import Prepared
from polytask.training.progress import prepare_shown, show_finding
from polytask.training.single import choose_device


@dataclass(frozen=True, eq=False)
class Bench:
    """Trains for one grouping.

    Attributes:
        config: What to train, once.
        tables: Its open tables.
        prepared: Its data.
        out: The folder of the runs.
        console: Where progress is shown; None shows nothing.
    """

    config: Config
    tables: Tables
    prepared: Prepared
    out: Path
    console: Console | None

    def measure(self, options: Options) -> Affinity:
        """Trains what the method asks for."""
        seeds = range(self.config.train.seed, self.config.train.seed + options.measured)
        if options.method == "pairs":
            plan = Plan(tuple(pair_methods(self.config)), (alone(self.config),), tuple(seeds), tuple(self.config.tasks))
            raise_errors(build_problems(self.config, plan, self.prepared))
            runs = once(pair_runs(self.config, seeds))
            several = sum(run.group is not None for run in runs) // len(seeds)
            self._say(f"{len(runs)} runs: {len(runs) // len(seeds) - several} tasks alone, {several} models of several")
        display = Display(self.console, options.workers)
        train = train_pairs if options.method == "pairs" else train_lookahead
        with run_folder(self.out, self.config, self.tables, command="group"):
            return train(self.config, self.prepared, self.out, seeds, display, options.workers)

    def check(self, options: Options, affinity: Affinity, choice: Choice, out: Path) -> Comparison:
        """Trains the suggestion, the best grouping if that is another one, one model of all, and one per task."""
        seeds = range(self.config.train.seed, self.config.train.seed + (options.check or 1))
        asked = {"suggested grouping": choice.suggested, "grouping with the highest score": choice.best}
        groupings = {
            name: [task_group(group, affinity.tasks) for group in candidate.groups] for name, candidate in asked.items()
        }
        plan = check_plan(self.config, groupings, seeds)
        self._say(f"check: {len(once(plan.runs()))} runs of {len(plan.methods)} ways, {len(seeds)} seeds")
        display = Display(self.console, options.workers)
        with run_folder(self.out, self.config, self.tables, command="group"):
            facts = {"config": self.config.model_dump(), "part_rows": self.prepared.part_rows}
            return run_check(self.config, self.prepared, self.out, out, plan, display, options.workers, facts)

    def _say(self, text: str) -> None:
        if self.console is not None:
            self.console.print(text, highlight=False)


def open_bench(config: Config, options: Options, out: Path, console: Console | None, data: Any) -> Bench:
    """Opens and prepares the data, and looks at them and at the folder.

    Raises:
        UserError: With everything that is wrong.
    """
    once_each = {"seeds": 1, "baselines": False, "diagnostics": False, "log": ()}
    config = config.model_copy(update={"train": config.train.model_copy(update=once_each)})
    problems = []
    if config.train.warm_start is not None:
        what = f"'{config.train.warm_start}' given, but models of fewer tasks cannot start from it"
        problems.append(Problem("train.warm_start", what, "remove it: a grouping starts all models afresh"))
    opened = None
    try:
        choose_device(config.train.device)
    except UserError as error:
        problems += error.problems
    try:
        opened = open_tables(config, data)
        problems += data_problems(config, opened)
    except UserError as error:
        problems += error.problems
    found = raise_errors(problems)
    assert opened is not None
    for problem in found if console is not None else ():
        assert console is not None
        show_finding(problem, console)
    check_folder(out, config, opened, resume=options.resume, command="group")
    return Bench(config, opened, prepare_shown(config, opened, console), out, console)
