"""The floor: what a careful engineer writes by hand in plain torch, without any library.

One fused embedding table with offsets, experts as one ``baddbmm`` per layer, mixing by ``einsum``, tensors in memory
sliced per batch, dense Adam. ``FloorSparse`` is the same network with sparse gradients and ``SparseAdam`` for the table
and fused Adam for the rest.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from typing_extensions import override

from benchmarks.common import Arrays, Runner, Spec, load_arrays


class Stack(nn.Module):
    """``count`` linear layers side by side: ``[count, B, fan_in] -> [count, B, fan_out]``."""

    def __init__(self, count: int, fan_in: int, fan_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(count, fan_in, fan_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(count, 1, fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        return torch.baddbmm(self.bias, x, self.weight)


class Stacks(nn.Module):
    """Layers of :class:`Stack` with ReLU behind each; a linear one ends it where ``linear_out`` is given."""

    def __init__(self, count: int, widths: tuple[int, ...], *, linear_out: int = 0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Stack(count, a, b) for a, b in pairwise(widths))
        self.last = Stack(count, widths[-1], linear_out) if linear_out else None

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x if self.last is None else self.last(x)


class MMoE(nn.Module):
    """``[B, D] -> [T, B, H]`` through gates of its own for each task."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.count, self.tasks = spec.experts, spec.tasks
        self.experts = Stacks(spec.experts, (width, *spec.expert_widths))
        self.gates = nn.Linear(width, spec.tasks * spec.experts, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        experts = self.experts(x.expand(self.count, *x.shape))
        gates = self.gates(x).view(-1, self.tasks, self.count).softmax(-1)
        return torch.einsum("ebh,bte->tbh", experts, gates)


class PleLevel(nn.Module):
    """One level of PLE on ``[T + 1, B, D]``: a stream per task and a shared one, ``own`` experts each."""

    def __init__(self, spec: Spec, width: int, *, last: bool) -> None:
        super().__init__()
        self.tasks, self.own, self.last = spec.tasks, spec.ple_experts, last
        self.experts = Stacks((spec.tasks + 1) * self.own, (width, *spec.expert_widths))
        self.gates = nn.Parameter(torch.empty(spec.tasks, width, 2 * self.own).uniform_(-1, 1) / math.sqrt(width))
        self.shared_gate = None if last else nn.Linear(width, (spec.tasks + 1) * self.own, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        experts = self.experts(x.repeat_interleave(self.own, 0))
        own = experts.view(self.tasks + 1, self.own, *experts.shape[1:])
        shared = own[-1:].expand(self.tasks, *own.shape[1:])
        gates = torch.bmm(x[:-1], self.gates).softmax(-1)
        out = torch.einsum("tebh,tbe->tbh", torch.cat([own[:-1], shared], 1), gates)
        if self.shared_gate is None:
            return out
        mixed = torch.einsum("ebh,be->bh", experts, self.shared_gate(x[-1]).softmax(-1))
        return torch.cat([out, mixed[None]])


class Ple(nn.Module):
    """``[B, D] -> [T, B, H]`` through ``spec.levels`` levels."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.streams = spec.tasks + 1
        widths = (width, *[spec.expert_widths[-1]] * (spec.levels - 1))
        self.levels = nn.ModuleList(
            PleLevel(spec, w, last=number == spec.levels - 1) for number, w in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        streams = x.expand(self.streams, *x.shape)
        for level in self.levels:
            streams = level(streams)
        return streams


class Network(nn.Module):
    """Embeddings, the shared part and the towers: ``ids [B, C], numerics [B, N] -> logits [T, B]``."""

    def __init__(self, spec: Spec, *, sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(spec.table.vocabularies), spec.embedding, sparse=sparse)
        nn.init.normal_(self.table.weight, std=0.05)
        self.body = (MMoE if spec.architecture == "mmoe" else Ple)(spec, spec.input_width)
        self.towers = Stacks(spec.tasks, (spec.expert_widths[-1], *spec.towers), linear_out=1)

    def forward(self, ids: Tensor, numerics: Tensor) -> Tensor:
        """As the class says."""
        x = torch.cat([self.table(ids).flatten(1), numerics], 1)
        logits: Tensor = self.towers(self.body(x))
        return logits.squeeze(-1)


class Floor(Runner):
    """Dense gradients and ``torch.optim.Adam`` with its defaults."""

    sparse: ClassVar[bool] = False

    @override
    def load(self) -> None:
        self.ids, self.numerics, self.labels = self.tensors(load_arrays(self.spec.train_file, self.spec))

    def tensors(self, arrays: Arrays) -> tuple[Tensor, Tensor, Tensor]:
        """Ids with the offset of their column added, numerics, and labels ``[rows, T]``."""
        offsets = np.concatenate([[0], np.cumsum(self.spec.table.vocabularies)[:-1]])
        ids = np.empty((len(arrays.labels), len(arrays.ids)), np.int64)
        for column, (values, offset) in enumerate(zip(arrays.ids.values(), offsets, strict=True)):
            np.add(values, offset, out=ids[:, column])
        numerics = np.stack(list(arrays.numerics.values()), 1)
        return torch.from_numpy(ids), torch.from_numpy(numerics), torch.from_numpy(arrays.labels)

    @override
    def start(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.cursor = 0
        self.model = Network(self.spec, sparse=self.sparse)
        self.optimizers = self.make_optimizers()

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Dense Adam over everything."""
        return [torch.optim.Adam(self.model.parameters(), lr=self.spec.lr)]

    @override
    def train(self, rows: int) -> None:
        start, stop = self.next_rows(rows)
        self.model.train()
        for begin in range(start, stop, self.spec.batch):
            part = slice(begin, min(begin + self.spec.batch, stop))
            logits = self.model(self.ids[part], self.numerics[part])
            loss = self.spec.tasks * binary_cross_entropy_with_logits(logits, self.labels[part].T)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            torch.autograd.backward(loss)
            for optimizer in self.optimizers:
                optimizer.step()

    @override
    def read(self, rows: int) -> None:
        start, stop = self.next_rows(rows)
        for begin in range(start, stop, self.spec.batch):
            part = slice(begin, min(begin + self.spec.batch, stop))
            self.ids[part].contiguous(), self.numerics[part].contiguous(), self.labels[part].T.contiguous()

    @override
    def predict(self, rows: int) -> NDArray[np.floating[Any]]:
        if not hasattr(self, "heldout_tensors"):
            self.heldout_tensors = self.tensors(self.heldout)
        ids, numerics, _ = self.heldout_tensors
        self.model.eval()
        scores = []
        with torch.inference_mode():
            for begin in range(0, rows, self.spec.batch):
                part = slice(begin, min(begin + self.spec.batch, rows))
                scores.append(self.model(ids[part], numerics[part]).sigmoid())
        return torch.cat(scores, 1).T.numpy()


class FloorSparse(Floor):
    """Sparse gradients and ``SparseAdam`` for the table, fused Adam for the rest."""

    sparse: ClassVar[bool] = True

    @override
    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        rest = [p for name, p in self.model.named_parameters() if name != "table.weight"]
        sparse = torch.optim.SparseAdam([self.model.table.weight], lr=self.spec.lr)
        return [sparse, torch.optim.Adam(rest, lr=self.spec.lr, fused=True)]
