"""A bank of experts as stacked parameters: E small networks of equal shape, computed together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polytask.errors import Problem, UserError
from polytask.sharing.bank import Bank
from polytask.sharing.functions import TaskScale, take
from polytask.stack import Activation, Finish, Init, Norm, Stack, bound_of, check_mlp


class Experts(nn.Module):
    """E experts, each a multi-layer perceptron of the same widths: ``f_e(x)``.

    The first layer is left to the caller (`first` holds its parameters): where all experts read the same input it is
    one wide matrix product, and it is a door of the cut.

    Args:
        experts: Number of experts, E.
        in_features: Width of the input, D.
        widths: Width of every layer; the last one is the width of the representation, H.
        activation: After every layer.
        norm: Before every activation.
        dropout: After every activation.
        init: How the matrices start; biases start at 0.

    Shape:
        First layer's output ``[E, B, widths[0]] -> [E, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> import torch
        >>> Experts(8, 20, (16, 4)).finish(torch.zeros(8, 5, 16)).shape
        torch.Size([8, 5, 4])
    """

    def __init__(
        self,
        experts: int,
        in_features: int,
        widths: Sequence[int],
        *,
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: float = 0.0,
        init: Init = "he",
    ) -> None:
        super().__init__()
        check_mlp(widths, activation=activation, norm=norm, dropout=dropout, init=init)
        if experts < 1:
            raise UserError(Problem("experts", f"{experts} given", "at least one expert is needed"))
        self.experts, self.in_features, self.out_features = experts, in_features, widths[-1]
        self.first = Stack(experts, in_features, widths[0], bound=bound_of(init, in_features, widths[0]))
        self.upper = nn.ModuleList(
            Stack(experts, a, b, bound=bound_of(init, a, b)) for a, b in itertools.pairwise(widths)
        )
        self.finishes = nn.ModuleList(
            Finish(experts, width, activation=activation, norm=norm, dropout=dropout) for width in widths
        )

        self.only_relu = all(finish.only_relu for finish in self.finishes)

    def in_groups(self, x: Tensor) -> bool:
        """Whether `by_group` can compute this pass: ReLUs and nothing else, in the type of ``x``, with gradients."""
        plain = torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type)
        return self.only_relu and torch.is_grad_enabled() and not plain

    def by_group(
        self,
        x: Float[Tensor, "*streams batch width"],
        index: Int[Tensor, "experts"] | None,
        gate: Float[Tensor, "gates width"] | None,
        owner: Int[Tensor, "columns"] | None,
        gate_owner: Int[Tensor, "gates"] | None,
        scale: TaskScale | None,
    ) -> tuple[Float[Tensor, "experts batch out"], Float[Tensor, "batch gates"]]:
        """What `Bank` computes with these experts.

        The graph sees one operation. For the last layer to stay the nearest one, as those who look for the last shared
        layer expect, the parameters of every layer stand behind as many views as there are layers above it, and the
        input behind one more.
        """
        stacks = [self.first, *self.upper]
        for _ in stacks:
            x = x.view_as(x)
        parts: list[Tensor] = []
        for above, stack in zip(range(len(stacks) - 1, -1, -1), stacks, strict=True):
            for part in (stack.weight, stack.bias):
                for _ in range(above):
                    part = part.view_as(part)
                parts.append(part)
        values, a = Bank.apply(x, index, gate, owner, gate_owner, scale, *parts)  # type: ignore[no-untyped-call]
        return values, a

    def forward(
        self, x: Float[Tensor, "streams batch width"], index: Int[Tensor, "experts"] | None = None
    ) -> Float[Tensor, "experts batch out"]:
        """Every expert reads the stream that ``index`` names, or the one of its own number."""
        if self.in_groups(x):
            return self.by_group(x, index, None, None, None, None)[0]
        return self.finish(self.first(x if index is None else take(x, index)))

    def finish(self, z: Float[Tensor, "experts batch first"]) -> Float[Tensor, "experts batch out"]:
        """From the first layer's linear output to the experts' outputs."""
        z = self.finishes[0](z)
        for layer, finish in zip(self.upper, self.finishes[1:], strict=True):
            z = finish(layer(z))
        return z
