"""Writes the parts of the documentation that follow from the code: tables of keys, options, verbs and names.

A block ``<!-- generated: NAME -->`` ... ``<!-- end -->`` of a page is filled by the function for ``NAME``. After a
change of the code:

    python tests/docs/reference.py

and a test compares the pages with the code.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import griffe
from pydantic import BaseModel
from typer.main import get_command

from polytask import config
from polytask.cli.app import app
from polytask.config import PROVIDED, describe_options
from polytask.data import named

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"
BLOCK = re.compile(r"<!-- generated: (?P<name>[^>]+?) -->\n.*?<!-- end -->", re.DOTALL)
DISTANT = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def fill(text: str) -> str:
    """The page with every block written anew."""
    return BLOCK.sub(
        lambda match: f"<!-- generated: {match['name']} -->\n\n{block(match['name'])}\n\n<!-- end -->", text
    )


def block(name: str) -> str:
    """The content of one block: ``"KIND ARGUMENT"``."""
    kind, _, argument = name.partition(" ")
    kinds: Mapping[str, Callable[[str], str]] = {
        "keys": keys, "options": options, "cli": cli, "datasets": datasets, "metrics": metrics, "api": api,
    }  # fmt: skip
    return kinds[kind](argument)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def documented(thing: Any, section: str) -> dict[str, str]:
    """Per name, what the docstring says in its ``Args`` or ``Attributes``."""
    parsed = griffe.Docstring(inspect.getdoc(thing) or "").parse("google", warnings=False)
    found = (part.value for part in parsed if part.kind.value == section)
    return {item.name: plain(item.description) for items in found for item in items}


def plain(text: str) -> str:
    """A docstring's words on one line, in Markdown and in the words of the file."""
    return " ".join(text.split()).replace("``None``", "not set").replace("``", "`")


def keys(model: str) -> str:
    """The keys of one table of the configuration: type, default, meaning."""
    kind: type[BaseModel] = getattr(config, model)
    meanings = documented(kind, "attributes")
    schema = kind.model_json_schema(mode="validation")
    rows = []
    for name, field in kind.model_fields.items():
        if name == "options":
            continue
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        rows.append([f"`{name}`", _type(schema["properties"].get(name, {})), default, meanings[name]])
    return table(["key", "type", "default", "meaning"], rows)


