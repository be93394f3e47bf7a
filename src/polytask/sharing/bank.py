"""A bank of experts as one operation, computed in groups of experts whose activations fit into the cache.

With 40 tasks a layer of all experts is larger than any cache. Operation by operation, every pass over it (bias, ReLU,
its gradient, sums) goes to memory and costs as much as a matrix product. Group by group, what one pass writes the next
one still finds in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from polytask.sharing.functions import TaskScale, aligned, linear, product, weighted

COLUMNS = 2048
"""Units of a group's first layer: wide enough for fast products, 4 MB for a batch of 512."""


class Bank(Function):
    """Perceptrons with a ReLU after every layer, and gates that read the same input.

    Shapes: ``x [B, D]``, read by all, or ``[S, B, D]`` with the stream that each expert reads in ``index`` (None: its
    own), without gates and owners; ``gate [K, D]``; ``layers`` are ``weight [E, out, in]`` and ``bias [E, out]`` of
    every layer. Returns ``[E, B, H]`` and ``[B, K]``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "*streams batch width"],
        index: Int[Tensor, "experts"] | None,
        gate: Float[Tensor, "gates width"] | None,
        owner: Int[Tensor, "columns"] | None,
        gate_owner: Int[Tensor, "gates"] | None,
        scale: TaskScale | None,
        *layers: Tensor,
    ) -> tuple[Float[Tensor, "experts batch out"], Float[Tensor, "batch gates"]]:
        """``owner`` and ``gate_owner`` as in `Read`."""
        weights, biases = layers[::2], layers[1::2]
        found = [x.new_empty(len(bias), x.shape[-2], bias.shape[1]) for bias in biases]
        for part in groups(weights[0]):
            z = read_by(x, index, part, weights[0])
            for weight, bias, out in zip(weights, biases, found, strict=True):
                z = torch.baddbmm(bias[part].unsqueeze(1), z, weight[part].mT, out=out[part]).relu_()
        ctx.save_for_backward(x, index, gate, *weights, *found)
        ctx.owner, ctx.gate_owner, ctx.scale = owner, gate_owner, scale
        ctx.set_materialize_grads(False)
        return found[-1], linear(x, gate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor | None, da: Tensor | None) -> tuple[Tensor | None, ...]:
        """Parameters receive their own gradient, ``x`` the weighted one."""
        x, index, gate, *saved = ctx.saved_tensors
        count = len(saved) // 2
        weights, found = saved[:count], saved[count:]
        needs_x, needs_gate, needs = ctx.needs_input_grad[0], ctx.needs_input_grad[2], ctx.needs_input_grad[6:]
        dx = d_gate = None
        if da is not None and gate is not None:
            d_gate = da.t() @ x if needs_gate else None
            dx = product(weighted(da, ctx.gate_owner, ctx.scale), gate) if needs_x else None
        grads: list[Tensor | None] = [None] * len(needs)
        if d is not None:
            for number, weight in enumerate(weights):
                grads[2 * number] = torch.empty_like(weight) if needs[2 * number] else None
                grads[2 * number + 1] = weight.new_empty(weight.shape[:2]) if needs[2 * number + 1] else None
            if needs_x and dx is None:
                dx = torch.zeros_like(x) if x.dim() == 3 else aligned(x, x.shape[1]).zero_()
            for part in groups(weights[0]):
                below = [read_by(x, index, part, weights[0]), *(values[part] for values in found[:-1])]
                for number, dz in descend(d, weights, found, part):
                    d_weight, d_bias = grads[2 * number : 2 * number + 2]
                    if d_weight is not None:
                        torch.bmm(dz.mT, below[number], out=d_weight[part])
                    if d_bias is not None:
                        torch.sum(dz, 1, out=d_bias[part])
                    if number > 0 or dx is None:
                        continue
                    if x.dim() == 3:
                        own = torch.bmm(dz, weights[0][part])
                        _ = dx[part].copy_(own) if index is None else dx.index_add_(0, index[part], own)
                    else:
                        columns = ctx.owner.view(len(weights[0]), -1)[part].flatten() if ctx.owner is not None else None
                        dz = dz.transpose(0, 1).flatten(1)
                        torch.addmm(dx, weighted(dz, columns, ctx.scale), weights[0][part].flatten(0, 1), out=dx)
        return dx, None, d_gate, None, None, None, *grads


@torch.no_grad()
def first_gradient(node: Any, d: Float[Tensor, "experts batch out"]) -> Float[Tensor, "batch columns"]:
    """From the gradient at a bank's outputs to that at its first layer; ``node`` is the outputs' place in the graph."""
    _, _, _, *saved = node.saved_tensors
    weights, found = saved[: len(saved) // 2], saved[len(saved) // 2 :]
    columns = []
    for part in groups(weights[0]):
        *_, (_, dz) = descend(d, weights, found, part)
        columns.append(dz.transpose(0, 1).flatten(1))
    return torch.cat(columns, 1)


def descend(
    d: Float[Tensor, "experts batch out"], weights: Sequence[Tensor], found: Sequence[Tensor], part: slice
) -> Iterator[tuple[int, Float[Tensor, "group batch units"]]]:
    """The gradients at the linear outputs of a group's layers, with their numbers, from the last one down."""
    out = found[-1][part]
    dz = torch.ops.aten.threshold_backward.grad_input(d[part], out, 0, grad_input=torch.empty_like(out))
    for number in range(len(weights) - 1, -1, -1):
        yield number, dz
        if number > 0:
            dz = torch.bmm(dz, weights[number][part])
            torch.ops.aten.threshold_backward.grad_input(dz, found[number - 1][part], 0, grad_input=dz)


def groups(weight: Float[Tensor, "experts units width"]) -> Iterator[slice]:
    """The experts, in groups of about `COLUMNS` units.

    Example:
        >>> [(part.start, part.stop) for part in groups(torch.zeros(9, 512, 1))]
        [(0, 4), (4, 8), (8, 9)]
    """
    experts, units, _ = weight.shape
    step = max(1, COLUMNS // units)
    return (slice(first, min(first + step, experts)) for first in range(0, experts, step))


def read_by(x: Tensor, index: Tensor | None, part: slice, weight: Tensor) -> Float[Tensor, "group batch width"]:
    """What the experts of a group read."""
    if x.dim() == 2:
        return x.expand(len(weight[part]), -1, -1)
    return x[part] if index is None else x.index_select(0, index[part])
