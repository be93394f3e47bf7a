"""ESCM2: the entire-space counterfactual multi-task model (Wang et al., SIGIR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, final, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from polytask.chains.chain import Chain
from polytask.chains.method import ChainMethod
from polytask.errors import raise_errors
from polytask.options import in_range, one_of
from polytask.stack import Stack
from polytask.towers import Towers

Estimator = Literal["ips", "dr"]


class Imputation(nn.Module):
    """A tower per task that guesses the loss of the task: ``softplus(MLP(r_t))``.

    Args:
        tasks: Number of towers.
        in_features: Width of the representation.
        widths: Hidden layers.

    Shape:
        ``[T, B, H] -> [T, B]``, not negative.

    Example:
        >>> Imputation(2, 8, (4,))(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5])
    """

    def __init__(self, tasks: int, in_features: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.towers = Towers(tasks, in_features, widths)
        self.head = Stack(tasks, self.towers.out_features, 1, bound=self.towers.out_features**-0.5)

    def forward(self, r: Float[Tensor, "tasks batch out"]) -> Float[Tensor, "tasks batch"]:
        """The guessed losses."""
        return softplus(self.head(self.towers(r))[..., 0])


@final
class ESCM2(ChainMethod):
    """The joint loss of ESMM and an unbiased loss of the conditional probability; see `escm2`.

    Args:
        chain: The tasks.
        imputation: For the doubly robust estimator, one tower per task with a parent; None: inverse propensities.
        cvr_weight: Weight of the conditional loss.
        ctcvr_weight: Weight of the joint loss.
        clip: Smallest propensity.
    """

    joint: ClassVar[bool] = True
    crosses: ClassVar[bool] = True

    def __init__(
        self, chain: Chain, imputation: Imputation | None, *, cvr_weight: float, ctcvr_weight: float, clip: float
    ) -> None:
        super().__init__(chain)
        self.imputation = imputation
        self._cvr_weight, self._ctcvr_weight, self._clip = cvr_weight, ctcvr_weight, clip

    def row_losses(
        self,
        own: Float[Tensor, "chain batch"],
        logits: Float[Tensor, "chain batch"],
        labels: Float[Tensor, "chain batch"],
        representation: Float[Tensor, "chain batch out"],
    ) -> Float[Tensor, "chain batch"]:
        """Roots: cross-entropy. Others: ``cvr_weight CVR + ctcvr_weight CE(joint)``, row by row."""
        happened, failed = self._log_joint(logits)
        joint = -(labels * happened + (1 - labels) * failed)
        children, parents = self.children_index, self.parents_index
        propensity = happened[parents].detach().exp().clamp(min=self._clip)
        error = binary_cross_entropy_with_logits(logits[children], labels[children], reduction="none")
        cvr = self._cvr(error, labels[parents] / propensity, representation[children])
        return joint.index_copy(0, children, self._cvr_weight * cvr + self._ctcvr_weight * joint[children])

    def _cvr(
        self,
        error: Float[Tensor, "children batch"],
        inverse: Float[Tensor, "children batch"],
        representation: Float[Tensor, "children batch out"],
    ) -> Float[Tensor, "children batch"]:
        """The estimate of the conditional loss; ``inverse`` is 1 / propensity where the parent happened, else 0."""
        if self.imputation is None:
            return inverse * error
        guess = self.imputation(representation.to(error.dtype))
        return guess + inverse * (error - guess) + inverse * (error.detach() - guess).square()

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """The imputation towers, each of the task whose loss it guesses."""
        owners = torch.tensor([self.chain.tasks[child] for child in self.chain.children])
        return [(parameter, owners) for parameter in self.imputation.parameters()] if self.imputation else []


def escm2(
    chain: Chain,
    in_features: int,
    *,
    estimator: Estimator = "ips",
    cvr_weight: float = 0.5,
    ctcvr_weight: float = 0.5,
    clip: float = 0.1,
    widths: Sequence[int] = (32,),
) -> ChainMethod:
    """The loss of the conditional probability, as if the parent had happened everywhere: unbiased by propensities.

    With ``o`` whether the parent happened, ``P_o`` the model's probability of that (with all before it; its gradient is
    stopped and it is not below ``clip``) and ``delta = CE(buy, p_buy)``, over the rows D where the joint label is
    known::

        L_click = L_CTR
        L_buy = cvr_weight L_CVR + ctcvr_weight L_CTCVR
        L_CTCVR = mean over D of CE(click and buy, p_click p_buy)           as in ESMM
        ips: L_CVR = 1/|D| sum over D of o delta / P_o
        dr:  L_CVR = 1/|D| sum over D of e + o (delta - e) / P_o + o (delta - e)^2 / P_o

    ``e`` is what an imputation tower on the task's representation guesses of ``delta``. ``ips`` is unbiased if the
    propensities are right; ``dr`` if they or the guesses are, with less variance. The last term of ``dr`` trains the
    tower; ``delta`` is held fixed in it, so that the task does not learn to be guessed. The mean of ``ips`` is over all
    of D: the form 1/|O| over clicked rows, in print here and there, is biased.

    The weights are the paper's lambda_c and lambda_g; their defaults are those of the PaddleRec implementation. All
    further tasks of a longer chain are treated as ``buy``.

    Loss space: all rows where the joint label is known. The loss of a task reads the heads of its path.

    Paper: Wang, Chang, Liu, Huang, Chen, Yu, Li and Chu, "ESCM2: Entire Space Counterfactual Multi-Task Model for
    Post-Click Conversion Rate Estimation", SIGIR 2022, https://arxiv.org/abs/2204.05125

    Args:
        chain: The tasks.
        in_features: Width of the representation.
        estimator: ``ips``, inverse propensities, or ``dr``, doubly robust.
        cvr_weight: lambda_c.
        ctcvr_weight: lambda_g.
        clip: Smallest propensity: bounds the weight of a row by 1 / clip, and biases where rows are below it.
        widths: Hidden layers of the imputation towers, for ``dr``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> from polytask.chains import chain_of
        >>> method = escm2(chain_of(["click", "buy"], {"buy": "click"}), 8, ctcvr_weight=0.0, cvr_weight=1.0)
        >>> z, y = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # a click that bought, and no click
        >>> method.row_losses(y, z, y, torch.zeros(2, 2, 8))[1].exp().tolist()  # log 2, times 1 / 0.5; nothing
        [4.0, 1.0]
    """
    problems = one_of(estimator, get_args(Estimator), where="chain.estimator")
    problems += in_range(cvr_weight, least=0, where="chain.cvr_weight")
    problems += in_range(ctcvr_weight, least=0, where="chain.ctcvr_weight")
    problems += in_range(clip, above=0, most=1, where="chain.clip")
    raise_errors(problems)
    imputation = Imputation(len(chain.children), in_features, widths) if estimator == "dr" else None
    return ESCM2(chain, imputation, cvr_weight=cvr_weight, ctcvr_weight=ctcvr_weight, clip=clip)
