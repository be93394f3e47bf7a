"""What polytask says when the user's input is at fault: every mistake at once, each with its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: where it is, what was found, and what to do about it.

    Attributes:
        where: The place in the user's own words, for example ``"column 'age'"`` or ``"tasks.click.kind"``.
        what: What was found there, with row counts and values.
        remedy: What the user can do next.
        severity: ``"error"`` stops the run, ``"warning"`` and ``"note"`` do not.

    Example:
        >>> print(Problem("column 'age'", "3 of 10 rows are infinite (first: row 4)", "clip or drop them"))
        column 'age': 3 of 10 rows are infinite (first: row 4); clip or drop them
    """

    where: str
    what: str
    remedy: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


class UserError(Exception):
    """Something in the user's input is wrong; the command line prints it without a traceback and exits with 2.

    Args:
        problems: One problem, a sentence, or all problems that were found.

    Example:
        >>> error = UserError([Problem("column 'a'", "missing"), Problem("column 'b'", "empty", "drop it")])
        >>> print(error)
        2 problems:
          1. column 'a': missing
          2. column 'b': empty; drop it
    """

    problems: tuple[Problem, ...]

    def __init__(self, problems: Problem | str | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem("input", problems)
            text = problems.what
        elif isinstance(problems, Problem):
            text = str(problems)
        else:
            problems = tuple(problems)
            lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
            text = str(problems[0]) if len(problems) == 1 else "\n".join([f"{len(problems)} problems:", *lines])
        self.problems = (problems,) if isinstance(problems, Problem) else problems
        super().__init__(text)


class MissingExtraError(UserError, ImportError):
    """An optional package is needed and not installed.

    Example:
        >>> print(MissingExtraError("polars", extra="fast", purpose="reading polars frames"))
        package 'polars': not installed, but needed for reading polars frames; pip install 'polytask[fast]'
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            Problem(
                f"package '{package}'", f"not installed, but needed for {purpose}", f"pip install 'polytask[{extra}]'"
            )
        )


def suggest(name: str, choices: Sequence[str], *, shown: int = 12) -> str:
    """The half-sentence that helps after a wrong name: close matches, otherwise the choices themselves.

    Example:
        >>> suggest("mmeo", ["mmoe", "ple"])
        "did you mean 'mmoe'?"
        >>> suggest("zzz", ["mmoe", "ple"])
        'choose one of mmoe, ple'
    """
    close = difflib.get_close_matches(name, choices, n=2, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(f"'{match}'" for match in close) + "?"
    listed = ", ".join(list(choices)[:shown]) + (" ..." if len(choices) > shown else "")
    return f"choose one of {listed}" if choices else "nothing of this kind exists"


def raise_errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Raises `UserError` with all errors among ``problems``; returns the warnings and notes when there is none."""
    problems = tuple(problems)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise UserError(errors)
    return problems
