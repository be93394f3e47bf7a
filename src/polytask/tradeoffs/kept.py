"""Conditioned models on disk, beside a bundle of the ordinary model that they are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from polytask.config import BalancerConfig, Config
from polytask.data.preprocessor import Preprocessor
from polytask.errors import Problem, UserError
from polytask.files import read_json, whole_folder
from polytask.fronts import Conditioned
from polytask.model import Model
from polytask.serving import Bundle, load_bundle
from polytask.serving.bundle import fitted_model
from polytask.tradeoffs.grid import Preference
from polytask.tradeoffs.network import build_front
from polytask.tradeoffs.plan import Whole, task_weights

FOLDER, FORMAT = "front", 1
AllScores = Mapping[str, Mapping[str, Mapping[str, float]]]
_DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def save_front(folder: Path, front: Conditioned, method: Whole) -> None:
    """Writes ``front/`` into a run folder: the weights, and what they are for."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in front.state_dict().items()}
    facts = {
        "format": FORMAT, "method": method.part.model_dump(), "tasks": list(method.tasks),
        "units": dict(method.units or {}),
    }  # fmt: skip
    with whole_folder(folder / FOLDER) as partial:
        save_file(state, partial / "front.safetensors")
        (partial / "front.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def load_front(folder: Path, *, allow_code: tuple[str, ...] = ()) -> tuple[Conditioned, Bundle, Whole]:
    """The conditioned model of a run folder, the bundle beside it, and how it was made.

    Raises:
        UserError: If files are missing or damaged.
    """
    bundle = load_bundle(folder / "bundle", allow_code=allow_code)
    try:
        facts = read_json(folder / FOLDER / "front.json")
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}, known is {FORMAT}")
        part = BalancerConfig.model_validate(facts["method"])
        equal = BalancerConfig(use="equal")
        method = Whole(
            part.use, "shared", "", bundle.config.sharing, equal,
            part=part, tasks=tuple(facts["tasks"]), units=facts["units"],
        )  # fmt: skip
        model = fitted_model(bundle.config, bundle.preprocessor)
        front = build_front(part, model, len(method.tasks), allow_code=allow_code)
        front.load_state_dict(load_file(folder / FOLDER / "front.safetensors"))
    except _DAMAGE as error:
        what = f"is damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        raise UserError(Problem(str(folder / FOLDER), what, "remove the run folder, and train again")) from error
    return front.eval(), bundle, method


def saved_at(
    config: Config, preprocessor: Preprocessor, model: Model, scores: AllScores, method: Whole, preference: Preference
) -> Bundle:
    """The bundle of an ordinary model that was taken from a conditioned one.

    Its configuration says hand-set weights: the objective at this preference.
    """
    units = method.units or {}
    weights = {
        task: weight / units.get(task, 1.0)
        for task, weight in task_weights(method.tasks, tuple(config.tasks), preference).items()
    }
    constant = BalancerConfig(use="constant", options={"weights": weights})
    quiet = config.train.model_copy(update={"log": ()})  # no part of the model
    said = config.model_copy(update={"balancer": constant, "train": quiet})
    return Bundle(said, preprocessor, model.cpu().eval(), scores)
