"""One dimension of a search: a list of choices or a range, as the file has it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polytask.errors import Problem, UserError, suggest

KEYS = ("low", "high", "log", "step")


@dataclass(frozen=True, slots=True)
class Choices:
    """One of a list.

    Attributes:
        values: The list.
    """

    values: tuple[Any, ...]

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that a check of the dimension must try."""
        return self.values

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def has(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return _plain(value) in map(_plain, self.values)

    def encoded(self, value: Any) -> Any:
        """As Optuna keeps it: numbers and texts as they are, else as JSON."""
        return value if isinstance(value, str | int | float) else json.dumps(_plain(value))

    def decoded(self, value: Any) -> Any:
        """From what Optuna keeps."""
        return next(own for own in self.values if self.encoded(own) == value)

    def toml(self) -> Any:
        """As the file has it."""
        return [_plain(value) for value in self.values]


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two others.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether its logarithm is drawn evenly.
        step: Between two values; any value if left out.
        whole: Whether it is an integer.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def examples(self) -> tuple[Any, ...]:
        """Both ends."""
        return (self.low, self.high) if self.low < self.high else (self.low,)

    @property
    def size(self) -> float:
        """How many values there are."""
        step = self.step or (1 if self.whole else None)
        return math.inf if step is None else math.floor((self.high - self.low) / step + 1e-9) + 1

    def has(self, value: Any) -> bool:
        """Whether a value lies in it."""
        known = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        if not known or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-9

    def encoded(self, value: Any) -> Any:
        """As Optuna keeps it."""
        return value

    def decoded(self, value: Any) -> Any:
        """From what Optuna keeps."""
        return value

    def toml(self) -> Any:
        """As the file has it."""
        given = {"low": self.low, "high": self.high}
        return given | ({"log": True} if self.log else {}) | ({} if self.step is None else {"step": self.step})


Dimension = Choices | Range


def read_dimension(value: Any, where: str) -> Dimension:
    """A dimension as the file has it: ``[4, 8]`` or ``{ low = 1e-4, high = 1e-2, log = true }``.

    Raises:
        UserError: With everything that is wrong with it.

    Example:
        >>> read_dimension({"low": 1e-4, "high": 1e-2, "log": True}, "rate").log
        True
        >>> read_dimension({"low": 4, "hihg": 2}, "experts")
        Traceback (most recent call last):
        polytask.errors.UserError: 2 problems:
          1. experts.hihg: unknown key (value 2); did you mean 'high'?
          2. experts.high: missing; a range has low and high
    """
    if isinstance(value, list | tuple):
        return _choices(value, where)
    if not isinstance(value, Mapping):
        remedy = "list choices: [4, 8], or give a range: { low = 1e-4, high = 1e-2, log = true }"
        raise UserError(Problem(where, f"found {value!r}", remedy))
    problems = [
        Problem(f"{where}.{key}", f"unknown key (value {value[key]!r})", suggest(key, KEYS))
        for key in value
        if key not in KEYS
    ]
    problems += [
        Problem(f"{where}.{key}", "missing", "a range has low and high") for key in KEYS[:2] if key not in value
    ]
    for key in ("low", "high", "step"):
        if key in value and not _number(value[key]):
            problems.append(Problem(f"{where}.{key}", f"found {value[key]!r}", "give a number"))
    if not isinstance(value.get("log", False), bool):
        problems.append(Problem(f"{where}.log", f"found {value['log']!r}", "say true or false"))
    if not problems:
        problems = _inconsistent(value, where)
    if problems:
        raise UserError(problems)
    numbers = [value[key] for key in ("low", "high", "step") if key in value]
    return Range(
        value["low"], value["high"], value.get("log", False), value.get("step"),
        whole=all(isinstance(number, int) for number in numbers),
    )  # fmt: skip


def _choices(values: Any, where: str) -> Choices:
    plain = [json.dumps(_plain(value), default=str) for value in values]
    problems = [
        Problem(where, f"{text} is listed {plain.count(text)} times", "list it once")
        for text in dict.fromkeys(plain)
        if plain.count(text) > 1
    ]
    if not plain:
        problems.append(Problem(where, "an empty list", "list choices, or remove the key"))
    if problems:
        raise UserError(problems)
    return Choices(tuple(values))


def _inconsistent(value: Mapping[str, Any], where: str) -> list[Problem]:
    problems = []
    low, high, step = value["low"], value["high"], value.get("step")
    if low >= high:
        problems.append(Problem(where, f"low = {low} is not below high = {high}", "exchange them"))
    if value.get("log") and low <= 0:
        problems.append(Problem(f"{where}.low", f"{low} has no logarithm", "give a number above 0, or log = false"))
    if step is not None and (step <= 0 or step > high - low):
        problems.append(Problem(f"{where}.step", f"found {step}", f"give a number above 0 and at most {high - low:g}"))
    if step is not None and value.get("log"):
        problems.append(Problem(where, "log and step exclude one another", "choose one, or list the values"))
    return problems


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
