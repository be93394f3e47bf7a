"""Calibration, thresholds and a fused score for bundles that exist: a new bundle with the same model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from polytask.config import Config, FusionConfig, threshold_rule
from polytask.config.deciding import CALIBRATIONS, decision_problems
from polytask.config.problems import problems_of
from polytask.data.expressions import parse
from polytask.data.sources import TableSource, open_source
from polytask.deciding.decide import Rows, fit_score, fit_tasks, floor_problems, with_joints
from polytask.deciding.rows import Labelled
from polytask.deciding.trade_off import TradeOff
from polytask.errors import Problem, UserError, raise_errors, suggest
from polytask.serving import Bundle

Tell = Callable[[Problem], None]
Method = Literal["auto", "isotonic", "platt", "temperature", "none", "keep"]
METHODS: tuple[Method, ...] = ("auto", "isotonic", "platt", "temperature", "none", "keep")


def calibrate(
    bundle: Bundle,
    data: Any,
    *,
    method: Method = "auto",
    tasks: Sequence[str] | None = None,
    thresholds: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
    console: Console | None = None,
) -> Bundle:
    """Calibrates predictions, and fits thresholds on the calibrated ones.

    Args:
        bundle: The model; it stays as it is.
        data: Labelled rows that neither trained nor will test the model: what `open_source` opens.
        method: ``auto`` is isotonic for binary tasks and temperature for tasks with classes; ``none`` takes a
            calibration away, ``keep`` leaves what there is.
        tasks: Which tasks; by default all that the method can be used for.
        thresholds: Per task a rule, as ``tasks.X.threshold`` in the file; other thresholds are fitted again where their
            task is calibrated anew.
        tell: Hears of what stops nothing; Python warnings without it.
        console: Where progress is shown.

    Returns:
        A bundle with these decisions. It has no scores for tasks whose predictions or labels have changed: `evaluate`
        measures them. A fused score that reads a prediction which has changed is left out, and told.

    Raises:
        UserError: A task does not exist or is of a kind that has no such calibration, the rows are too few, or lack
            columns.
    """
    config, chosen = _calibrated_config(bundle.config, method, tasks, thresholds or {})
    before = bundle.decisions
    methods = with_joints(bundle, {name: config.tasks[name].calibrate for name in chosen})
    rules: dict[str, Any] = {name: own.rule for name, own in before.thresholds.items()}
    rules |= {name: config.tasks[name].threshold for name in thresholds or {}}
    kept = {name: own for name, own in before.calibration.items() if name not in methods}
    fitted = {name: how for name, how in methods.items() if how != "none"}
    changed = {*fitted, *(name for name in methods if name in before.calibration)}
    anew = {name: rule for name, rule in rules.items() if name in changed or name in (thresholds or {})}
    rows = _read(bundle, open_source(data), None, console)
    found, problems = fit_tasks(rows, fitted, anew, kept)
    fusion = before.fusion
    if fusion is not None and changed & fusion.weights.keys():
        listed = ", ".join(sorted(changed & fusion.weights.keys()))
        problems.append(Problem("fusion", f"its predictions have changed ({listed})", "fit it again", "warning"))
        fusion, config = None, config.model_copy(update={"fusion": None})
    decisions = replace(found, thresholds={**before.thresholds, **found.thresholds}, fusion=fusion)
    _tell(problems, tell)
    scores = {
        part: {name: own for name, own in tasks.items() if name not in changed and name not in anew}
        for part, tasks in bundle.scores.items()
    }
    return replace(bundle, config=config, scores=scores, decisions=decisions)


def fuse(
    bundle: Bundle,
    data: Any,
    *,
    value: str,
    group: str,
    objective: Literal["ndcg", "gauc"] = "ndcg",
    form: Literal["product", "sum"] = "product",
    at: int = 10,
    tasks: Sequence[str] = (),
    floors: Mapping[str, float] | None = None,
    samples: int = 300,
    seed: int = 0,
    tell: Tell | None = None,
    console: Console | None = None,
) -> tuple[Bundle, TradeOff]:
    """Fits one ranking score from the predictions, calibrated as the bundle says.

    Args:
        bundle: The model; it stays as it is.
        data: Labelled rows that neither trained nor will test the model: what `open_source` opens.
        value: What good rows have much of: a task, or an expression over columns.
        group: The column within whose values rows are ranked.
        objective: ``ndcg`` of the value, or ``gauc`` of a value that is 0 or 1.
        form: ``product`` is ``prod p^w``, ``sum`` is ``sum w p``.
        at: How many places NDCG looks at.
        tasks: Predictions to fuse; by default all that are one number a row, of chained tasks the joint probabilities.
        floors: Per task the least ranking quality: GAUC of a binary task, NDCG of another.
        samples: How many weightings are tried.
        seed: Of the search.
        tell: Hears of what stops nothing; Python warnings without it.
        console: Where progress is shown.

    Returns:
        A bundle whose predictions have a column ``score``, and all that was tried.

    Raises:
        UserError: Names, values or groups do not allow it, or the rows lack columns.
    """
    options = {"value": value, "group": group, "objective": objective, "form": form, "at": at, "samples": samples}
    try:
        chosen = FusionConfig.model_validate({**options, "tasks": tuple(tasks), "floors": dict(floors or {})})
    except ValidationError as error:
        raise_errors(replace(problem, where=f"fusion.{problem.where}") for problem in problems_of(error, FusionConfig))
        raise
    config = bundle.config.model_copy(update={"fusion": chosen})
    source = open_source(data)
    problems = [problem for problem in decision_problems(config) if problem.where.startswith("fusion")]
    raise_errors([*problems, *_column_problems(bundle, chosen, source)])
    rows = _read(bundle, source, chosen, console)
    trade_off = fit_score(bundle, rows, bundle.decisions, chosen, seed=seed)
    _tell(floor_problems(trade_off), tell)
    decisions = replace(bundle.decisions, fusion=trade_off.fusion)
    return replace(bundle, config=config, decisions=decisions), trade_off


def _calibrated_config(
    config: Config, method: Method, tasks: Sequence[str] | None, thresholds: Mapping[str, Any]
) -> tuple[Config, list[str]]:
    """The configuration that says what is wanted, and the tasks whose calibration changes."""
    problems = []
    if method not in METHODS:
        problems.append(Problem("method", f"'{method}' is unknown", suggest(method, METHODS)))
    problems += [
        Problem(where, f"no task is named {name!r}", suggest(name, list(config.tasks)))
        for where, names in (("tasks", tasks or ()), ("thresholds", thresholds))
        for name in names
        if name not in config.tasks
    ]
    rules = {}
    for name, rule in thresholds.items():
        try:
            rules[name] = threshold_rule(rule)
        except ValueError as error:
            what, _, remedy = str(error).partition("; ")
            problems.append(Problem(f"tasks.{name}.threshold", what, remedy))
    raise_errors(problems)
    fitting = [name for name, task in config.tasks.items() if method in ("auto", "none", *_methods(task.kind))]
    chosen = [] if method == "keep" else list(tasks or (name for name in fitting if _methods(config.tasks[name].kind)))
    own = {}
    for name, task in config.tasks.items():
        update: dict[str, Any] = {"threshold": rules[name]} if name in rules else {}
        if name in chosen:
            update["calibrate"] = (*_methods(task.kind), "isotonic")[0] if method == "auto" else method
        own[name] = task.model_copy(update=update)
    config = config.model_copy(update={"tasks": own})
    raise_errors(problem for problem in decision_problems(config) if problem.where.startswith("tasks"))
    return config, chosen


def _methods(kind: str) -> tuple[str, ...]:
    return CALIBRATIONS.get(kind, ())


def _column_problems(bundle: Bundle, fusion: FusionConfig, source: TableSource) -> list[Problem]:
    """What value and group name and the table lacks."""
    names, problems = source.schema.names, []
    if fusion.group not in names:
        what = f"column '{fusion.group}' does not exist in {source.name}"
        problems.append(Problem("fusion.group", what, suggest(fusion.group, names)))
    if fusion.value not in (*bundle.config.tasks, *bundle.probabilities):
        try:
            parse(fusion.value, names)
        except UserError as error:
            problems += [replace(found, where=f"fusion.value: {found.where}") for found in error.problems]
    return problems


def _read(bundle: Bundle, source: TableSource, fusion: FusionConfig | None, console: Console | None) -> Labelled:
    bundle.preprocessor.check(source.schema, labels=True)
    names = source.schema.names
    quiet = console is None or not console.is_terminal
    with Progress(console=console, transient=True, disable=quiet) as progress:
        bar = progress.add_task("predict", total=source.rows)

        def advance(rows: int) -> None:
            progress.update(bar, advance=rows)

        return Rows(source.scan, names, advance).labelled(bundle, fusion)


def _tell(problems: Iterable[Problem], tell: Tell | None) -> None:
    for problem in raise_errors(problems):
        if tell is None:
            warnings.warn(str(problem), stacklevel=3)
        else:
            tell(problem)
