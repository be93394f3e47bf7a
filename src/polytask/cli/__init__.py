"""The command ``polytask``: one file per verb; what a verb needs is imported when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

from polytask.cli.app import app
from polytask.cli.output import error_console, show_problems
from polytask.errors import UserError

__all__ = ["main"]

DEBUG = "--debug"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    The exit code is 0 when all went well, 2 when the user's input is at fault (with every mistake listed), 130 after
    Ctrl-C, and 1 for a failure of polytask itself, whose traceback ``--debug`` shows.
    """
    from typer.main import get_command

    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in given
    if not debug:
        sys.excepthook = _report
    try:
        get_command(app).main(args=[word for word in given if word != DEBUG], prog_name="polytask")
    except UserError as error:
        if debug:
            error_console().print_exception()
        show_problems(error.problems)
        sys.exit(2)


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    console = error_console()
    console.print("[bold red]failed:[/] ", end="")
    console.print(f"{kind.__name__}: {error}", markup=False)
    console.print("this should not happen; the same command with --debug shows where it did", style="dim")
