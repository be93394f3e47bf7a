"""Asymmetric sharing: some tasks read the bottoms of others, not the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from polytask.errors import Problem, UserError, suggest
from polytask.sharing.experts import Experts
from polytask.sharing.gated import Fusion, Gated, Level
from polytask.sharing.representation import Sharing
from polytask.sharing.wiring import Wiring
from polytask.stack import Activation, Init, Norm

Reads = Mapping[str, Sequence[str]]


def asymmetric(
    tasks: int,
    in_features: int,
    *,
    reads: Reads | None = None,
    names: Sequence[str] | None = None,
    fusion: Fusion = "concat",
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """Every task has a bottom and reads those of the tasks named for it: ``r_t = fuse(f_s(x) for s in reads_t)``.

    Reference: the asymmetric sharing of Tang et al., RecSys 2020, figure 1b, https://doi.org/10.1145/3383313.3412236

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        reads: Per task the tasks whose bottoms it reads, its own included or not: ``{buy = ["buy", "click"]}``. Tasks
            that are not listed read their own. Default: the first task reads its own, every other one both its own and
            the first one's.
        names: The tasks' names, which `polytask.model` fills in; default: ``"0"``, ``"1"``, ...
        fusion: ``concat`` (rows that read fewer bottoms are filled up with zeros), ``sum`` or ``mean``.
        widths: Layer widths of every bottom; the last is H, and with ``concat`` H times the most bottoms that are read.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a task is unknown, reads nothing, or a number or a name is out of range.

    Example:
        >>> sharing = asymmetric(2, 20, names=["click", "buy"], reads={"buy": ["click", "buy"]}, widths=(16, 8))
        >>> sharing(torch.zeros(5, 20)).value.shape
        torch.Size([2, 5, 16])
    """
    visible = _visible(tasks, reads, names or [str(task) for task in range(tasks)])
    read = visible.any(0)
    visible = visible[:, read]  # nobody reads the bottoms of some tasks
    count = visible.shape[1]
    bank = Experts(count, in_features, widths, activation=activation, norm=norm, dropout=dropout, init=init)
    return Gated([Level(bank, None, Wiring(visible, (0,) * count, ()), fusion)], range(tasks))


def _visible(tasks: int, reads: Reads | None, names: Sequence[str]) -> Bool[Tensor, "tasks bottoms"]:
    visible = torch.eye(tasks, dtype=torch.bool)
    if reads is None:
        visible[:, 0] = True
        return visible
    problems = []
    for task, sources in reads.items():
        problems += [
            Problem(f"reads.{task}", f"no task is named '{name}'", suggest(name, names))
            for name in (task, *sources)
            if name not in names
        ]
        if not sources:
            problems.append(Problem(f"reads.{task}", "lists no task", f"write ['{task}'] for its own bottom"))
    if problems:
        raise UserError(problems)
    for task, sources in reads.items():
        row = visible[names.index(task)]
        row[:] = False
        row[[names.index(name) for name in sources]] = True
    return visible
