"""What moves a conditioned model: the optimizers of ordinary training, on the parameters that it has."""

from __future__ import annotations

from typing import Any

import torch

from polytask.config import TrainConfig
from polytask.fronts import Conditioned
from polytask.model import Model
from polytask.stack import matrices
from polytask.tradeoffs.network import TABLE
from polytask.training.optimization import Curve, Optimization
from polytask.training.rowwise import RowwiseAdagrad

_PARTS = ("members.", "main.", "up.", "down.", "common.")


class FrontOptimization(Optimization):
    """AdamW and row-wise Adagrad; decay and learning rates of a parameter are those of the one that it stands for.

    A task that is absent from a step has no gradient, but what belongs to it alone may move by momentum.

    Args:
        front: What is trained.
        model: The ordinary model, whose names count.
        config: Learning rates, decay, clipping.
        steps: Length of the run.
    """

    # its parameters are others than those of a model: nothing of what the ordinary one sets up would hold
    def __init__(self, front: Conditioned, model: Model, config: TrainConfig, *, steps: int) -> None:
        names = {id(one): name for name, one in model.named_parameters()}
        decayed = {names[id(one)] for one in matrices(model)}
        factors = {names[id(one)]: factor for one, factor in model.sharing.learning_rates()}
        tables, groups = [], dict[tuple[float, float], list[torch.nn.Parameter]]()
        for name, one in front.named_parameters():
            base = base_name(name)
            if base == TABLE:
                tables.append(one)
                continue
            falls = base in decayed if base in names.values() else one.dim() > 1
            factor = factors.get(base, 1.0)
            decay = config.weight_decay if falls and factor == 1.0 else 0.0
            groups.setdefault((decay, config.learning_rate * factor), []).append(one)
        listed: list[dict[str, Any]] = [
            {"params": own, "weight_decay": decay, "lr": rate} for (decay, rate), own in groups.items()
        ]
        self._dense = torch.optim.AdamW(listed, lr=config.learning_rate, fused=True)
        self._rows = RowwiseAdagrad(
            [{"params": tables}],
            lr=config.embedding_learning_rate,
            weight_decay=config.embedding_weight_decay,
            initial=config.embedding_initial,
        )
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self._curve, self._clip = Curve(steps, config.warmup, config.decay), config.clip_norm
        self._tables, self._all = tables, [one for own in groups.values() for one in own]
        self._task_rows = []


def base_name(name: str) -> str:
    """The parameter of the ordinary model that a parameter of a conditioned one stands for.

    Example:
        >>> base_name("members.model/towers/layers/0/weight"), base_name("inner.losses.model.encoder.table")
        ('towers.layers.0.weight', 'encoder.table')
    """
    for part in _PARTS:
        if name.startswith(part):
            return name.removeprefix(part).replace("/", ".").removeprefix("model.")
    return name.removeprefix("inner.losses.model.")
