"""What moves the parameters: AdamW for matrices, row-wise Adagrad for tables, one learning-rate curve for both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from polytask.config import TrainConfig
from polytask.model import Model
from polytask.stack import matrices
from polytask.training.rowwise import RowwiseAdagrad, coalesce


@dataclass(frozen=True, slots=True)
class Curve:
    """The learning rate over a run, as a share of its peak: rises linearly, then falls.

    Attributes:
        steps: All steps of the run.
        warmup: Share of them in which it rises.
        decay: ``cosine``, ``linear`` or ``none``.

    Example:
        >>> [round(Curve(10, 0.2, "linear").at(step), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.12]
    """

    steps: int
    warmup: float
    decay: str

    def at(self, step: int) -> float:
        """The share for step ``step``, counted from 0."""
        rise = math.ceil(self.warmup * self.steps)
        if step < rise:
            return (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, self.steps - rise))
        if self.decay == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        return 1.0 - done if self.decay == "linear" else 1.0


class Optimization:
    """All optimizers of a run.

    Args:
        model: Its tables (sparse gradients) and all its other parameters.
        balancer: May have parameters of its own; they are not decayed.
        config: Learning rates, decay, clipping.
        steps: Length of the run.
    """

    def __init__(self, model: Model, balancer: nn.Module, config: TrainConfig, *, steps: int) -> None:
        tables = [parameter for name, parameter in model.named_parameters() if name == "encoder.table"]
        known = {id(table) for table in tables}
        dense = [
            parameter for parameter in model.parameters() if id(parameter) not in known and parameter.requires_grad
        ]
        decayed = {id(parameter) for parameter in matrices(model)}
        own = list(balancer.parameters())
        paced = model.sharing.learning_rates()
        apart = {id(parameter) for parameter, _ in paced}
        plain = [one for one in dense if id(one) not in apart]
        groups: list[dict[str, Any]] = [
            {"params": [one for one in plain if id(one) in decayed], "weight_decay": config.weight_decay},
            {"params": [one for one in plain if id(one) not in decayed] + own, "weight_decay": 0.0},
        ]
        groups += [{"params": [one], "weight_decay": 0.0, "lr": config.learning_rate * factor} for one, factor in paced]
        self._dense = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=config.learning_rate, fused=True
        )
        self._rows = RowwiseAdagrad(
            [{"params": tables}],  # as a group there may be none
            lr=config.embedding_learning_rate,
            weight_decay=config.embedding_weight_decay,
            initial=config.embedding_initial,
        )
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self._curve = Curve(steps, config.warmup, config.decay)
        self._clip = config.clip_norm
        self._tables, self._all = tables, dense + own
        self._task_rows = task_rows(model, balancer)

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """Those that there are, with stable order."""
        return self._dense, self._rows

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self, number: int, present: Bool[Tensor, "tasks"]) -> float:
        """Moves all parameters; what belongs to an absent task alone stays, momentum included.

        Returns:
            The learning rate's share of its peak.
        """
        share = self._curve.at(number)
        # looked up anew: loading a state replaces the optimizers' groups
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
        if self._clip is not None:
            self._clip_gradients(self._clip)
        kept = [] if bool(present.all()) else list(self._frozen(present))
        for optimizer in self.optimizers:
            optimizer.step()
        for tensor, rows, values in kept:
            tensor[rows] = values
        return share

    def _clip_gradients(self, limit: float) -> None:
        for table in self._tables:
            if table.grad is not None and table.grad.is_sparse:
                rows, values = coalesce(table.grad)
                table.grad = torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=False)
        grads = [parameter.grad for parameter in self._all if parameter.grad is not None]
        grads += [table.grad._values() for table in self._tables if table.grad is not None]
        if not grads:
            return
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor)

    @torch.no_grad()
    def _frozen(self, present: Bool[Tensor, "tasks"]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        absent = ~present
        for parameter, owners in self._task_rows:
            rows = torch.nonzero((owners >= 0) & absent[owners.clamp(min=0)]).flatten().to(parameter.device)
            if not len(rows):
                continue
            moments = (self._dense.state.get(parameter, {}).get(name) for name in ("exp_avg", "exp_avg_sq"))
            for tensor in (parameter.data, *(moment for moment in moments if moment is not None)):
                yield tensor, rows, tensor[rows].clone()

    def state_dict(self) -> dict[str, Any]:
        """The states of all optimizers."""
        return {"dense": self._dense.state_dict(), "rows": self._rows.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved state."""
        self._dense.load_state_dict(state["dense"])
        self._rows.load_state_dict(state["rows"])


def task_rows(model: Model, balancer: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """Parameters whose leading axis belongs to tasks, with the owner of every entry (-1: shared)."""
    every = torch.arange(len(model.tasks))
    owned = [(parameter, every) for parameter in model.towers.parameters()]
    for layer, group in zip(model.heads.layers, model.task_stacks, strict=True):
        owned += [(parameter, torch.tensor(group.indices)) for parameter in layer.parameters()]
    owned += model.sharing.parameter_owners()
    owned += model.chain.method.parameter_owners() if model.chain is not None else []
    # what balancers learn per task has one entry per task, see `polytask.balancing.interfaces`
    return owned + [(parameter, every) for parameter in balancer.parameters() if parameter.shape[:1] == every.shape]
