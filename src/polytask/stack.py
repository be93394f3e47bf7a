"""Stacked layers: many small networks of equal shape as one tensor operation, for experts and for towers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polytask.errors import Problem, UserError, suggest
from polytask.options import one_of

Activation = Literal["relu", "silu", "gelu"]
Norm = Literal["none", "layer", "batch"]
Init = Literal["he", "xavier", "lecun", "torch"]


def bound_of(init: Init, in_features: int, out_features: int) -> float:
    """Half the width of the uniform start of one entry's matrix.

    ``he``: ``sqrt(6 / in)``, made for ReLU; ``xavier``: ``sqrt(6 / (in + out))``; ``lecun``: ``sqrt(3 / in)``;
    ``torch``: ``sqrt(1 / in)``, what `torch.nn.Linear` does.

    Example:
        >>> bound_of("he", 6, 2), bound_of("xavier", 4, 2)
        (1.0, 1.0)
    """
    inside = max(in_features, 1)
    variance = {"he": 6.0 / inside, "xavier": 6.0 / (inside + out_features), "lecun": 3.0 / inside}
    return math.sqrt(variance.get(init, 1.0 / inside))


class Stack(nn.Module):
    """A linear layer per stack entry: ``y[s] = x[s] weight[s]' + bias[s]``.

    Every entry starts differently, uniform in ``±sqrt(6 / in_features)`` (He): the fan-in is that of one entry.

    Args:
        entries: Length of the stack, S.
        in_features: Width of the input.
        out_features: Width of the output.
        bound: Of the uniform start, where it is not to be He's.

    Shape:
        ``[S, B, in] -> [S, B, out]``; parameters ``weight [S, out, in]`` and ``bias [S, out]``.

    Example:
        >>> Stack(3, 8, 4)(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 4])
    """

    def __init__(self, entries: int, in_features: int, out_features: int, *, bound: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(entries, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(entries, out_features))
        bound = math.sqrt(6.0 / max(in_features, 1)) if bound is None else bound
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Float[Tensor, "stack batch inside"]) -> Float[Tensor, "stack batch outside"]:
        """Applies every entry to its own rows."""
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


class StackNorm(nn.Module):
    """Layer normalisation with scale and shift of each stack entry's own.

    Shape:
        ``[S, B, width] -> [S, B, width]``
    """

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(entries, 1, width))
        self.bias = nn.Parameter(torch.zeros(entries, 1, width))

    def forward(self, x: Float[Tensor, "stack batch width"]) -> Float[Tensor, "stack batch width"]:
        """Normalises the last axis."""
        return torch.addcmul(self.bias, functional.layer_norm(x, x.shape[-1:]), self.weight)


class StackBatchNorm(StackNorm):
    """Batch normalisation of each stack entry and unit, with scale and shift of each entry's own.

    In training rows are normalised by the mean and the (biased) variance of the batch, in evaluation by running ones:
    ``running <- running + momentum (batch - running)``, of the unbiased variance. Batches of fewer than two rows have
    no variance: they are normalised by the running statistics, and leave them alone.

    What it costs: in training every row depends on all others of its batch. Gradients, and so their Gramian, are no
    longer sums over rows; a batch split into micro-batches or over machines gives another gradient than the whole one;
    and the loss that is trained is not quite the one that is served.

    Args:
        entries: Length of the stack.
        width: Width of the layer.
        momentum: Share of a batch in the running statistics.
        eps: Added to the variance.

    Shape:
        ``[S, B, width] -> [S, B, width]``; buffers ``mean`` and ``variance [S, 1, width]``.
    """

    mean: Float[Tensor, "stack 1 width"]
    variance: Float[Tensor, "stack 1 width"]

    def __init__(self, entries: int, width: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(entries, width)
        self.momentum, self.eps = momentum, eps
        self.register_buffer("mean", torch.zeros(entries, 1, width))
        self.register_buffer("variance", torch.ones(entries, 1, width))

    def forward(self, x: Float[Tensor, "stack batch width"]) -> Float[Tensor, "stack batch width"]:
        """Normalises over the batch axis."""
        mean, variance = self.mean, self.variance
        if self.training and x.shape[1] > 1:
            variance, mean = torch.var_mean(x.to(self.mean.dtype), 1, correction=0, keepdim=True)
            with torch.no_grad():
                self.mean.lerp_(mean, self.momentum)
                self.variance.lerp_(variance * (x.shape[1] / (x.shape[1] - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias - mean * scale, x, scale)


class Finish(nn.Module):
    """What follows a linear layer: normalisation, activation, dropout.

    Args:
        entries: Length of the stack.
        width: Width of the layer.
        activation: ``relu``, ``silu`` or ``gelu``.
        norm: ``none``, ``layer`` or ``batch``; see `StackBatchNorm` for what batch statistics cost.
        dropout: Share of the units that are zeroed in training, each for itself.
    """

    def __init__(self, entries: int, width: int, *, activation: Activation, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        if norm != "none":
            self.norm = StackNorm(entries, width) if norm == "layer" else StackBatchNorm(entries, width)
        self.activation = activation
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.only_relu = activation == "relu" and norm == "none" and dropout == 0

    def forward(self, x: Float[Tensor, "stack batch width"]) -> Float[Tensor, "stack batch width"]:
        """Applies all three; without gradients in place, since scoring is bound by memory traffic."""
        x = self.norm(x)
        if self.activation == "silu":
            return self.dropout(functional.silu(x, inplace=not torch.is_grad_enabled()))
        if self.activation == "gelu":
            return self.dropout(functional.gelu(x))
        return self.dropout(functional.relu(x, inplace=not torch.is_grad_enabled()))


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that decay and penalties are for: no biases and no scales of normalisations, stacked or not."""
    return [
        parameter
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 1 and name != "bias" and not isinstance(module, nn.LayerNorm | StackNorm)
    ]


def check_mlp(widths: Sequence[int], *, activation: str, norm: str, dropout: float, init: str = "he") -> None:
    """Raises `UserError` with everything that is wrong with the numbers of a perceptron."""
    problems = []
    if not widths or any(width < 1 for width in widths):
        problems.append(
            Problem("widths", f"{tuple(widths)} given", "give one positive width per layer, for example (128, 64)")
        )
    if activation not in get_args(Activation):
        problems.append(Problem("activation", f"'{activation}' is unknown", suggest(activation, get_args(Activation))))
    if norm not in get_args(Norm):
        problems.append(Problem("norm", f"'{norm}' is unknown", suggest(norm, get_args(Norm))))
    problems += one_of(init, get_args(Init), where="init")
    if not 0.0 <= dropout < 1.0:
        problems.append(Problem("dropout", f"{dropout} given", "choose a share from 0 up to, not including, 1"))
    if problems:
        raise UserError(problems)
