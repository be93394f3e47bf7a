"""The ordinary model under a preference: what is conditioned, and how an ordinary model comes out of it again."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from polytask.config import BalancerConfig, resolve
from polytask.config.components import placed
from polytask.errors import Problem, UserError
from polytask.fronts import Conditioned
from polytask.fronts.cosmos import Held
from polytask.model import Model
from polytask.training.step import Targets, task_losses
from polytask.types import Batch

MicroBatches = Sequence[tuple[Batch, Targets]]
Precision = AbstractContextManager[Any] | None
PROVIDED = ("network", "networks", "tasks", "images", "shared")
TABLE, BIAS = "encoder.table", "encoder.norm.bias"


class Losses(nn.Module):
    """A model as a function from labelled rows to the losses of all tasks, so that parameters can be put in its place.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, _: Tensor, micro: MicroBatches, precision: Precision = None
    ) -> tuple[Float[Tensor, "tasks"], Bool[Tensor, "tasks"], Float[Tensor, ""]]:
        """Losses, 0 where a task is absent; which are present; the penalties of sharing."""
        parts, present, made = task_losses(self.model, micro, precision)
        losses = torch.stack(parts).sum(0)
        penalty = losses.new_zeros(())
        for one in made:
            penalty = penalty if one.penalty is None else penalty + one.penalty / len(micro)
        return losses, present, penalty


class Shifted(nn.Module):
    """A model that reads the preference: a learnt linear map of it is added to what the encoder gives.

    The encoder ends in a normalisation with a bias. The map adds to this bias, which is how an ordinary model with the
    same outputs comes of it.

    Args:
        model: The model; copied.
        tasks: How many are traded.

    Raises:
        UserError: If the encoder has no such bias.
    """

    def __init__(self, model: Model, tasks: int) -> None:
        super().__init__()
        bias = dict(model.named_parameters()).get(BIAS)
        if bias is None:
            what = "cosmos adds the preference to the bias of the encoder's normalisation, and there is none"
            raise UserError(Problem("pareto.method 'cosmos'", what, 'set encoder.norm = "layer", or choose pamal'))
        self.losses = Losses(copy.deepcopy(model))
        self.shift = nn.Linear(tasks, bias.numel(), bias=False)

    def forward(self, preference: Float[Tensor, "tasks"], micro: MicroBatches, precision: Precision = None) -> Any:
        """What `Losses` gives under a preference."""
        shifted = {f"model.{BIAS}": self._bias(preference)}
        return functional_call(self.losses, shifted, (preference, micro, precision))

    def held(self, preference: Float[Tensor, "tasks"]) -> Model:
        """An ordinary model with the same outputs."""
        model = copy.deepcopy(self.losses.model)
        with torch.no_grad():
            model.get_parameter(BIAS).copy_(self._bias(preference))
        return model

    def _bias(self, preference: Float[Tensor, "tasks"]) -> Float[Tensor, "width"]:
        shift: Tensor = self.shift(preference)
        return self.losses.model.get_parameter(BIAS) + shift


def build_front(part: BalancerConfig, model: Model, tasks: int, *, allow_code: Sequence[str] = ()) -> Conditioned:
    """The conditioned form of a model; embedding tables are the same for all preferences.

    Args:
        part: ``pamal``, ``lorpman``, ``phn`` or ``cosmos``, with options.
        model: The model; copied.
        tasks: How many are traded.
        allow_code: Modules outside polytask that options may name.

    Raises:
        UserError: If an option is out of range, or the method cannot condition this model.
    """
    path = f"pareto.method '{part.use}'"
    builder, options = resolve("polytask.fronts", part, path=path, provided=PROVIDED, allow_code=allow_code)
    with placed(path, builder):
        if part.use == "cosmos":
            front: Conditioned = builder(Shifted(model, tasks), tasks, **options)
            return front
        network = Losses(model)
        shared = [f"model.{TABLE}"] if TABLE in dict(model.named_parameters()) else []
        if part.use == "pamal":
            front = builder([network] * tasks, shared=shared, **options)
        else:
            front = builder(network, tasks, shared=shared, **options)
    return front


def model_at(front: Conditioned, preference: Sequence[float]) -> Model:
    """The ordinary model for one preference."""
    found = front.at(preference)
    if isinstance(found, Held):
        assert isinstance(found.network, Shifted)
        return found.network.held(found.preference)
    assert isinstance(found, Losses)
    return found.model
