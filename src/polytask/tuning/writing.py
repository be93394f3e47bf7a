"""The files of a sweep: numbers, tables, a figure, and one ready configuration per method and point of the front."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from polytask.config import Config, dump_config
from polytask.errors import MissingExtraError
from polytask.files import make_folder, read_json, whole_file, whole_folder, write_json
from polytask.training.folder import ENVIRONMENT
from polytask.tuning import pages
from polytask.tuning.figure import draw
from polytask.tuning.result import Numbered, Sweep
from polytask.tuning.table import SweepConfig

SWEEP, TRIALS, PAGE, FIGURE = "sweep.json", "trials.parquet", "sweep.md", "sweep.png"


def write(found: Sweep, config: Config, options: SweepConfig, *, part_rows: dict[str, int], workers: int) -> str | None:
    """Writes all files; returns why there is no figure, if so.

    Args:
        found: The sweep.
        config: The file's own configuration.
        options: What was searched.
        part_rows: Rows per part.
        workers: Trials at a time.
    """
    out, figure, missing = found.path, None, None
    try:
        figure = FIGURE if draw(found, out / FIGURE) else None
    except MissingExtraError as error:
        missing = str(error)
    facts = {
        "sweep": options.model_dump(mode="json"), "config": config.model_dump(mode="json"),
        "environment": read_json(out / ENVIRONMENT),
        "part_rows": part_rows, "workers": workers,
    }  # fmt: skip
    write_json(out / SWEEP, {**found.json(), **facts})
    with whole_file(out / TRIALS) as partial:
        pq.write_table(found.trials, partial)
    with whole_file(out / PAGE) as partial:
        partial.write_text(pages.markdown(found, figure), encoding="utf-8")
    _write_configs(found, config)
    return missing


def _write_configs(found: Sweep, config: Config) -> None:
    out = found.path
    make_folder(out / "best")
    for method in found.methods:
        best = found.best_of(method)
        if best is not None:
            _write_config(out / "best" / f"{method.slug}.toml", best, found, config)
    if found.best is not None:
        _write_config(out / "best.toml", found.best, found, config)
    shutil.rmtree(out / "front", ignore_errors=True)
    if len(found.objectives) > 1 and found.front:
        with whole_folder(out / "front") as partial:
            for one in found.front:
                _write_config(partial / f"{one.number}.toml", one, found, config)


def _write_config(file: Path, one: Numbered, found: Sweep, config: Config) -> None:
    """The configuration of a trial, with the seeds and baselines that the file asks for."""
    values = zip(found.objectives, one.outcome.values, strict=True)
    scores = ", ".join(f"{each.name} {value:.6g}" for each, value in values)
    tried = ", ".join(f"{key} = {pages.shown(value)}" for key, value in one.trial.params.items()) or "nothing"
    header = (
        f"# {one.method.name}, trial {one.trial.index} of polytask sweep\n"
        f"# on the validation part: {scores}\n# searched: {tried}\n\n"
    )
    own = one.method.with_params(one.trial.params)
    kept = {"seeds": config.train.seeds, "baselines": config.train.baselines}
    own = own.model_copy(update={"train": own.train.model_copy(update=kept)})
    with whole_file(file) as partial:
        partial.write_text(header + dump_config(own), encoding="utf-8")
