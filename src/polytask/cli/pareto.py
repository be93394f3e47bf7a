"""`polytask pareto`: which trade-off between the tasks is shipped?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polytask.cli.options import AllowCode, Overrides, listed
from polytask.cli.output import console
from polytask.cli.report import Report, report_on_result
from polytask.errors import Problem, UserError

if TYPE_CHECKING:
    from polytask.config import Config
    from polytask.tradeoffs.table import ParetoConfig


def pareto(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG|FOLDER", help="The TOML file; or a finished front, to choose again.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAMES",
            help="A model per preference: linear, tchebycheff, smooth_tchebycheff, epo. One model for all: pamal, "
            "lorpman, phn, cosmos. Several with commas between.",
        ),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="NAMES", help="The tasks that are traded; all if left out.")
    ] = None,
    points: Annotated[int | None, typer.Option("--points", min=1, help="How many preferences; 11 if left out.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Seeds of every model; 1 if left out.")] = None,
    baselines: Annotated[
        bool | None, typer.Option("--baselines/--no-baselines", help="Also one network per task.")
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(
            "--choose",
            metavar="WHAT",
            help="What is shipped: 0.3,0.7 or click=0.3,like=0.7 (after METHOD: or not), knee or best-mean.",
        ),
    ] = None,
    floor: Annotated[
        list[str] | None,
        typer.Option(
            "--floor", metavar="TASK=VALUE", help="The least that a task's primary metric must reach; may be repeated."
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Trainings at a time, in processes.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the folder holds; points and seeds may have grown.")
    ] = False,
    report: Report = True,
    overrides: Overrides = None,
    allow_code: AllowCode = None,
) -> None:
    """The Pareto front between tasks on your data, with the point that you choose as a bundle.

    All can be written into the table `pareto` of the file instead, where methods may have options. Everything is
    checked before the first training. The point is chosen on validation rows; test scores are shown beside it.

    Examples:
      polytask pareto log.toml --method linear --points 11 --out front

      polytask pareto log.toml --method pamal --floor click=0.74 --out front

      polytask pareto front --choose click=0.3,like=0.7
    """
    floors = _floors(floor or ())
    target = console()
    if config.is_dir():
        _again(config, choose, floors, target, allow_code or (), given={
            "--out": out, "--method": method, "--tasks": tasks, "--points": points, "--seeds": seeds,
            "--baselines": baselines, "--resume": resume or None, "--set": overrides,
        })  # fmt: skip
        if report:
            report_on_result(config, target)
        return
    given = {
        "method": listed(method), "tasks": listed(tasks), "points": points, "seeds": seeds, "baselines": baselines,
        "choose": choose, "floor": floors or None,
    }  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    from polytask.tradeoffs.run import run_pareto

    loaded, options = _load(config, overrides or (), changes, allow_code or (), out)
    assert out is not None
    try:
        run_pareto(loaded, options, out, workers=workers, resume=resume, console=target)
    except KeyboardInterrupt:
        target.print("interrupted; the same command with --resume goes on from there")
        raise
    if report:
        report_on_result(out, target)


def _again(
    folder: Path,
    choose: str | None,
    floors: dict[str, float],
    target: Any,
    allow_code: Sequence[str],
    given: dict[str, object],
) -> None:
    """Ships another point of a finished front."""
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        what = f"{', '.join(wrong)} given beside a finished front, which is only chosen from"
        raise UserError(Problem(str(folder), what, "leave them out, or name the configuration"))
    from polytask.tradeoffs.again import choose_again
    from polytask.tradeoffs.words import show

    found = choose_again(folder, choose, floors, allow_code=allow_code)
    show(found, target)
    target.print()
    target.print(f"bundle to use: {found.bundle_path}", markup=False, highlight=False, soft_wrap=True)


def _floors(texts: Sequence[str]) -> dict[str, float]:
    found, problems = {}, []
    for text in texts:
        task, _, value = text.rpartition("=")
        try:
            if not task:
                raise ValueError
            found[task.strip()] = float(value)
        except ValueError:
            problems.append(Problem(f"--floor {text}", "not of the form TASK=VALUE", "for example --floor click=0.74"))
    if problems:
        raise UserError(problems)
    return found


def _load(
    path: Path, overrides: Sequence[str], changes: dict[str, Any], allow_code: Sequence[str], out: Path | None
) -> tuple[Config, ParetoConfig]:
    from polytask.tradeoffs.table import read_pareto

    missing = [] if out is not None else [Problem("--out", "missing", "name the folder to write: --out FOLDER")]
    try:
        loaded = read_pareto(path, overrides, changes, allow_code=allow_code)
    except UserError as error:
        # methods and data may hold more mistakes: one message should name them all
        more = () if not path.exists() else _more(path, overrides, changes, allow_code)
        raise UserError(dict.fromkeys([*missing, *error.problems, *more])) from None
    if missing:
        raise UserError(missing)
    return loaded


def _more(
    path: Path, overrides: Sequence[str], changes: dict[str, Any], allow_code: Sequence[str]
) -> Iterator[Problem]:
    """What else is wrong with the methods that are listed, and with what the file names."""
    from polytask.cli.inspection import errors_in
    from polytask.tradeoffs.checks import method_problems
    from polytask.tradeoffs.table import read_methods

    try:
        for part in read_methods(path, overrides, changes).method:
            yield from method_problems(part)
    except UserError as error:
        yield from error.problems
    yield from errors_in(path, overrides, allow_code)
