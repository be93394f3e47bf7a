"""Cross-stitch networks (Misra et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from polytask.errors import Problem, raise_errors
from polytask.options import in_range, one_of
from polytask.sharing.experts import Experts
from polytask.sharing.representation import Sharing
from polytask.sharing.stitch import Stitched, StitchUnit, stitch_start
from polytask.stack import Activation, Init, Norm

Units = Literal["channel", "layer"]


def cross_stitch(
    tasks: int,
    in_features: int,
    *,
    widths: Sequence[int] = (128, 64),
    units: Units = "channel",
    own: float = 0.9,
    rate: float = 100.0,
    stitch_last: bool = True,
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One network per task, and after every layer each task reads a learned combination of all networks.

    ``h_{t,l} = f_{t,l}(x_{t,l-1})``, ``x_{t,l}[c] = sum_s alpha_l[t, s, c] h_{s,l}[c]`` for every unit ``c``, with
    ``x_{t,0} = x`` and ``r_t = x_{t,L}``. The factors of a row start with sum 1 and are not constrained later.

    The paper trains the networks alone first: train `single_task` with the same widths, then warm-start from its
    bundle (``train.warm_start``); all weights but the factors are taken over. Its learning rates for the factors, 100
    to 1000 times that of the weights, are for SGD. Adam moves every factor by about its learning rate in a step,
    whatever the size of the gradient: with Adam choose ``rate`` such that ``rate * learning_rate`` is a step that the
    factors, which are of size 1, can bear.

    Paper: Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR 2016, https://arxiv.org/abs/1604.03539
    (LibMTL has one factor per layer, starts all of them at 1, with the learning rate of all else, and stitches not
    after the last layer; this one follows the paper.)

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        widths: Layer widths of every network; the last is H.
        units: One factor per ``channel`` (unit of a layer) as in the paper, or one per ``layer``.
        own: What a task starts to take of its own network; the others have equal parts of the rest.
        rate: Learning rate of the factors, as a multiple of that of all else.
        stitch_last: Whether the towers read combinations as well; else the last layers are the tasks' own.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range, or nothing is stitched.

    Example:
        >>> import torch
        >>> cross_stitch(3, 20, widths=(16, 8))(torch.zeros(5, 20)).value.shape
        torch.Size([3, 5, 8])
    """
    problems = in_range(own, least=0, most=1, where="own") + in_range(rate, above=0, where="rate")
    problems += one_of(units, get_args(Units), where="units")
    stitched = tuple(widths) if stitch_last else tuple(widths[:-1])
    if widths and not stitched:
        what = f"is {stitch_last!r} with the one layer of widths {tuple(widths)}, which stitches nothing"
        problems.append(Problem("stitch_last", what, "add a layer, or use single_task"))
    raise_errors(problems)
    networks = Experts(tasks, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    start = stitch_start(tasks, own)
    stitches = [StitchUnit(start, units=width if units == "channel" else 1) for width in stitched]
    return Stitched(networks, stitches, rate=rate)
