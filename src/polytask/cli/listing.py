"""`polytask list`: what a configuration can name, with options and defaults."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from polytask.cli.output import console

_PACKAGES = {
    "architectures": "polytask.sharing",
    "balancers": "polytask.balancing",
    "tasks": "polytask.tasks",
    "encoders": "polytask.encoders",
    "chains": "polytask.chains",
    "gates": "polytask.sharing.gates",
    "penalties": "polytask.sharing.penalties",
    "loggers": "polytask.tracking",
    "metrics": "polytask.metrics",
}
_USED_AS = {
    "architectures": '[sharing] use = "NAME"',
    "balancers": '[balancer] use = "NAME"',
    "tasks": '[tasks.MINE] kind = "NAME"',
    "encoders": '[encoder] use = "NAME"',
    "chains": '[chain] use = "NAME"',
    "gates": '[sharing.gate] use = "NAME"',
    "penalties": '[penalty] use = "NAME"',
    "loggers": '[train] log = ["NAME"]',
    "metrics": "printed by evaluation; tasks choose theirs",
    "data": '[data] source = "NAME"',
}


class What(StrEnum):
    """What can be listed."""

    ARCHITECTURES = "architectures"
    BALANCERS = "balancers"
    TASKS = "tasks"
    ENCODERS = "encoders"
    CHAINS = "chains"
    GATES = "gates"
    PENALTIES = "penalties"
    LOGGERS = "loggers"
    METRICS = "metrics"
    DATA = "data"


def show(what: Annotated[What, typer.Argument(metavar="WHAT", help=" | ".join(What))]) -> None:
    """List what a configuration can name, each with a summary, and its options with their defaults.

    Examples:
      polytask list architectures

      polytask list balancers
    """
    target = console()
    target.print(f"used as  {_USED_AS[what]}\n", style="dim", markup=False)
    for name, summary, options in _data() if what is What.DATA else _components(_PACKAGES[what]):
        target.print(Text.assemble((name, "bold"), "  ", summary), soft_wrap=True)
        for option in options:
            target.print(Text.assemble("    ", option), soft_wrap=True)


def summary_of(component: Callable[..., Any]) -> str:
    """The first sentence of a docstring, on one line.

    Example:
        >>> summary_of(summary_of)
        'The first sentence of a docstring, on one line.'
    """
    return " ".join((inspect.getdoc(component) or "").split("\n\n")[0].split())


def _components(package: str) -> Iterator[tuple[str, str, list[str]]]:
    from polytask.config import PROVIDED, describe_options

    module = importlib.import_module(package)
    for name in module.__all__:
        component = getattr(module, name)
        # among metrics only the classes are metrics; the rest are functions that make or serve them
        if inspect.isabstract(component) or (package == _PACKAGES["metrics"] and not inspect.isclass(component)):
            continue
        provided = ("row_loss", "loss_name", "constant", "classes") if package == _PACKAGES["metrics"] else ()
        options = describe_options(component, PROVIDED.get(package, provided))
        lines = [f"{option.name} = {option.default}  ({option.type})" for option in options]
        yield getattr(component, "use", name), summary_of(component), lines


def _data() -> Iterator[tuple[str, str, list[str]]]:
    from polytask.data import named, simulators

    for name in named.names():
        about = named.describe(name)
        location = about["location"] or f"not here yet; polytask data fetch {name}"
        yield name, about["description"], [f"licence: {about['licence']}", f"location: {location}"]
    for name in simulators.names():
        yield f"simulator:{name}", summary_of(simulators.get(name)), []
