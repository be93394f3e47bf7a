"""Saved training states: tensors in safetensors, everything else in JSON; a crash while writing leaves the old ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from polytask.errors import Problem, UserError
from polytask.files import read_json, whole_folder

_KEPT = 2
_DAMAGE = (OSError, ValueError, KeyError, TypeError, SafetensorError)


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes a nested state of tensors, numbers, strings, lists and dictionaries.

    Args:
        folder: Where; replaced if it exists. It appears whole or not at all.
        state: What.

    Raises:
        TypeError: The state holds something else.
    """
    tensors: dict[str, Tensor] = {}
    plain = _pack(state, "", tensors)
    with whole_folder(folder) as partial:
        save_file(tensors, partial / "tensors.safetensors")
        (partial / "state.json").write_text(json.dumps(plain), encoding="utf-8")


def load_state(folder: Path) -> dict[str, Any]:
    """Reads what `save_state` wrote; tuples come back as lists.

    Raises:
        UserError: The files are missing or damaged.
    """
    try:
        tensors = load_file(folder / "tensors.safetensors")
        state = _unpack(read_json(folder / "state.json"), tensors)
        if not isinstance(state, dict):
            raise ValueError("state.json holds no state")
    except _DAMAGE as error:
        what = f"cannot be read ({type(error).__name__}: {error})"
        raise UserError(
            Problem(f"checkpoint {folder}", what, "delete this folder; the one before it is used")
        ) from error
    return state


class Checkpoints:
    """The checkpoints of one run: ``step-N`` folders, of which the last two are kept, and ``best-N`` with weights.

    The best weights that an old checkpoint refers to stay as long as it does: a run that is taken up there finds them.

    Args:
        folder: ``checkpoints/`` of a run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Writes the state after step ``step`` and drops what no kept checkpoint needs."""
        save_state(self._named("step", step), state)
        for old in self._all("step")[:-_KEPT]:
            shutil.rmtree(self._named("step", old))
        oldest = self._all("step")[0]
        for old in [best for best in self._all("best") if best < oldest][:-1]:
            shutil.rmtree(self._named("best", old))

    def save_best(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Writes the weights of an evaluation that is the best so far."""
        save_state(self._named("best", step), weights)

    def best(self, step: int) -> dict[str, Tensor]:
        """The weights that `save_best` wrote after step ``step``.

        Raises:
            UserError: They are missing or damaged.
        """
        return load_state(self._named("best", step))

    def latest(self) -> dict[str, Any] | None:
        """The newest readable state; ``None`` if there is none.

        Raises:
            UserError: There are checkpoints, but none can be read.
        """
        failure: UserError | None = None
        for step in reversed(self._all("step")):
            try:
                return load_state(self._named("step", step))
            except UserError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return None

    def clear(self) -> None:
        """Removes all of them: a finished run has its bundle."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _named(self, kind: str, step: int) -> Path:
        return self._folder / f"{kind}-{step:09d}"

    def _all(self, kind: str) -> list[int]:
        """The steps of all whole folders of one kind, ascending."""
        found = (path.name.removeprefix(f"{kind}-") for path in self._folder.glob(f"{kind}-*"))
        return sorted(int(step) for step in found if step.isdecimal())


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # clone: safetensors refuses tensors that share memory
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"$tensor": path}
    if isinstance(value, Mapping):
        # integer keys (parameter numbers) survive JSON as pairs
        return {"$items": [[key, _pack(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"cannot save {type(value).__name__} at {path}")


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict) and "$tensor" in value:
        return tensors[value["$tensor"]]
    if isinstance(value, dict):
        return {key: _unpack(item, tensors) for key, item in value["$items"]}
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    return value


def random_state() -> dict[str, Tensor]:
    """The state of torch's generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Goes on from `random_state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
