"""What can be wrong with a chain of tasks, seen from the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from polytask.config.models import Config
from polytask.config.problems import dotted
from polytask.errors import Problem, suggest


def chain_problems(config: Config) -> list[Problem]:
    """Everything that is wrong with ``after`` and with ``[chain]``."""
    after = {name: task.after for name, task in config.tasks.items() if task.after is not None}
    problems = [problem for child, parent in after.items() for problem in _link_problems(config, child, parent)]
    problems += _cycles(after)
    taken = {**dict.fromkeys(config.data.keys, "a key"), **dict.fromkeys(config.tasks, "a task")}
    problems += [
        Problem(
            dotted(["tasks", child]),
            f"its joint probability would be called '{child}_joint', which is {taken[f'{child}_joint']} already",
            "rename one of them",
        )
        for child in after
        if f"{child}_joint" in taken
    ]
    if config.chain is not None and not after:
        what = "says how to learn tasks that come after others, but no task has after"
        problems.append(Problem("chain", what, 'add after = "TASK" to a task, or remove [chain]'))
    return problems


def _link_problems(config: Config, child: str, parent: str) -> list[Problem]:
    where = dotted(["tasks", child, "after"])
    problems = []
    if parent not in config.tasks:
        others = [name for name in config.tasks if name != child]
        problems.append(Problem(where, f"no task is named {parent!r}", suggest(parent, others)))
    wrong = [name for name in dict.fromkeys([child, parent]) if name in config.tasks]
    for name in wrong:
        kind = config.tasks[name].kind
        if kind != "binary":
            what = f"'{name}' is a {kind} task, and only binary tasks can happen"
            problems.append(Problem(where, what, 'write where = "..." for a sample space'))
    if config.tasks[child].where is not None:
        what = "given beside after, from which the sample space follows"
        problems.append(Problem(dotted(["tasks", child, "where"]), what, "remove it, or write it at the first task"))
    return problems


def _cycles(after: Mapping[str, str]) -> list[Problem]:
    problems = []
    told: set[str] = set()
    for start in after:
        path = [start]
        while (name := after.get(path[-1])) is not None and name not in path:
            path.append(name)
        if name == start and start not in told:
            told |= set(path)
            what = "comes after itself" if len(path) == 1 else f"a circle: {' after '.join([*path, start])}"
            problems.append(Problem(dotted(["tasks", start, "after"]), what, "one of the tasks must come first"))
    return problems
