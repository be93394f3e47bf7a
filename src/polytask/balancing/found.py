"""Where the losses of any model meet, found from its graph: no list of shared modules, no special layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from polytask.balancing.graph import accumulate, own_leaves
from polytask.balancing.rows import Collector, Rows, plus, precise
from polytask.errors import Problem, UserError

Place = tuple[Node, int]


@dataclass(slots=True)
class Reached:
    """What one loss reaches before it meets another one.

    Attributes:
        edges: Tensors that are shared, at the places where the loss enters what is shared.
        leaves: Its private leaves.
        gradients: Of the loss at ``edges``, directly: what flows on through another one of them does not count.
    """

    edges: list[Place] = field(default_factory=list)
    leaves: list[Tensor] = field(default_factory=list)
    gradients: dict[Place, Tensor] = field(default_factory=dict)


class FoundTasks:
    """The losses of one micro-batch, the cut below them, and gradients there.

    The cut is the set of first tensors, from the losses down, that two losses read, unless tensors are named.

    Args:
        losses: One scalar per task, or a vector; of one that `torch.stack` made each entry is followed by itself, so
            that no pass goes through the heads of all tasks.
        shared: Tensors to take as the cut; None: found.
    """

    def __init__(
        self, losses: Sequence[Tensor] | Float[Tensor, "tasks"], shared: Sequence[Tensor] | None = None
    ) -> None:
        self._roots, self.losses = roots_of(losses, named=shared is not None)
        if shared is None:
            below = common(self._roots)
        else:
            edges = [get_gradient_edge(tensor) for tensor in shared]
            below = {edge.node for edge in edges}
        self._below = below
        self.reached = [reach(root, below) for root in self._roots]

    def through_heads(self, present: Bool[Tensor, "tasks"], *, scale: float, fill: bool) -> None:
        """One pass per present task through its own head.

        Args:
            present: Which tasks are.
            scale: Of the losses.
            fill: Whether private leaves receive their gradients.
        """
        with self._stopping():
            for task in present.nonzero().flatten().tolist():
                one, root = self.reached[task], self._roots[task]
                if root is None:
                    continue
                inputs = [*(GradientEdge(*edge) for edge in one.edges), *(one.leaves if fill else [])]
                if not inputs:
                    continue
                start = torch.full((), scale, dtype=self.losses.dtype, device=self.losses.device)
                found = torch.autograd.grad(
                    [GradientEdge(*root)], inputs, [start], retain_graph=True, allow_unused=True
                )  # fmt: skip
                count = len(one.edges)
                one.gradients = {e: g for e, g in zip(one.edges, found[:count], strict=True) if g is not None}
                for leaf, grad in zip(one.leaves if fill else [], found[count:], strict=True):
                    accumulate(leaf, grad)

    def gramian(self) -> Float[Tensor, "tasks tasks"] | None:
        """Inner products of the tasks' gradients at the cut; None if nothing is shared."""
        total: Tensor | None = None
        for edge in dict.fromkeys(edge for one in self.reached for edge in one.gradients):
            held = [task for task, one in enumerate(self.reached) if edge in one.gradients]
            flat = precise(torch.stack([self.reached[task].gradients[edge].to_dense().flatten() for task in held]))
            block = torch.zeros(len(self.reached), len(self.reached), dtype=flat.dtype, device=flat.device)
            index = torch.tensor(held, device=flat.device)
            block[index.unsqueeze(1), index] = flat @ flat.T
            total = plus(total, block)
        return total

    def rows(self, present: Bool[Tensor, "tasks"], at: Sequence[Tensor] | None = None) -> Rows:
        """Every task's gradient at shared leaves: one pass per task through what is shared."""
        sources = self.shared_leaves() if at is None else list(at)
        found = Collector(len(sources), int(present.sum()))
        for task in present.nonzero().flatten().tolist():
            found.take(self._through_shared(self.reached[task].gradients, sources))
        return Rows(sources, [None] * len(sources), found.columns)

    def _through_shared(self, gradients: dict[Place, Tensor], sources: Sequence[Tensor]) -> list[Tensor | None]:
        direct = {id(leaf): grad for (node, _), grad in gradients.items() if (leaf := leaf_of(node)) is not None}
        edges = [edge for edge in gradients if leaf_of(edge[0]) is None]
        found: Sequence[Tensor | None] = [None] * len(sources)
        if edges and sources:
            found = torch.autograd.grad(
                [GradientEdge(*edge) for edge in edges], list(sources), [gradients[edge] for edge in edges],
                retain_graph=True, allow_unused=True,
            )  # fmt: skip
        return [plus(grad, direct.get(id(leaf))) for leaf, grad in zip(sources, found, strict=True)]

    def push(self, weights: Float[Tensor, "tasks"], *, retain_graph: bool = False) -> None:
        """One pass through what is shared, with every task's weight; fills the gradients of shared leaves."""
        total: dict[Place, Tensor] = {}
        for one, weight in zip(self.reached, weights.unbind(), strict=True):
            for edge, grad in one.gradients.items():
                scaled = weight.to(grad) * grad
                total[edge] = total[edge] + scaled if edge in total else scaled
        inner = []
        for edge, grad in total.items():
            leaf = leaf_of(edge[0])
            if leaf is None:
                inner.append(edge)
            else:
                accumulate(leaf, grad)
        if inner:
            torch.autograd.backward(
                [GradientEdge(*edge) for edge in inner], [total[edge] for edge in inner], retain_graph=retain_graph
            )

    def push_losses(self, weights: Float[Tensor, "tasks"]) -> None:
        """One ordinary pass of the weighted losses, heads included."""
        held = [task for task, root in enumerate(self._roots) if root is not None]
        starts = [weights[task].to(self.losses) for task in held]
        roots = [self._roots[task] for task in held]
        torch.autograd.backward([GradientEdge(*root) for root in roots if root is not None], starts)

    def shared_leaves(self) -> list[Tensor]:
        """All leaves below the cut."""
        found, seen = {}, set()
        stack = [edge[0] for one in self.reached for edge in one.edges]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            leaf = leaf_of(node)
            if leaf is not None:
                found[id(leaf)] = leaf
            stack.extend(following for following, _ in node.next_functions if following is not None)
        return list(found.values())

    def last_layer(self) -> list[Tensor]:
        """The shared leaves with the fewest operations between them and the cut."""
        level = list(dict.fromkeys(edge[0] for one in self.reached for edge in one.edges))
        seen = set(level)
        while level:
            found = [leaf for node in level for leaf in own_leaves(node)]
            if found:
                return list({id(leaf): leaf for leaf in found}.values())
            following = [n for node in level for n, _ in node.next_functions if n is not None and n not in seen]
            level = list(dict.fromkeys(following))
            seen.update(level)
        return []

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Gradients end where they enter the cut, also where a tensor of the cut lies below another one."""
        walls = list(dict.fromkeys(edge[0] for one in self.reached for edge in one.edges if leaf_of(edge[0]) is None))
        handles = [wall.register_prehook(_zeros) for wall in walls] if nested(walls) else []
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _zeros(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if grad is None else torch.zeros_like(grad) for grad in gradients)


def roots_of(
    losses: Sequence[Tensor] | Float[Tensor, "tasks"], *, named: bool
) -> tuple[list[Place | None], Float[Tensor, "tasks"]]:
    """Where each loss leaves the graph, None where it has none, and the detached losses as a vector.

    Args:
        losses: See `FoundTasks`.
        named: Whether the cut is given; else a vector must be a stack.
    """
    if isinstance(losses, Tensor):
        node = losses.grad_fn
        if node is not None and node.name() == "StackBackward0" and len(node.next_functions) == len(losses):
            found = [None if following is None else (following, number) for following, number in node.next_functions]
            return found, losses.detach()
        if not named:
            what = "is a vector that `torch.stack` did not make: where its tasks meet cannot be seen"
            raise UserError(Problem("losses", what, "give a list of losses, or `rows=`, or `shared=` tensors"))
        losses = losses.unbind()
    edges = [get_gradient_edge(loss) if loss.requires_grad else None for loss in losses]
    vector = torch.stack([loss.detach().reshape(()) for loss in losses])
    return [None if edge is None else (edge.node, edge.output_nr) for edge in edges], vector


def leaf_of(node: Node) -> Tensor | None:
    """The leaf that a node accumulates the gradient of; None for any other node."""
    leaf: Tensor | None = getattr(node, "variable", None)
    return leaf


def common(roots: Iterable[Place | None]) -> set[Node]:
    """The nodes that at least two roots lead to."""
    masks: dict[Node, int] = {}
    order = _parents_first([root[0] for root in roots if root is not None])
    for number, root in enumerate(roots):
        if root is not None:
            masks[root[0]] = masks.get(root[0], 0) | 1 << number
    for node in order:
        mask = masks.get(node, 0)
        for following, _ in node.next_functions:
            if following is not None:
                masks[following] = masks.get(following, 0) | mask
    return {node for node, mask in masks.items() if mask.bit_count() > 1}


def _parents_first(starts: Sequence[Node]) -> list[Node]:
    """All nodes that are reached, every one after those that lead to it."""
    done: list[Node] = []
    seen: set[Node] = set()
    stack = [(node, False) for node in starts]
    while stack:
        node, finished = stack.pop()
        if finished:
            done.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((n, False) for n, _ in node.next_functions if n is not None and n not in seen)
    done.reverse()
    return done


def reach(root: Place | None, below: set[Node]) -> Reached:
    """What a loss reaches before it enters ``below``."""
    found = Reached()
    if root is None:
        return found
    edges: dict[Place, None] = {}
    stack, seen = [root], {root[0]}
    while stack:
        place = stack.pop()
        node = place[0]
        if node in below:
            edges[place] = None
            continue
        leaf = leaf_of(node)
        if leaf is not None:
            found.leaves.append(leaf)
        for following in node.next_functions:
            after, number = following
            if after is not None and (after in below or after not in seen):
                seen.add(after)
                stack.append((after, number))
    found.edges = list(edges)
    return found


def nested(walls: Sequence[Node]) -> bool:
    """Whether one of the nodes leads to another."""
    wanted = set(walls)
    stack = [following for wall in walls for following, _ in wall.next_functions if following is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node in wanted:
            return True
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                stack.append(following)
    return False