def _default(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, BaseModel):
        return f"`{value.use}`" if hasattr(value, "use") else "its defaults"
    if value in ({}, ()):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else repr(value)}`".replace("'", '"')


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(text for one in schema["anyOf"] if (text := _type(one)) != "null")
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "$ref" in schema or schema.get("type") == "object":
        return "table"
    words = {"string": "text", "boolean": "true or false", "integer": "integer", "number": "number", "null": "null"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in DISTANT.items() if key in schema]
    return " ".join([words.get(str(schema.get("type")), "text or list of text"), ", ".join(limits)]).strip()


def options(package: str) -> str:
    """Per builder of a package its first sentence and its options."""
    module = importlib.import_module(package)
    return "\n\n".join(_builder(package, getattr(module, name)) for name in module.__all__)


def _builder(package: str, builder: Any) -> str:
    name = getattr(builder, "use", builder.__name__)
    meanings = documented(builder, "parameters")
    rows = [
        [f"`{option.name}`", _option_type(option.type), _option_default(option.default), meanings.get(option.name, "")]
        for option in describe_options(builder, PROVIDED.get(package, ()))
    ]
    first = plain((inspect.getdoc(builder) or "").split("\n\n")[0])
    body = table(["option", "type", "default", "meaning"], rows) if rows else "No options."
    return f"### `{name}`\n\n{first} [Formula, paper, example][{canonical(builder)}]\n\n{body}"


def _option_type(text: str) -> str:
    """The words of `describe_options` in those of the file."""
    words = {"int": "integer", "float": "number", "str": "text", "bool": "true or false", "function": "function",
             "Sequence[int]": "list of integers", "Sequence[float]": "list of numbers",
             "Mapping[str, float]": "table of numbers"}  # fmt: skip
    parts = [part for part in text.split(" | ") if part != "None"]
    return " or ".join(words[part] if part in words else f"`{part}`".replace("'", '"') for part in parts)


def _option_default(text: str) -> str:
    if text == "(required)":
        return "required"
    if text.endswith(")") and not text.startswith("("):  # an options class
        return f"`{text.partition('(')[0]}`"
    value = ast.literal_eval(text)
    return "not set" if value is None else f"`{json.dumps(value)}`"


def cli(_: str) -> str:
    """Every verb: usage, what it does, arguments and options."""
    root = get_command(app)
    return "\n\n".join(_verb(path, command) for path, command in verbs(root))


def verbs(root: click.Command) -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, with the words that call them."""
    for name, command in getattr(root, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", found) for inner, found in verbs(command))
        else:
            yield name, command


def _verb(path: str, command: click.Command) -> str:
    rows, words = [], []
    for parameter in command.params:
        if isinstance(parameter, click.Argument) or parameter.param_type_name == "argument":
            words.append(str(parameter.metavar or parameter.name).upper())
            rows.append([f"`{words[-1]}`", str(getattr(parameter, "help", "") or ""), "required"])
            continue
        flag = getattr(parameter, "is_flag", False)
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
        value = "" if flag or not parameter.metavar else f" `{parameter.metavar}`"
        rows.append([names + value, str(getattr(parameter, "help", "") or ""), _cli_default(parameter)])
    text = inspect.cleandoc(command.help or "")
    about, _, examples = text.partition("\n\nExample")
    shown = [line.strip() for line in examples.splitlines()[1:] if line.strip()]
    code = "```console\n" + "\n".join(shown) + "\n```" if shown else ""
    usage = f"`polytask {' '.join([path, *words])} ...`"
    return "\n\n".join(
        part
        for part in (
            f"## {path}",
            usage,
            about.replace("\f", ""),
            table(["argument", "meaning", "default"], rows),
            code,
        )
        if part
    )


def _cli_default(parameter: click.Parameter) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    return "" if value is None or value is False or callable(value) or "UNSET" in repr(value).upper() else f"`{value}`"


def datasets(_: str) -> str:
    """The named data sets, with licences and citations."""
    parts = []
    for name in named.names():
        dataset = named.get(name)
        lines = [f"### {name}", f"{dataset.description[0].upper()}{dataset.description[1:]}.", ""]
        lines += [f"- Licence: {dataset.licence}", f"- Home page: <{dataset.homepage}>"]
        lines += [
            f"- Citation: {dataset.citation}",
            f"- Files: {', '.join(f'`{file.name}`' for file in dataset.files)}",
        ]
        parts.append("\n".join([lines[0], "", *lines[1:]]))
    return "\n\n".join(parts)


def metrics(_: str) -> str:
    """All metrics: the key in scores, the class, the direction, the definition."""
    module = importlib.import_module("polytask.metrics")
    rows = []
    for name in module.__all__:
        metric = getattr(module, name)
        if not inspect.isclass(metric) or inspect.isabstract(metric):
            continue
        better = {True: "higher", False: "lower", None: "neither"}[metric.higher_is_better]
        first = plain((inspect.getdoc(metric) or "").split("\n\n")[0])
        rows.append([f"`{metric.name}`", f"[`{name}`][{canonical(metric)}]", better, first])
    return table(["key", "class", "better", "definition"], rows)


def api(module_name: str) -> str:
    """One directive per public name of a module, at the place where it is defined."""
    return "\n\n".join(f"::: {place}" for place in places(module_name))


def places(module_name: str) -> list[str]:
    """Where the names of a module's ``__all__`` are defined; what is no class or function stands where it is named."""
    module = importlib.import_module(module_name)
    return [canonical(getattr(module, name), f"{module_name}.{name}") for name in module.__all__ if name[:2] != "__"]


def canonical(thing: Any, named_as: str = "") -> str:
    """The full name of a class or function where it is defined."""
    if inspect.isclass(thing) or inspect.isfunction(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    return named_as


def pages() -> Iterator[Path]:
    """All pages with blocks."""
    return (page for page in sorted(PAGES.rglob("*.md")) if BLOCK.search(page.read_text(encoding="utf-8")))


def main() -> None:
    """Writes all pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if text != fill(text):
            page.write_text(fill(text), encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
