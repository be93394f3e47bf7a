"""Training of replicas: own rows, own order of the rows, one optimizer for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polytask.replicas.stacked import Replicas

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Rows:
    """Every replica's own rows.

    Attributes:
        x: Inputs.
        y: Labels of all tasks.
    """

    x: Float[Tensor, "replicas rows width"]
    y: Float[Tensor, "replicas tasks rows"]

    def __getitem__(self, some: slice) -> Rows:
        """The same rows of every replica, without a copy."""
        return Rows(self.x[:, some], self.y[:, :, some])

    def take(self, index: Int[Tensor, "replicas batch"]) -> Rows:
        """The rows ``index[r]`` of replica ``r``."""
        replica = torch.arange(len(index)).unsqueeze(1)
        return Rows(self.x[replica, index], self.y.gather(2, index.unsqueeze(1).expand(-1, self.y.shape[1], -1)))


@dataclass(frozen=True, slots=True)
class Plan:
    """How replicas train.

    Attributes:
        steps: Optimizer steps.
        batch_size: Rows per step and replica.
        learning_rate: Of Adam.
        evaluate_every: Steps between two points of the curves.
    """

    steps: int
    batch_size: int
    learning_rate: float
    evaluate_every: int


@dataclass(frozen=True, slots=True)
class Curves:
    """Losses on held-out rows.

    Attributes:
        steps: Where the curves have points; the first is 0, the last one is the end.
        losses: Of every replica, point and task.
    """

    steps: tuple[int, ...]
    losses: Float[Tensor, "replicas points tasks"]


def batches(rows: int, batch_size: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers of one replica's batches without end: every epoch in a new order, its incomplete batch left out.

    Args:
        rows: How many rows there are.
        batch_size: Rows per batch.
        seed: Of the orders.

    Example:
        >>> found = batches(4, 2, seed=0)
        >>> sorted([*next(found).tolist(), *next(found).tolist()])
        [0, 1, 2, 3]
    """
    if not 0 < batch_size <= rows:
        raise ValueError(f"batches of {batch_size} from {rows} rows")
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(rows)
        for start in range(0, rows - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def squared_error(outputs: Float[Tensor, "*any"], labels: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """``(outputs - labels)^2``."""
    return (outputs - labels).square()


def train(
    replicas: Replicas,
    rows: Rows,
    held_out: Rows,
    plan: Plan,
    seeds: Sequence[int],
    *,
    loss: Loss = squared_error,
    after: Callable[[int], None] | None = None,
) -> Curves:
    """Trains all replicas with Adam, side by side, each on the mean of its loss over rows and tasks.

    Every replica ends with the parameters that it would have after a run of its own on its rows in the order of
    `batches` under its seed.

    Args:
        replicas: The models, ``[B, D] -> [T, B]`` each; their parameters change.
        rows: What they train on.
        held_out: What the curves are measured on.
        plan: How.
        seeds: Of every replica's order of rows.
        loss: Of outputs and labels, entry by entry.
        after: Called after every step with its number, from 1.

    Returns:
        The losses on ``held_out`` before, during and after training.
    """
    optimizer = torch.optim.Adam(replicas.parameters(), lr=plan.learning_rate, fused=True)
    orders = [batches(rows.x.shape[1], plan.batch_size, seed) for seed in seeds]
    steps, losses = [], []
    for step in range(plan.steps + 1):
        if step % plan.evaluate_every == 0 or step == plan.steps:
            steps.append(step)
            losses.append(held_out_loss(replicas, held_out, loss))
        if step < plan.steps:
            batch = rows.take(torch.from_numpy(np.stack([next(order) for order in orders])))
            optimizer.zero_grad(set_to_none=True)
            # summed over replicas: the gradient of each is that of its own mean
            loss(replicas(batch.x), batch.y).mean((1, 2)).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if after is not None:
                after(step + 1)
    return Curves(tuple(steps), torch.stack(losses, 1))


@torch.no_grad()
def held_out_loss(replicas: Replicas, rows: Rows, loss: Loss = squared_error) -> Float[Tensor, "replicas tasks"]:
    """The mean loss of every replica and task."""
    return loss(replicas(rows.x), rows.y).mean(2)
