"""The joint label of a chained task: whether it happened, with all that must happen before it."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.chains.chain import Chain, joint_name
from polytask.types import Batch


def joint_labels(
    path: Bool[Tensor, "chain chain"], labels: Float[Tensor, "chain batch"], observed: Bool[Tensor, "chain batch"]
) -> tuple[Float[Tensor, "chain batch"], Bool[Tensor, "chain batch"]]:
    """Joint labels, and where they are known.

    A task happened if every task on its path did. It is known to have happened or not once a task on its path is known
    to have failed, with everything before it happened; what lies behind the failure need not be observed.

    Args:
        path: See `Chain.path`.
        labels: The tasks' own labels.
        observed: Where these are known; what a task's parent did not make possible does not count.

    Example:
        >>> path = torch.tensor([[True, False], [True, True]])  # click, then buy
        >>> labels, observed = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]), torch.ones(2, 3, dtype=torch.bool)
        >>> observed[1] = torch.tensor([False, True, False])  # no click: unknown; the last row: a click, buy unknown
        >>> joint, known = joint_labels(path, labels, observed)
        >>> joint[1].tolist(), known[1].tolist()
        ([0.0, 1.0, 0.0], [True, True, False])
    """
    happened = observed & (labels > 0.5)
    before = path.to(labels) - torch.eye(len(path), dtype=labels.dtype, device=labels.device)
    possible = before @ (~happened).to(labels) == 0
    failed = possible & observed & ~happened
    known = (possible & observed) | (before @ failed.to(labels) > 0)
    return (possible & happened).to(labels), known


def with_joints(chain: Chain, batch: Batch) -> Batch:
    """The same batch with the joint label of every task that comes after another, under `joint_name`.

    Example:
        >>> from polytask.chains import chain_of
        >>> from polytask.types import Features
        >>> ones = torch.ones(2)
        >>> labels = {"click": torch.tensor([1.0, 0.0]), "buy": torch.tensor([1.0, 0.0])}
        >>> observed = {"click": ones > 0, "buy": torch.tensor([True, False])}
        >>> batch = Batch(Features(torch.zeros(2, 0, dtype=torch.int32), torch.zeros(2, 0)), labels, observed)
        >>> batch = with_joints(chain_of(["click", "buy"], {"buy": "click"}), batch)
        >>> batch.labels["buy_joint"].tolist(), batch.observed["buy_joint"].tolist()
        ([1.0, 0.0], [True, True])
    """
    labels = torch.stack([batch.labels[name] for name in chain.names])
    observed = torch.stack([batch.observed[name] for name in chain.names])
    joint, known = joint_labels(chain.path.to(labels.device), labels, observed)
    names = {chain.names[task]: task for task in chain.children}
    return replace(
        batch,
        labels={**batch.labels, **{joint_name(name): joint[task] for name, task in names.items()}},
        observed={**batch.observed, **{joint_name(name): known[task] for name, task in names.items()}},
        weights={
            **batch.weights,
            **{joint_name(name): batch.weights[name] for name in names if name in batch.weights},
        },
    )
