"""The bundle: a folder that turns raw rows into predictions. Tensors, JSON, TOML and Parquet; nothing that runs."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from polytask.config import Config, dump_config, parse_config
from polytask.data.parts import READ_ROWS
from polytask.data.preprocessor import Counts, Preprocessor
from polytask.data.reader import to_batch
from polytask.data.sources import TableSource, open_source
from polytask.decisions import Decisions, label_column
from polytask.errors import Problem, UserError, raise_errors, suggest
from polytask.files import read_json, whole_folder
from polytask.model import Model, build_model, build_tasks
from polytask.serving.bounds import BoundedSizes
from polytask.serving.card import model_card
from polytask.serving.preprocessing import from_json, read_vocabularies, to_json, write_vocabularies
from polytask.serving.schema import (
    VOCABULARIES,
    WEIGHTS,
    AllScores,
    check_format,
    check_sums,
    new_schema,
    read_decisions,
    read_scores,
    sha256,
)  # fmt: skip
from polytask.tasks import Task

_FILES = ("schema.json", "config.toml", WEIGHTS)
_DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    pa.ArrowException, SafetensorError,
)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A trained model with its preprocessing.

    Attributes:
        config: What it was trained from.
        preprocessor: Raw rows to blocks.
        model: In evaluation mode.
        scores: Of the run that made it, per part, task and metric.
        decisions: Calibration, thresholds and a fused score, which predictions go through.
    """

    config: Config
    preprocessor: Preprocessor
    model: Model
    scores: AllScores
    decisions: Decisions = field(default_factory=Decisions)

    def save(self, folder: Path | str) -> Path:
        """Writes the bundle; the folder appears whole or not at all.

        Raises:
            UserError: The folder exists and is no bundle.
        """
        folder = Path(folder)
        check_place(folder)
        schema = new_schema(self.scores, self.decisions)
        schema["preprocessing"] = to_json(self.preprocessor)
        with whole_folder(folder) as partial:
            save_file(_portable(self.model), partial / WEIGHTS)
            names = write_vocabularies(self.preprocessor, partial / VOCABULARIES)
            files = [WEIGHTS, *(f"{VOCABULARIES}/{name}" for name in names)]
            schema["sha256"] = {name: sha256(partial / name) for name in files}
            (partial / "schema.json").write_text(json.dumps(schema, indent=1), encoding="utf-8")
            (partial / "config.toml").write_text(dump_config(self.config), encoding="utf-8")
            card = model_card(self.config, self.preprocessor, self.model, self.scores, self.decisions)
            (partial / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        return folder

    def predict(self, data: Any, *, keys: Sequence[str] | None = None) -> pa.Table:
        """Predictions for raw rows.

        Args:
            data: Anything that `open_source` opens: a path, a DataFrame, an Arrow table.
            keys: Columns to pass through; by default those of the configuration that the data has.

        Returns:
            The keys, then one column per task (one per class for tasks with classes), then the joint probabilities of
            tasks that come after others; where the bundle has them, the labels that thresholds decide, and the score.

        Raises:
            UserError: The data lacks columns, or they have other types.
        """
        source = open_source(data)
        names = self.keys(source, keys)
        return pa.Table.from_batches(list(self.stream(source, names)), schema=self.schema(source, names))

    def stream(
        self, source: TableSource, keys: Sequence[str], counts: Counts | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Predictions batch by batch; memory is bounded by one batch.

        Args:
            source: Raw rows.
            keys: Columns to pass through, as `keys` gives them.
            counts: Where unseen and missing values are counted.

        Raises:
            UserError: The table lacks columns, or they have other types.
        """
        self.preprocessor.check(source.schema, labels=False)
        columns = tuple(dict.fromkeys((*self.preprocessor.feature_columns(), *keys)))
        schema = self.schema(source, keys)
        device = next(self.model.parameters()).device
        for raw in source.scan(columns, batch_rows=READ_ROWS):
            block = self.preprocessor.encode(raw, counts=counts)
            features = to_batch(block, self.preprocessor).features.to(device)
            arrays = [raw.column(name) for name in keys]
            predicted = {name: values.float().cpu().numpy() for name, values in self.model.predict(features).items()}
            for array in self.decisions.apply(predicted).values():
                arrays += [
                    pa.array(np.ascontiguousarray(column)) for column in (array.T if array.ndim > 1 else [array])
                ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the prediction columns."""
        names: list[str] = []
        for task, label in zip(self.model.tasks, self.preprocessor.labels, strict=True):
            if task.constant_prediction.dim():
                classes = label.classes or tuple(range(len(task.constant_prediction)))
                names += [f"{task.name}_{value}" for value in classes]
            else:
                names.append(task.name)
        return (*names, *(joint.name for joint in self.model.joints.values()), *self.decisions.columns)

    @property
    def probabilities(self) -> tuple[str, ...]:
        """Predictions that are the probability of a yes: those of binary tasks, and joint ones."""
        own = [task.name for task in self.model.tasks if task.kind == "binary"]
        return (*own, *(joint.name for joint in self.model.joints.values()))

    @property
    def values(self) -> tuple[str, ...]:
        """Predictions that are a number in the label's unit."""
        own = (task for task in self.model.tasks if task.kind != "binary" and not task.constant_prediction.dim())
        return tuple(task.name for task in own)

    @property
    def classes(self) -> tuple[str, ...]:
        """Predictions that are one probability per class."""
        return tuple(task.name for task in self.model.tasks if task.constant_prediction.dim())

    def check_decisions(self) -> None:
        """Compares the decisions with what the model predicts.

        Raises:
            ValueError: They do not fit, or their columns have names that others have.
        """
        plain = replace(self, decisions=Decisions())
        taken = (*plain.columns, *self.config.data.keys)
        self.decisions.check(self.probabilities, self.values, self.classes, taken)

    def keys(self, source: TableSource, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
        """The columns of a table to pass through: those wanted, or the configuration's as far as the table has them.

        Raises:
            UserError: A wanted column does not exist, or has the name of a prediction.
        """
        names = source.schema.names
        if wanted is None:
            return tuple(name for name in self.config.data.keys if name in names)
        wanted = [wanted] if isinstance(wanted, str) else wanted
        problems = [
            Problem("keys", f"column '{name}' does not exist in {source.name}", suggest(name, names))
            for name in wanted
            if name not in names
        ]
        problems += [
            Problem("keys", f"'{name}' is the name of a prediction as well", "rename the column, or leave it out")
            for name in wanted
            if name in self.columns
        ]
        raise_errors(problems)
        return tuple(dict.fromkeys(wanted))

    def schema(self, source: TableSource, keys: Sequence[str]) -> pa.Schema:
        """Columns and types of the predictions for a table."""
        fields = [source.schema.field(name) for name in keys]
        labels = {label_column(task) for task in self.decisions.thresholds}
        own = [pa.field(name, pa.int8() if name in labels else pa.float32()) for name in self.columns]
        return pa.schema([*fields, *own])


def check_place(folder: Path) -> None:
    """Refuses to write a bundle where something else is.

    Raises:
        UserError: The folder exists and is no bundle.
    """
    if folder.exists() and not (folder / "schema.json").exists():
        raise UserError(Problem(str(folder), "exists and is no bundle", "name a new folder"))


def load_bundle(path: Path | str, *, allow_code: Sequence[str] = (), device: str = "cpu") -> Bundle:
    """Loads a bundle. No code comes from it: names in its configuration are polytask's own.

    Args:
        path: The bundle, or a run folder that holds one.
        allow_code: Modules that the configuration may name besides (see ``--allow-code``).
        device: Where to compute.

    Raises:
        UserError: The bundle is missing, damaged, of a later format, or does not fit together.
    """
    folder = Path(path)
    if not (folder / "schema.json").exists() and (folder / "bundle" / "schema.json").exists():
        folder = folder / "bundle"
    seeds = sorted(
        (folder / "seeds").glob("*/bundle/schema.json"), key=lambda file: (len(file.parts[-3]), file.parts[-3])
    )
    if seeds and not (folder / "schema.json").exists():
        folder = seeds[0].parent
    if not folder.exists():
        raise UserError(Problem(f"bundle {path}", "does not exist", "name a bundle, or a run folder that holds one"))
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            Problem(f"bundle {path}", f"lacks {', '.join(missing)}", "name the folder 'bundle' inside a run folder")
        )
    try:
        return _read(folder, allow_code, device)
    except _DAMAGE as error:
        if isinstance(error, UserError):
            raise
        what = f"is damaged or not a polytask bundle ({_short(error)})"
        raise UserError(Problem(f"bundle {folder}", what, "copy or train it again")) from error


def fitted_tasks(config: Config, preprocessor: Preprocessor) -> list[Task]:
    """The tasks of a configuration, knowing their training labels."""
    return [
        task.fitted(preprocessor.stats[task.name], label.classes)
        for task, label in zip(build_tasks(config), preprocessor.labels, strict=True)
    ]


def fitted_model(config: Config, preprocessor: Preprocessor) -> Model:
    """The model of a configuration, for fitted preprocessing; weights are fresh."""
    return build_model(config, preprocessor.spec, fitted_tasks(config, preprocessor))


def _read(folder: Path, allow_code: Sequence[str], device: str) -> Bundle:
    schema = read_json(folder / "schema.json")
    check_format(folder, schema)
    config = parse_config(tomllib.loads((folder / "config.toml").read_text(encoding="utf-8")), allow_code=allow_code)
    saved = schema["preprocessing"]
    preprocessor = from_json(saved, read_vocabularies(saved, folder / VOCABULARIES))
    if preprocessor.tasks != tuple(config.tasks):
        raise ValueError(f"schema.json has the tasks {preprocessor.tasks}, config.toml {tuple(config.tasks)}")
    model = _load_model(folder / WEIGHTS, config, preprocessor)
    check_sums(folder, schema)
    bundle = Bundle(config, preprocessor, model.to(device).eval(), read_scores(schema), read_decisions(schema))
    bundle.check_decisions()
    return bundle


def _load_model(file: Path, config: Config, preprocessor: Preprocessor) -> Model:
    # shapes are compared before any tensor is read: a wrong file is named, not half loaded
    with safe_open(file, "pt") as tensors:
        shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    rows = preprocessor.spec.rows
    if shapes.get("encoder.table", (rows,))[0] != rows:
        raise ValueError(f"the table has {shapes['encoder.table'][0]} rows, the vocabularies {rows}")
    with BoundedSizes(sum(math.prod(shape) for shape in shapes.values())):
        model = fitted_model(config, preprocessor)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if shapes != expected:
        wrong = sorted(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name))
        raise ValueError(f"weights do not fit the configuration: {', '.join(wrong[:5])}")
    model.load_state_dict(load_file(file))
    return model


def _portable(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}


def _short(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
