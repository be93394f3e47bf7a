"""What the module lists are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polytask.sharing.experts import Experts
from polytask.stack import Finish, StackBatchNorm

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}

Output = tuple[Tensor, Tensor | None]
"""What every twin returns: ``[T, B, H]`` and the penalty, if there is one."""


def no_twin(what: str) -> TypeError:
    """What to raise for options that no twin is written for."""
    return TypeError(f"{what} has no twin of module lists: write it in benchmarks/twins")


def own(tensor: Tensor) -> nn.Parameter:
    """A parameter of the twin's own with the values of ours."""
    return nn.Parameter(tensor.detach().clone())


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = own(weight)
    if bias is not None:
        layer.bias = own(bias)
    return layer


def layers(bank: Experts, number: int) -> list[nn.Sequential]:
    """The layers of one expert: linear, normalised, activated."""
    found = []
    for stack, finish in zip([bank.first, *bank.upper], bank.finishes, strict=True):
        assert isinstance(finish, Finish)
        parts: list[nn.Module] = [linear(stack.weight[number], stack.bias[number])]
        if not isinstance(finish.norm, nn.Identity | StackBatchNorm) or not isinstance(finish.dropout, nn.Identity):
            raise no_twin("an expert with layer normalisation or dropout")
        if isinstance(finish.norm, StackBatchNorm):
            norm = nn.BatchNorm1d(stack.bias.shape[1], dtype=stack.bias.dtype)
            norm.weight, norm.bias = own(finish.norm.weight[number, 0]), own(finish.norm.bias[number, 0])
            parts.append(norm)
        found.append(nn.Sequential(*parts, ACTIVATIONS[finish.activation]()))
    return found


def perceptrons(bank: Experts, numbers: Sequence[int] | None = None) -> nn.ModuleList:
    """One perceptron per expert, all of them by default."""
    chosen = range(bank.experts) if numbers is None else numbers
    return nn.ModuleList(nn.Sequential(*layers(bank, number)) for number in chosen)


def mixture(weights: Tensor, stacked: Tensor) -> Tensor:
    """A weighted sum over experts: ``[B, E]`` and ``[E, B, H]`` to ``[B, H]``."""
    return torch.einsum("be,ebh->bh", weights, stacked)
