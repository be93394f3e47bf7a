"""ESMM: the entire-space multi-task model (Ma et al., SIGIR 2018)."""

from __future__ import annotations

from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor

from polytask.chains.chain import Chain
from polytask.chains.method import ChainMethod


@final
class ESMM(ChainMethod):
    """Cross-entropy of the joint probabilities over all rows; see `esmm`."""

    joint: ClassVar[bool] = True
    crosses: ClassVar[bool] = True

    def row_losses(
        self,
        own: Float[Tensor, "chain batch"],
        logits: Float[Tensor, "chain batch"],
        labels: Float[Tensor, "chain batch"],
        representation: Float[Tensor, "chain batch out"],
    ) -> Float[Tensor, "chain batch"]:
        """``-y log P - (1 - y) log(1 - P)`` with the joint label y."""
        happened, failed = self._log_joint(logits)
        return -(labels * happened + (1 - labels) * failed)


def esmm(chain: Chain) -> ChainMethod:
    """The joint probability is learnt over all rows; the conditional one is never learnt directly.

    With ``P_t`` the product of ``p_s = sigmoid(z_s)`` along the path to t, and ``y_t`` the joint label::

        P_buy = p_click p_buy
        L_click = mean over impressions of CE(click, p_click)
        L_buy = mean over impressions of CE(click and buy, p_click p_buy)

    Longer chains have one such loss for every task. The paper sums the losses; here the balancer joins them. Computed
    from log-sigmoids, exact for very small and very large probabilities.

    Wang et al. 2022 show that it over-estimates ``p_buy`` (see `polytask.chains.escm2.escm2`).

    Loss space: all rows where the joint label is known. The loss of a task reads the heads of its path.

    Paper: Ma, Zhao, Huang, Wang, Hu, Zhu and Gai, "Entire Space Multi-Task Model: An Effective Approach for Estimating
    Post-Click Conversion Rate", SIGIR 2018, https://arxiv.org/abs/1804.07931

    Args:
        chain: The tasks.

    Example:
        >>> import torch
        >>> from polytask.chains import chain_of
        >>> method = esmm(chain_of(["click", "buy"], {"buy": "click"}))
        >>> z, y = torch.zeros(2, 1), torch.tensor([[1.0], [1.0]])  # p = P(click) P(buy | click) = 1/4
        >>> method.row_losses(y, z, y, torch.zeros(2, 1, 0)).exp().flatten().tolist()
        [2.0, 4.0]
    """
    return ESMM(chain)
