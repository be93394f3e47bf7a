"""The four operations that read something shared, with a backward pass that weighs tasks at the door.

Each function computes what its plain formulation in `polytask.sharing.doors` computes; only the gradient that enters
the shared tensor differs, and only while weights are set. Under autocast outputs are narrower than what was saved, so
backward passes compute in the type of the gradient that arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


@dataclass(slots=True)
class TaskScale:
    """The weights of the tasks at backward time.

    A holder of its own: functions refer to it and not to the cut, or graph and cut would keep each other alive.
    """

    weights: Float[Tensor, "tasks"] | None = None
    only: int | None = None

    def rows(self, owner: Int[Tensor, "rows *columns"], /) -> Int[Tensor, "some"] | None:
        """The rows that may have a gradient: all but those of other tasks than the only one; None: all."""
        if self.only is None:
            return None
        owned = owner.flatten(1)
        return ((owned == self.only).any(1) | (owned < 0).all(1)).nonzero().flatten()

    def stops(self, owner: Int[Tensor, "*rows"], /) -> bool:
        """Whether nothing gets through a door whose readers have these owners: all weights are 0, all is owned."""
        return self.weights is not None and not bool(self.weights.any()) and bool((owner >= 0).all())

    def of(self, owner: Int[Tensor, "*rows"], /) -> Float[Tensor, "*rows"] | None:
        """The weight of every row's owner, 1 where nobody owns it; None while no weights are set."""
        if self.weights is None:
            return None
        return torch.cat([self.weights, self.weights.new_ones(1)])[owner]


ALIGNMENT = 16
"""In elements: a cache line of float32."""


