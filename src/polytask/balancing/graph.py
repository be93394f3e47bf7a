"""Which parameters a part of the graph leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.autograd.graph import Node

from polytask.errors import Problem, UserError

VIEWS = frozenset(  # operations that a layer may apply to its parameters before it uses them
    f"{name}Backward"
    for name in (
        "T",
        "Transpose",
        "Permute",
        "View",
        "UnsafeView",
        "ReshapeAlias",
        "Expand",
        "Unsqueeze",
        "Squeeze",
        "Alias",
    )
)


def leaves(outputs: Iterable[Tensor], *, above: Tensor | None = None) -> list[Tensor]:
    """The leaves that require a gradient and are reached from ``outputs`` without passing through ``above``.

    Args:
        outputs: Where to start.
        above: A tensor to stop at; what is only reached through it is left out.

    Example:
        >>> import torch
        >>> x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> middle = 2 * x
        >>> len(leaves([middle * y])), len(leaves([middle * y], above=middle))
        (2, 1)
    """
    wall = None if above is None else above.grad_fn
    stack: list[Node] = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen: set[Node] = set(stack)
    found: list[Tensor] = []
    while stack:
        node = stack.pop()
        if node is wall:
            continue
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.append(variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                stack.append(following)
    return found


def last_layer(top: Tensor, entries: Mapping[Node, int]) -> list[Tensor]:
    """The shared leaves with the fewest operations between them and ``top``.

    Args:
        top: Where to start.
        entries: Per node that reads something shared, which of its inputs that is. Only what lies below such an input
            counts; with none, all that lies below ``top`` does.

    Example:
        >>> import torch
        >>> first, last = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> [leaf is last for leaf in last_layer((first * 2).tanh() * last, {})]
        [True]
    """
    level = [] if top.grad_fn is None else [(top.grad_fn, not entries)]
    seen = set(level)
    while level:
        found = [leaf for node, below in level if below for leaf in own_leaves(node)]
        if found:
            return list({id(leaf): leaf for leaf in found}.values())
        level = [place for node, below in level for place in _next(node, below, entries) if place not in seen]
        level = list(dict.fromkeys(level))
        seen.update(level)
    return []


def own_leaves(node: Node) -> list[Tensor]:
    """The leaves that an operation reads as they are, or transposed, reshaped or expanded; of a leaf, itself.

    Raises:
        UserError: For what the compiler made: a single operation that reads the parameters of all its layers.
    """
    if node.name().startswith("CompiledFunction"):
        what = "what the compiler made of it does not tell its layers apart"
        remedy = 'name parameters as `shared`, or compare at = "representation" or "parameters"'
        raise UserError(Problem("the last layer of a compiled module", what, remedy))
    found = []
    for following in [(node, 0), *node.next_functions]:
        place = following[0]
        while place is not None and place.name().removesuffix("0") in VIEWS:
            place = place.next_functions[0][0]
        leaf = getattr(place, "variable", None)
        if leaf is not None:
            found.append(leaf)
    return found


def _next(node: Node, below: bool, entries: Mapping[Node, int]) -> list[tuple[Node, bool]]:
    """The nodes after one, each with whether it lies below a shared input."""
    entry = None if below else entries.get(node)
    return [
        (following, below or number == entry)
        for number, (following, _) in enumerate(node.next_functions)
        if following is not None
    ]


def accumulate(leaf: Tensor, grad: Tensor | None) -> None:
    """Adds to ``leaf.grad``, in the memory layout of the leaf, as autograd itself does.

    Fused optimizers walk through both by memory: with another layout they would move other entries than those meant.

    Example:
        >>> leaf = torch.zeros(2, 3, requires_grad=True)
        >>> accumulate(leaf, torch.ones(3, 2).T)
        >>> leaf.grad.stride()
        (3, 1)
    """
    if grad is None:
        return
    if leaf.grad is not None:
        grad = leaf.grad + grad
    if not grad.is_sparse and grad.stride() != leaf.stride():
        grad = torch.empty_like(leaf).copy_(grad)
    leaf.grad = grad
