"""One ready configuration per group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polytask.comparing.checks import group_config
from polytask.config import Config, dump_config
from polytask.data.preprocessor import Preprocessor
from polytask.files import whole_file


def write_configs(config: Config, groups: Sequence[Sequence[str]], preprocessor: Preprocessor, out: Path) -> list[Path]:
    """Writes ``group-1.toml``, ``group-2.toml``, ... and removes those of an earlier suggestion.

    Columns that only the other tasks read are dropped in them: they must not become features.

    Args:
        config: Of all tasks, with absolute paths.
        groups: The tasks of each group.
        preprocessor: Of all tasks, fitted.
        out: The folder.
    """
    for stale in out.glob("group-*.toml"):
        stale.unlink()
    files = []
    for number, tasks in enumerate(groups, 1):
        files.append(out / f"group-{number}.toml")
        with whole_file(files[-1]) as partial:
            partial.write_text(dump_config(without_others(config, tasks, preprocessor)), encoding="utf-8")
    return files


def without_others(config: Config, tasks: Sequence[str], preprocessor: Preprocessor) -> Config:
    """The configuration of some tasks, to be trained on the table itself."""
    drop = dict.fromkeys((*config.data.drop, *preprocessor.columns_of_others(tasks)))
    data = config.data.model_copy(update={"drop": tuple(drop)})
    one = group_config(config, tasks)
    train = one.train.model_copy(update={"probe_affinity": False})  # which is measured
    return one.model_copy(update={"data": data, "train": train})