class Read(Function):
    """Two linear maps of one shared input, the experts' first layer and the gates, as two wide matrix products.

    Shapes: ``x [B, D]``, ``weight [C, D]``, ``bias [C]``, ``gate [K, D]``; returns ``[B, C]`` and ``[B, K]``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "batch width"],
        weight: Float[Tensor, "columns width"],
        bias: Float[Tensor, "columns"],
        gate: Float[Tensor, "gates width"] | None,
        owner: Int[Tensor, "columns"] | None,
        gate_owner: Int[Tensor, "gates"] | None,
        scale: TaskScale,
    ) -> tuple[Tensor, Tensor]:
        """``owner`` names, per column, the only task that uses it (-1: shared); None: nothing to weigh."""
        ctx.save_for_backward(x, weight, gate)
        ctx.owner, ctx.gate_owner, ctx.scale = owner, gate_owner, scale
        ctx.set_materialize_grads(False)
        return torch.addmm(bias, x, weight.t()), linear(x, gate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor | None, da: Tensor | None) -> tuple[Tensor | None, ...]:
        """Parameters receive their own gradient, ``x`` the weighted one."""
        x, weight, gate = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, needs_gate = ctx.needs_input_grad[:4]
        dx = d_weight = d_bias = d_gate = None
        if dz is not None:
            d_weight = dz.t() @ x.to(dz.dtype) if needs_weight else None
            d_bias = dz.sum(0) if needs_bias else None
            dx = product(weighted(dz, ctx.owner, ctx.scale), weight.to(dz.dtype)) if needs_x else None
        if da is not None and gate is not None:
            gate = gate.to(da.dtype)
            d_gate = da.t() @ x.to(da.dtype) if needs_gate else None
            if needs_x:
                da = weighted(da, ctx.gate_owner, ctx.scale)
                dx = product(da, gate) if dx is None else torch.addmm(dx, da, gate, out=dx)
        return dx, d_weight, d_bias, d_gate, None, None, None


class Mix(Function):
    """``r[s, b] = sum_e gates[b, s, e] values[e, b]``: rows over experts.

    Shapes: ``gates [B, R, E]``, ``values [E, B, H]``; returns ``[R, B, H]``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gates: Float[Tensor, "batch rows experts"],
        values: Float[Tensor, "experts batch width"],
        owner: Int[Tensor, "rows experts"],
        scale: TaskScale,
    ) -> Float[Tensor, "rows batch width"]:
        """``owner`` names the row's task where it reads an expert that others read too, else -1."""
        ctx.save_for_backward(gates, values)
        ctx.owner, ctx.scale = owner, scale
        return torch.bmm(gates, values.transpose(0, 1)).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Gates receive their own gradient, expert outputs the weighted one."""
        gates, values = ctx.saved_tensors
        rows = ctx.scale.rows(ctx.owner)
        if rows is not None and len(rows) < len(d):
            return *_mix_some(gates, values, d, rows, ctx.needs_input_grad), None, None
        d = d.transpose(0, 1)
        d_gates = torch.bmm(d, values.permute(1, 2, 0).to(d.dtype)) if ctx.needs_input_grad[0] else None
        d_values = None
        if ctx.needs_input_grad[1] and not ctx.scale.stops(ctx.owner):
            d_values = torch.bmm(weighted(gates, ctx.owner, ctx.scale).mT.to(d.dtype), d).transpose(0, 1)
        return d_gates, d_values, None, None


def _mix_some(
    gates: Float[Tensor, "batch rows experts"],
    values: Float[Tensor, "experts batch width"],
    d: Float[Tensor, "rows batch width"],
    rows: Int[Tensor, "some"],
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """The backward pass of `Mix` where only some rows have a gradient, row by row: there are one or two."""
    d_gates = torch.zeros_like(gates, dtype=d.dtype) if needs[0] else None
    d_values = None
    for row in rows.tolist():
        down = d[row].unsqueeze(0)
        if d_gates is not None:
            d_gates[:, row] = (down * values).sum(2).t()
        if needs[1]:
            own = gates[:, row].t().unsqueeze(2).to(d.dtype) * down
            d_values = own if d_values is None else d_values.add_(own)
    return d_gates, d_values


class Select(Function):
    """``r[k] = values[index[k]]``: several readers of the same rows. Shapes: ``[S, B, H] -> [K, B, H]``."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Float[Tensor, "sources batch width"],
        index: Int[Tensor, "readers"],
        owner: Int[Tensor, "readers"],
        scale: TaskScale,
    ) -> Float[Tensor, "readers batch width"]:
        """``owner`` names the reader's task where it reads a shared source, else -1."""
        ctx.save_for_backward(index)
        ctx.sources, ctx.owner, ctx.scale = values.shape[0], owner, scale
        return take(values, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Sources receive the weighted sum over their readers."""
        (index,) = ctx.saved_tensors
        if ctx.scale.stops(ctx.owner):
            return None, None, None, None
        scale = ctx.scale.of(ctx.owner)
        if ctx.sources == 1:
            scale = d.new_ones(len(d)) if scale is None else scale.to(d.dtype)
            return torch.tensordot(scale, d, 1).unsqueeze(0), None, None, None
        if scale is not None:
            d = d * scale.to(d.dtype).view(-1, 1, 1)
        return d.new_zeros(ctx.sources, *d.shape[1:]).index_add_(0, index, d), None, None, None


class Stitch(Function):
    """``r[k, b, h] = sum_s matrix[k, s, h] values[s, b, h]``: rows over streams, one factor per unit or one for all.

    Shapes: ``matrix [R, S, H]`` or ``[R, S, 1]``, ``values [S, B, H]``; returns ``[R, B, H]``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        matrix: Float[Tensor, "rows streams units"],
        values: Float[Tensor, "streams batch width"],
        owner: Int[Tensor, "rows"] | None,
        scale: TaskScale,
    ) -> Float[Tensor, "rows batch width"]:
        """``owner`` names the only task that uses a row, else -1; None: nothing to weigh."""
        ctx.save_for_backward(matrix, values)
        ctx.owner, ctx.scale = owner, scale
        return combine(matrix, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """The matrix receives its own gradient, streams the weighted one."""
        matrix, values = ctx.saved_tensors
        needs_matrix, needs_values = ctx.needs_input_grad[:2]
        factor = None if ctx.owner is None else ctx.scale.of(ctx.owner)
        scaled = matrix if factor is None else matrix * factor.to(matrix.dtype).view(-1, 1, 1)
        scaled, values = scaled.transpose(0, 1).to(d.dtype), values.to(d.dtype)
        if matrix.shape[2] == 1:
            d_matrix = torch.mm(d.flatten(1), values.flatten(1).t()).unsqueeze(2) if needs_matrix else None
            return d_matrix, combine(scaled, d) if needs_values else None, None, None
        d_units = by_unit(d)
        d_matrix = torch.bmm(d_units, by_unit(values).mT).permute(1, 2, 0) if needs_matrix else None
        return d_matrix, by_row(torch.bmm(by_unit(scaled), d_units)) if needs_values else None, None, None


def combine(
    matrix: Float[Tensor, "rows streams units"], values: Float[Tensor, "streams batch width"]
) -> Float[Tensor, "rows batch width"]:
    """What `Stitch` computes: one matrix product where a stream has one factor, else one per unit."""
    if matrix.shape[2] == 1:
        return torch.mm(matrix.squeeze(2), values.flatten(1)).view(matrix.shape[0], *values.shape[1:])
    return by_row(torch.bmm(by_unit(matrix), by_unit(values)))


def by_unit(values: Float[Tensor, "streams batch width"]) -> Float[Tensor, "width streams batch"]:
    """The units in front, in memory too: as a transposed matrix, which torch copies tile by tile."""
    return values.flatten(0, 1).t().contiguous().view(values.shape[2], *values.shape[:2])


def by_row(units: Float[Tensor, "width rows batch"]) -> Float[Tensor, "rows batch width"]:
    """The way back of `by_unit`."""
    return units.flatten(1).t().contiguous().view(*units.shape[1:], units.shape[0])


def linear(x: Float[Tensor, "batch width"], gate: Float[Tensor, "gates width"] | None) -> Float[Tensor, "batch gates"]:
    """``x gate'``, of no columns where there is no gate."""
    return x.new_empty(x.shape[0], 0) if gate is None else x @ gate.t()


def product(left: Float[Tensor, "batch inner"], right: Float[Tensor, "inner width"]) -> Float[Tensor, "batch width"]:
    """``left @ right`` into rows whose length in memory is a multiple of `ALIGNMENT`.

    Input widths are sums of embedding widths and any number of numeric columns. Where they are odd, matrix products on
    the CPU that write tightly packed rows lose a third of their speed.
    """
    return torch.mm(left, right, out=aligned(left, right.shape[1]))


def aligned(like: Float[Tensor, "batch _"], width: int) -> Float[Tensor, "batch width"]:
    """An empty matrix of as many rows, whose rows start at multiples of `ALIGNMENT`."""
    return like.new_empty(like.shape[0], -(-width // ALIGNMENT) * ALIGNMENT)[:, :width]


def take(values: Float[Tensor, "sources batch width"], index: Int[Tensor, "readers"]) -> Tensor:
    """``values[index]``; without a copy where there is one source."""
    return values.expand(index.shape[0], -1, -1) if values.shape[0] == 1 else values.index_select(0, index)


def weighted(
    gradient: Float[Tensor, "batch *columns"], owner: Int[Tensor, "*columns"] | None, scale: TaskScale
) -> Tensor:
    """The gradient times the weight of every column's owner."""
    factor = None if owner is None else scale.of(owner)
    return gradient if factor is None else gradient * factor.to(gradient.dtype)
