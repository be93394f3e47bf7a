"""Copies of one module with their parameters stacked on a leading axis."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Program:
    """A module as a graph of plain operations that runs for all replicas at once, one graph per number of rows.

    The graph is the one that `torch.export` gives: doors of a sharing architecture are closed there, and what is left
    can be vectorised and differentiated. Parameters are inputs of the graph, so a call changes nothing and threads may
    share a program. Tracing patches torch for the whole process and is therefore done here, before any thread runs.

    Args:
        module: A map from one tensor to one tensor, without state that a forward pass changes.
        row: What it takes, one row; only shape and type count.
        rows: The numbers of rows that it will be given.

    Example:
        >>> linear = nn.Linear(3, 2)
        >>> stacked = {name: torch.stack([value] * 5) for name, value in linear.named_parameters()}
        >>> Program(linear, torch.zeros(3), rows=[4])(stacked, torch.zeros(5, 4, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(self, module: nn.Module, row: Float[Tensor, "width"], *, rows: Collection[int]) -> None:
        self._graphs = {count: _Graph(module, row.new_zeros(count, *row.shape)) for count in rows}

    def __call__(
        self, parameters: Mapping[str, Float[Tensor, "replicas *_"]], x: Float[Tensor, "replicas batch width"]
    ) -> Float[Tensor, "replicas *out"]:
        """Runs every replica on its own rows.

        Raises:
            ValueError: For a number of rows that was not named.
        """
        if x.shape[1] not in self._graphs:
            raise ValueError(f"{x.shape[1]} rows; the program was traced for {sorted(self._graphs)}")
        graph = self._graphs[x.shape[1]]
        own = tuple(parameters[name] for name in graph.parameters)
        result: Tensor = torch.vmap(graph, randomness="different")(own, x)
        return result


class _Graph:
    """A function of parameters and input; buffers and constants are held."""

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        # traced with gradients on: without them activations would work in place
        with torch.enable_grad():
            exported = torch.export.export(module, (example,))
        signature, held = exported.graph_signature, exported.state_dict | exported.constants
        self.parameters, self._function = tuple(signature.parameters), exported.graph_module
        self._held = tuple(held[name] for name in (*signature.buffers, *signature.lifted_tensor_constants))

    def __call__(self, parameters: tuple[Tensor, ...], x: Tensor) -> Tensor:
        result: Tensor = self._function(*parameters, *self._held, x)[0]
        return result


class Replicas:
    """R copies of one module, computed together: parameter ``p`` of all of them is one tensor ``[R, *p.shape]``.

    Optimizers that work entry by entry (SGD, Adam) treat every replica as if it were alone; what mixes entries, such as
    clipping by the norm of all gradients, does not.

    Args:
        modules: The copies, equal but for the values of their parameters. They are not changed.
        program: What runs them.

    Raises:
        ValueError: The copies differ in more than values of parameters.

    Example:
        >>> linears = [nn.Linear(3, 2) for _ in range(5)]
        >>> replicas = Replicas(linears, Program(linears[0], torch.zeros(3), rows=[4]))
        >>> replicas(torch.zeros(5, 4, 3)).shape
        torch.Size([5, 4, 2])
        >>> replicas.state(2)["weight"].shape
        torch.Size([2, 3])
    """

    def __init__(self, modules: Sequence[nn.Module], program: Program) -> None:
        _check_alike(modules)
        self._stacked = {
            name: nn.Parameter(torch.stack([module.get_parameter(name).detach() for module in modules]))
            for name, _ in modules[0].named_parameters()
        }
        self._program = program
        self._count = len(modules)

    def __len__(self) -> int:
        return self._count

    def __call__(self, x: Float[Tensor, "replicas batch width"]) -> Float[Tensor, "replicas *out"]:
        """Every replica's output on its own rows."""
        return self._program(self._stacked, x)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The stacked parameters, for an optimizer."""
        return iter(self._stacked.values())

    def state(self, number: int) -> dict[str, Tensor]:
        """The parameters of one replica, as its module names them."""
        return {name: value[number].detach().clone() for name, value in self._stacked.items()}


def _check_alike(modules: Sequence[nn.Module]) -> None:
    if not modules:
        raise ValueError("no module given")
    first = modules[0]
    shapes, buffers = {n: p.shape for n, p in first.named_parameters()}, dict(first.named_buffers())
    for number, module in enumerate(modules[1:], 1):
        if {n: p.shape for n, p in module.named_parameters()} != shapes:
            raise ValueError(f"replica {number} has other parameters than replica 0")
        own = dict(module.named_buffers())
        if own.keys() != buffers.keys() or any(not torch.equal(own[name], buffers[name]) for name in own):
            raise ValueError(f"replica {number} has other buffers than replica 0; only parameters can differ")
