"""Sluice networks (Ruder et al., AAAI 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch

from polytask.errors import Problem, raise_errors
from polytask.options import in_range, one_of
from polytask.sharing.experts import Experts
from polytask.sharing.representation import Sharing
from polytask.sharing.stitch import LayerMixing, Stitched, StitchUnit, stitch_start
from polytask.stack import Activation, Init, Norm

Start = Literal["balanced", "imbalanced"]

LAST = 0.9
"""What an imbalanced mixing starts to take of the last layer."""


def sluice(
    tasks: int,
    in_features: int,
    *,
    widths: Sequence[int] = (64, 64),
    subspaces: int = 2,
    start: Start = "balanced",
    own: float = 0.9,
    mixing: Start = "imbalanced",
    penalty: float = 0.1,
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One network per task, whose layers' subspaces and whose depths are all shared to a learned degree.

    The layer ``l`` of task ``t`` is split into G subspaces. The T G subspaces ``v_l`` of all tasks are combined,
    ``h_l = A_l v_l`` with ``A_l [T G, T G]``, and read by the next layers. Every task reads all of its layers,
    ``r_t = sum_l beta[t, l] h_l[t]``. The penalty ``sum over layers, tasks and pairs g < k of ||W_g W_k'||_F^2``, with
    ``W_g`` the rows of the layer's matrix that make subspace ``g``, keeps subspaces apart: what their units read is to
    be orthogonal.

    Paper: Ruder et al., "Latent Multi-task Architecture Learning", AAAI 2019, https://arxiv.org/abs/1705.08142
    (Its layers are LSTMs; these are dense ones. The authors' code has an imbalanced start for two subspaces that fits
    two tasks only; here every subspace starts with ``own`` of itself and equal parts of the rest from the same subspace
    of the other tasks, which for one subspace is theirs. That code penalises ``W_g' W_k`` of blocks of rows, a matrix
    of inputs by inputs, which pairs the units of two subspaces by their number; here every unit of one subspace is to
    be orthogonal to every unit of the other.)

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        widths: Layer widths of every network, all equal to H, since layers are added up.
        subspaces: Into how many parts every layer is split, G.
        start: Of the factors: ``balanced``, ``1 / (T G)`` each, or ``imbalanced``, mostly the own subspace.
        own: What an imbalanced subspace starts to take of itself.
        mixing: Start of the layers' weights: ``imbalanced``, 0.9 for the last layer and 0.1 for the others together,
            or ``balanced``.
        penalty: Factor of the penalty.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range, or the widths do not fit.

    Example:
        >>> sluice(3, 20, widths=(8, 8), subspaces=2)(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 8])
    """
    problems = in_range(own, least=0, most=1, where="own") + in_range(penalty, least=0, where="penalty")
    problems += one_of(start, get_args(Start), where="start") + one_of(mixing, get_args(Start), where="mixing")
    problems += in_range(subspaces, least=1, where="subspaces") or _widths(widths, subspaces)
    raise_errors(problems)
    networks = Experts(tasks, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    count = tasks * subspaces
    even = torch.full((count, count), 1.0 / count)
    factors = even if start == "balanced" else stitch_start(tasks, own, subspaces=subspaces)
    stitches = [StitchUnit(factors, subspaces=subspaces) for _ in widths]
    layers = LayerMixing(_mixing_start(mixing, tasks, len(widths)))
    return Stitched(networks, stitches, mixing=layers, penalty=penalty)


def _widths(widths: Sequence[int], subspaces: int) -> list[Problem]:
    """Layers that are added up have equal widths, of which every subspace takes its part."""
    if len(set(widths)) > 1:
        return [Problem("widths", f"{tuple(widths)} given", "give all layers the same width: sluice adds layers up")]
    if widths and widths[0] % subspaces:
        what = f"{widths[0]} units do not split into {subspaces} subspaces"
        return [Problem("widths", what, f"choose a multiple of {subspaces}")]
    return []


def _mixing_start(mixing: Start, tasks: int, layers: int) -> torch.Tensor:
    if mixing == "balanced" or layers == 1:
        return torch.full((tasks, layers), 1.0 / layers)
    weights = torch.full((tasks, layers), (1.0 - LAST) / (layers - 1))
    weights[:, -1] = LAST
    return weights
