"""Doors: the places where something private to a task reads something that the tasks share.

Going down, a door multiplies the gradient of task ``t`` by the weight of task ``t`` on its way into the shared tensor,
and leaves the gradients of the private parameters at the door as they are. Because the outputs of a door are private,
one backward pass of all losses down to them gives every task's own gradient at once, and the door's share of the
Gramian follows in closed form, without an array [tasks, experts, batch, width].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.graph import Node

from polytask.sharing import closed_form
from polytask.sharing.bank import first_gradient
from polytask.sharing.experts import Experts
from polytask.sharing.functions import Mix, Read, Select, Stitch, TaskScale, combine, linear, take


@dataclass(frozen=True, slots=True)
class Door:
    """Private outputs, how their gradients make the Gramian at the shared tensor behind them, which input that is."""

    outputs: tuple[Tensor, ...]
    gramian: Callable[..., Float[Tensor, "tasks tasks"]]
    shared_input: int


class Doors:
    """The cut of one forward pass: all its doors. Implements `polytask.cut.Cut`.

    Args:
        tasks: Number of tasks.
        open: Whether to keep what balancing needs. False in inference and export, where all operations are plain ones.

    Attributes:
        value: The representation that the cut belongs to; the architecture sets it at the end of its forward pass.
    """

    def __init__(self, tasks: int, *, open: bool) -> None:
        self.tasks = tasks
        self.open = open
        self.value: Tensor | None = None
        self._scale = TaskScale()
        self._doors: list[Door] = []

    @property
    def weights(self) -> Float[Tensor, "tasks"] | None:
        """The weights that the next backward pass applies where it enters what is shared; None: 1 for every task."""
        return self._scale.weights

    @weights.setter
    def weights(self, weights: Float[Tensor, "tasks"] | None) -> None:
        self._refuse_closed()
        self._scale.weights = weights

    @property
    def only(self) -> int | None:
        """The only task whose row has a gradient in the next backward pass; None: any may have one."""
        return self._scale.only

    @only.setter
    def only(self, task: int | None) -> None:
        self._refuse_closed()
        self._scale.only = task

    def gramian(self, gradient: Float[Tensor, "tasks batch out"], /) -> Float[Tensor, "tasks tasks"]:
        """Sums the closed forms of all doors, after one backward pass from the representation down to them."""
        self._refuse_closed()
        if self.value is None:
            raise RuntimeError("the architecture has not set the representation that this cut belongs to")
        total = closed_form.precise(gradient).new_zeros(self.tasks, self.tasks)
        outputs = [output for door in self._doors for output in door.outputs]
        if not outputs:
            return total
        gradients = torch.autograd.grad(self.value, outputs, gradient, retain_graph=True, materialize_grads=True)
        first = 0
        with torch.autocast(gradient.device.type, enabled=False):
            for door in self._doors:
                last = first + len(door.outputs)
                total += door.gramian(*gradients[first:last])
                first = last
        return total

    def entries(self) -> Mapping[Node, int]:
        """Per node of a door, which of its inputs is the shared tensor."""
        self._refuse_closed()
        nodes = ((output.grad_fn, door.shared_input) for door in self._doors for output in door.outputs)
        return {node: number for node, number in nodes if node is not None}

    def _refuse_closed(self) -> None:
        """Raises if nothing was kept: weights would be ignored without a word."""
        if not self.open:
            raise RuntimeError("this cut is closed: the forward pass ran without gradients or was compiled")

    def read(
        self,
        x: Float[Tensor, "batch width"],
        weight: Float[Tensor, "columns width"],
        bias: Float[Tensor, "columns"],
        gate: Float[Tensor, "gates width"] | None,
        owner: Int[Tensor, "columns"] | None,
        gate_owner: Int[Tensor, "gates"] | None,
    ) -> tuple[Float[Tensor, "batch columns"], Float[Tensor, "batch gates"]]:
        """The experts' first layer and the gates, reading one shared input.

        Args:
            x: The input.
            weight: One row per unit of an expert's first layer.
            bias: Of the same units.
            gate: One row per gate and expert; None: nothing is gated.
            owner: The only task that uses a unit, else `SHARED`; None: all are shared.
            gate_owner: The same of the gates.
        """
        if not self.open:
            return torch.addmm(bias, x, weight.t()), linear(x, gate)
        z, a = Read.apply(x, weight, bias, gate, owner, gate_owner, self._scale)  # type: ignore[no-untyped-call]
        if x.requires_grad:
            parts = [(z, weight, owner), (a, gate, gate_owner)]
            private = [
                (out, matrix.detach(), who) for out, matrix, who in parts if matrix is not None and who is not None
            ]
            if private:
                outputs, matrices, owners = zip(*private, strict=True)
                form = partial(closed_form.read, matrices=matrices, owners=owners, tasks=self.tasks)
                self._doors.append(Door(outputs, form, 0))
        return z, a

    def read_experts(
        self,
        x: Float[Tensor, "batch width"],
        experts: Experts,
        gate: Float[Tensor, "gates width"] | None,
        owner: Int[Tensor, "columns"] | None,
        gate_owner: Int[Tensor, "gates"] | None,
    ) -> tuple[Float[Tensor, "experts batch out"], Float[Tensor, "batch gates"]]:
        """Experts and gates that read one shared input: `read`, and what the experts make of it.

        Args:
            x: The input.
            experts: The bank.
            gate: One row per gate and expert; None: nothing is gated.
            owner: The only task that uses a unit of the experts' first layer, else `SHARED`; None: all are shared.
            gate_owner: The same of the gates.
        """
        first = experts.first
        if not (self.open and experts.in_groups(x)):
            z, a = self.read(x, first.weight.flatten(0, 1), first.bias.flatten(), gate, owner, gate_owner)
            return experts.finish(z.view(-1, *first.bias.shape).transpose(0, 1)), a
        values, a = experts.by_group(x, None, gate, owner, gate_owner, self._scale)
        if x.requires_grad:
            parts = [(values, first.weight.flatten(0, 1), owner), (a, gate, gate_owner)]
            private = [
                (out, matrix.detach(), who) for out, matrix, who in parts if matrix is not None and who is not None
            ]
            if private:
                outputs, matrices, owners = zip(*private, strict=True)
                form = partial(closed_form.read, matrices=matrices, owners=owners, tasks=self.tasks)
                node = values.grad_fn if owner is not None else None
                self._doors.append(Door(outputs, partial(_at_first_layer, node=node, form=form), 0))
        return values, a

    def mix(
        self,
        gates: Float[Tensor, "batch rows experts"],
        values: Float[Tensor, "experts batch width"],
        owner: Int[Tensor, "rows experts"] | None,
    ) -> Float[Tensor, "rows batch width"]:
        """Rows over experts: ``r[s, b] = sum_e gates[b, s, e] values[e, b]``.

        Args:
            gates: Weights of the experts.
            values: Expert outputs.
            owner: The row's task where it alone reads a shared expert through this row, else `SHARED`; None: no door.
        """
        if owner is None or not (self.open and values.requires_grad):
            return torch.bmm(gates, values.transpose(0, 1)).transpose(0, 1)
        rows: Tensor = Mix.apply(gates, values, owner, self._scale)  # type: ignore[no-untyped-call]
        form = partial(closed_form.mix, gates=gates.detach(), owner=owner, tasks=self.tasks)
        self._doors.append(Door((rows,), form, 1))
        return rows

    def stitch(
        self,
        matrix: Float[Tensor, "rows streams units"],
        values: Float[Tensor, "streams batch width"],
        owner: Int[Tensor, "rows"] | None,
    ) -> Float[Tensor, "rows batch width"]:
        """Rows over streams, unit by unit: ``r[k, b, h] = sum_s matrix[k, s, h] values[s, b, h]``.

        Args:
            matrix: The factors; of width 1 where all units of a stream have the same.
            values: The streams, all of them shared.
            owner: The only task that uses a row, else `SHARED`; None: no door.
        """
        if not (self.open and values.requires_grad):
            return combine(matrix, values)
        rows: Tensor = Stitch.apply(matrix, values, owner, self._scale)  # type: ignore[no-untyped-call]
        if owner is None:
            return rows
        form = partial(closed_form.stitch, matrix=matrix.detach(), owner=owner, tasks=self.tasks)
        self._doors.append(Door((rows,), form, 1))
        return rows

    def select(
        self,
        values: Float[Tensor, "sources batch width"],
        index: Int[Tensor, "readers"],
        owner: Int[Tensor, "readers"] | None,
    ) -> Float[Tensor, "readers batch width"]:
        """Several readers of the same rows: ``r[k] = values[index[k]]``.

        Args:
            values: The rows to read.
            index: Which of them each reader reads.
            owner: The reader's task where it reads a shared row, else `SHARED`; None: no door.
        """
        if owner is None or not (self.open and values.requires_grad):
            return take(values, index)
        rows: Tensor = Select.apply(values, index, owner, self._scale)  # type: ignore[no-untyped-call]
        form = partial(closed_form.select, index=index, owner=owner, tasks=self.tasks)
        self._doors.append(Door((rows,), form, 0))
        return rows


def _at_first_layer(
    *gradients: Tensor, node: Node | None, form: Callable[..., Float[Tensor, "tasks tasks"]]
) -> Float[Tensor, "tasks tasks"]:
    """A closed form at the experts' first layer, from the gradient at their outputs, if that is the first one."""
    return form(*gradients) if node is None else form(first_gradient(node, gradients[0]), *gradients[1:])
