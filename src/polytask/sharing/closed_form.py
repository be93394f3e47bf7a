"""The Gramian at a door, in closed form: from the gradient at the door's outputs to [tasks, tasks].

Row or column ``k`` of an output belongs to the task ``owner[k]`` (-1: to none; it does not count). With
``P[k, t] = 1`` where ``t`` owns ``k``, every form is ``P' K P``, and ``K[k, l]`` is the inner product of what ``k`` and
``l`` send down.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

PAIRS = 1 << 19
"""How many inner products of two rows are held at once: few enough to stay in the cache."""
ROWS = 1024
"""How many rows of a batch are held at once per task, where a gradient per task and row must be formed."""


def ownership(owner: Int[Tensor, "rows"], tasks: int, like: Tensor) -> Float[Tensor, "rows tasks"]:
    """``P[k, t] = 1`` where task ``t`` owns ``k``, in the type of ``like``.

    Example:
        >>> ownership(torch.tensor([1, -1, 0]), 2, torch.zeros(1)).tolist()
        [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """
    return (owner.unsqueeze(1) == torch.arange(tasks, device=owner.device)).to(like.dtype)


def precise(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """In float32 at least: sums of products over a whole batch are too much for narrower types."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def mix(
    gradient: Float[Tensor, "rows batch width"],
    *,
    gates: Float[Tensor, "batch rows experts"],
    owner: Int[Tensor, "rows experts"],
    tasks: int,
) -> Float[Tensor, "tasks tasks"]:
    """At expert outputs: ``G[s, t] = sum_b (sum_e gates[b, s, e] gates[b, t, e]) (sum_h d[s, b, h] d[t, b, h])``.

    The sum over ``e`` runs over the experts that are shared.
    """
    gates = precise(gates) * (owner >= 0)
    d = precise(gradient).transpose(0, 1)
    kernel = d.new_zeros(d.shape[1], d.shape[1])
    size = max(1, PAIRS // len(kernel) ** 2)
    for left, right in zip(torch.split(gates, size), torch.split(d, size), strict=True):
        # without a copy the product would copy every row of the batch by itself
        left, right = left.contiguous(), right.contiguous()
        kernel += torch.bmm(left, left.mT).mul_(torch.bmm(right, right.mT)).sum(0)
    p = ownership(owner.amax(1), tasks, kernel)
    return p.T @ kernel @ p


def select(
    gradient: Float[Tensor, "readers batch width"],
    *,
    index: Int[Tensor, "readers"],
    owner: Int[Tensor, "readers"],
    tasks: int,
) -> Float[Tensor, "tasks tasks"]:
    """At rows with several readers: ``G[s, t] = sum over sources of <sum of s's readers, sum of t's readers>``."""
    flat = precise(gradient).flatten(1)
    kernel = (flat @ flat.T) * (index.unsqueeze(0) == index.unsqueeze(1))
    p = ownership(owner, tasks, kernel)
    return p.T @ kernel @ p


def stitch(
    gradient: Float[Tensor, "rows batch width"],
    *,
    matrix: Float[Tensor, "rows streams units"],
    owner: Int[Tensor, "rows"],
    tasks: int,
) -> Float[Tensor, "tasks tasks"]:
    """At streams: ``K[k, l] = sum_h (sum_s A[k, s, h] A[l, s, h]) (sum_b d[k, b, h] d[l, b, h])``.

    With one factor for all units of a stream the sum over ``h`` is taken inside the second bracket.
    """
    a, d = precise(matrix).permute(2, 0, 1), precise(gradient)
    d = d.flatten(1).unsqueeze(0) if len(a) == 1 else d.permute(2, 0, 1)
    kernel = (torch.bmm(a, a.mT) * torch.bmm(d, d.mT)).sum(0)
    p = ownership(owner, tasks, kernel)
    return p.T @ kernel @ p


def read(
    *gradients: Float[Tensor, "batch _"],
    matrices: Sequence[Float[Tensor, "_ width"]],
    owners: Sequence[Int[Tensor, "_"]],
    tasks: int,
) -> Float[Tensor, "tasks tasks"]:
    """At an input ``x`` behind linear maps: ``G[s, t] = sum_b a[b, s] W_s W_t' a[b, t]``.

    ``a[b, t]`` is the gradient at the columns that task ``t`` owns and ``W_t`` holds their matrices. There are two
    ways to sum, and the cheaper one is taken: over pairs of columns, or over each task's gradient at ``x``.
    """
    owner = torch.cat(list(owners))
    kept = owner >= 0
    a, matrix = precise(torch.cat(gradients, 1)[:, kept]), precise(torch.cat(list(matrices))[kept])
    owner = owner[kept]
    (batch, columns), width = a.shape, matrix.shape[1]
    if columns * columns * (batch + width) <= batch * width * (columns + tasks * tasks):
        return _by_columns(a, matrix, owner, tasks)
    return _by_tasks(a, matrix, owner, tasks)


def _by_columns(a: Tensor, matrix: Tensor, owner: Tensor, tasks: int) -> Float[Tensor, "tasks tasks"]:
    """``K = (W W') * (a' a)``: two matrices [columns, columns], whatever the batch."""
    kernel = (matrix @ matrix.T) * (a.T @ a)
    p = ownership(owner, tasks, kernel)
    return p.T @ kernel @ p


def _by_tasks(a: Tensor, matrix: Tensor, owner: Tensor, tasks: int) -> Float[Tensor, "tasks tasks"]:
    """Each task's gradient at ``x``, for a block of rows at a time."""
    order, counts = owner.argsort(stable=True), torch.bincount(owner, minlength=tasks).tolist()
    parts = list(zip(torch.split(a[:, order], counts, 1), torch.split(matrix[order], counts), strict=True))
    total = a.new_zeros(tasks, tasks)
    for start in range(0, a.shape[0], ROWS):
        down = torch.stack([(own[start : start + ROWS] @ weight).flatten() for own, weight in parts])
        total += down @ down.T
    return total
