"""A proposal as commented TOML."""

from __future__ import annotations

from typing import Any

import tomlkit
from tomlkit.items import Table

from polytask.cli.proposal import Proposal
from polytask.specs import LabelSpec


def to_toml(proposal: Proposal) -> str:
    """The text of the file; every choice has a comment that says why."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Proposed by `polytask init` from {proposal.rows:,} rows; change what you like."))
    document.add(tomlkit.comment("`polytask check` tells what is wrong, `polytask list` what can be named."))
    document.add(tomlkit.nl())
    document.add("data", _data(proposal))
    document.add("features", _features(proposal))
    tasks = tomlkit.table(is_super_table=True)
    for task in proposal.tasks:
        tasks.add(task.name, _task(task.spec, task.comment, task.options))
    document.add("tasks", tasks)
    document.add("encoder", _part("table", "columns to one vector per row"))
    document.add("sharing", _part("mmoe", "or shared_bottom, omoe, cgc, ple, ...: `polytask list architectures`"))
    document.add("balancer", _part("equal", "or uncertainty, constant, ...: `polytask list balancers`"))
    document.add("train", _train(proposal))
    return tomlkit.dumps(document)


def _data(proposal: Proposal) -> Table:
    table = tomlkit.table()
    table.add("source", proposal.source)
    if proposal.keys:
        table.add("keys", list(proposal.keys))
        table["keys"].comment("passed through to the predictions, never features")
    if proposal.drop:
        drop = tomlkit.array()
        for column, reason in proposal.drop.items():
            drop.add_line(column, comment=_one_line(reason))
        drop.add_line(indent="")
        table.add("drop", drop)
    split, reason = proposal.split
    if reason:
        table.add(tomlkit.comment(_one_line(reason)))
    if split:
        inline = tomlkit.inline_table()
        inline.update(split)
        table.add("split", inline)
    table.add(tomlkit.nl())
    return table


def _features(proposal: Proposal) -> Table:
    table = tomlkit.table()
    table.add(tomlkit.comment("Roles are inferred. To change one, add a table [features.COLUMN] with kind = ..."))
    width = max((len(name) for name in proposal.roles), default=0)
    for name, guess in proposal.roles.items():
        table.add(tomlkit.comment(_one_line(f"{name:<{width}}  {guess.kind:<11}  {guess.reason}")))
    table.add(tomlkit.nl())
    return table


def _task(spec: LabelSpec, comment: str, options: dict[str, Any]) -> Table:
    table = tomlkit.table()
    table.add("kind", spec.kind)
    table["kind"].comment(_one_line(comment))
    table.add("label", spec.label)
    for key in ("where", "weight", "group"):
        value = getattr(spec, key)
        if value is not None:
            table.add(key, value)
    if spec.classes is not None:
        table.add("classes", list(spec.classes))
        if spec.kind == "binary":
            table["classes"].comment("negative, positive")
    for key, value in options.items():
        table.add(key, value)
    table.add(tomlkit.nl())
    return table


def _part(name: str, comment: str) -> Table:
    table = tomlkit.table()
    table.add("use", name)
    table["use"].comment(comment)
    table.add(tomlkit.nl())
    return table


def _train(proposal: Proposal) -> Table:
    table = tomlkit.table()
    for key, value, comment in (
        ("epochs", 10, "at most; training stops when the validation score stops rising"),
        ("batch_size", proposal.batch_size, ""),
        ("learning_rate", 1e-3, ""),
        ("seed", 0, ""),
        ("seeds", 1, "5 gives mean and spread"),
        ("baselines", False, "true also trains one network per task, with the same budget"),
    ):
        item = tomlkit.item(value)
        if comment:
            item.comment(comment)
        table.add(key, item)
    return table


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()
