"""What passes down a chain: the state of a task is made of the parent's state and of its own tower."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.chains.chain import Chain


class Transfer(nn.Module):
    """``z_t = edge_t(z_parent, h_t)`` from the roots down, where ``z_t = h_t``; all tasks of a depth at once.

    Args:
        chain: The tasks.
        edge: Makes a map ``([C, B, W], [C, B, W]) -> [C, B, W]`` of parents' states and own towers for C tasks, whose
            parameters have the tasks as their leading axis.

    Shape:
        ``[T, B, W] -> [T, B, W]`` over all tasks of the model; those outside the chain stay as they are.

    Example:
        >>> from polytask.chains import chain_of
        >>> class Sum(nn.Module):
        ...     def forward(self, parent, own):
        ...         return parent + own
        >>> chain = chain_of(["click", "cart", "buy", "age"], {"cart": "click", "buy": "cart"})
        >>> Transfer(chain, lambda tasks: Sum())(torch.ones(4, 1, 1)).flatten().tolist()
        [1.0, 2.0, 3.0, 1.0]
    """

    def __init__(self, chain: Chain, edge: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edge(len(children)) for children, _ in chain.levels)
        for depth, (children, parents) in enumerate(chain.levels):
            for name, members in (("children", children), ("parents", parents)):
                index = torch.tensor([chain.tasks[member] for member in members])
                self.register_buffer(f"{name}{depth}", index, persistent=False)

    def forward(self, towers: Float[Tensor, "tasks batch tower"]) -> Float[Tensor, "tasks batch tower"]:
        """The states of all tasks."""
        states = towers
        for depth, edge in enumerate(self.edges):
            children, parents = self.get_buffer(f"children{depth}"), self.get_buffer(f"parents{depth}")
            new = edge(states.index_select(0, parents), states.index_select(0, children))
            states = states.index_copy(0, children, new.to(states.dtype))
        return states

    def owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """All parameters, each entry with the task that reads."""
        return [
            (parameter, self.get_buffer(f"children{depth}").cpu())
            for depth, edge in enumerate(self.edges)
            for parameter in edge.parameters()
        ]
