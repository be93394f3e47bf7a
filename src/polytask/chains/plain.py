"""No method: every task learns from the rows where its parent happened."""

from __future__ import annotations

from typing import ClassVar, final

from polytask.chains.chain import Chain
from polytask.chains.method import ChainMethod


@final
class Plain(ChainMethod):
    """Each task for itself; see `plain`."""

    joint: ClassVar[bool] = False
    crosses: ClassVar[bool] = False


def plain(chain: Chain) -> ChainMethod:
    """The conditional loss where the parent happened: ``L_buy = mean over clicked rows of CE(buy, p_buy)``.

    The baseline that the papers start from: learnt on clicked rows, used on all rows. Where the rows that were clicked
    differ from the others, ``p_buy`` is biased on the others (sample selection bias).

    Loss space: rows where the parent happened and the label is known. Every balancer can be used.

    Args:
        chain: The tasks.

    Example:
        >>> import torch
        >>> from polytask.chains import chain_of
        >>> method = plain(chain_of(["click", "buy"], {"buy": "click"}))
        >>> [values.tolist() for values in method.probabilities(torch.tensor([[0.5], [0.25]]))]
        [[[0.5], [0.25]], [[0.5], [0.125]]]
    """
    return Plain(chain)
