"""AITM: adaptive information transfer between the steps of a conversion (Xi et al., KDD 2021)."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import relu

from polytask.chains.chain import Chain
from polytask.chains.method import ChainMethod
from polytask.chains.transfer import Transfer
from polytask.errors import raise_errors
from polytask.options import in_range
from polytask.stack import Stack


class Attention(nn.Module):
    """Attention over two tokens: what the parent passes on, and the task's own tower.

    Args:
        tasks: Number of tasks, each with parameters of its own.
        width: Width of a token, k.

    Shape:
        ``([T, B, k], [T, B, k]) -> [T, B, k]``

    Example:
        >>> Attention(1, 4)(torch.zeros(1, 5, 4), torch.zeros(1, 5, 4)).shape
        torch.Size([1, 5, 4])
    """

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.passed = Stack(tasks, width, width)
        bound = math.sqrt(3.0 / width)
        self.value, self.query, self.key = (Stack(tasks, width, width, bound=bound) for _ in range(3))
        self._scale = width**-0.5

    def forward(
        self, parent: Float[Tensor, "tasks batch width"], own: Float[Tensor, "tasks batch width"]
    ) -> Float[Tensor, "tasks batch width"]:
        """``sum_u softmax_u(<h2(u), h3(u)> / sqrt k) h1(u)`` for u in ``{g(parent), own}``."""
        passed = relu(self.passed(parent))
        scores = [(self.query(token) * self.key(token)).sum(-1, keepdim=True) for token in (passed, own)]
        # a softmax over two is a sigmoid of the difference
        share = torch.sigmoid(self._scale * (scores[0] - scores[1]))
        mine, theirs = self.value(own), self.value(passed)
        return mine + share.to(mine.dtype) * (theirs - mine)


@final
class AITM(ChainMethod):
    """Transfer between towers, joint heads, and a calibrator; see `aitm`.

    Args:
        chain: The tasks.
        width: Of the towers.
        alpha: Weight of the calibrator.
    """

    joint: ClassVar[bool] = True
    crosses: ClassVar[bool] = True
    joint_heads: ClassVar[bool] = True

    def __init__(self, chain: Chain, width: int, *, alpha: float) -> None:
        super().__init__(chain)
        self.passing = Transfer(chain, lambda tasks: Attention(tasks, width))
        self._alpha = alpha

    def transfer(self, towers: Float[Tensor, "tasks batch tower"]) -> Float[Tensor, "tasks batch tower"]:
        """Every task attends to what its parent passes on."""
        return self.passing(towers)

    def row_losses(
        self,
        own: Float[Tensor, "chain batch"],
        logits: Float[Tensor, "chain batch"],
        labels: Float[Tensor, "chain batch"],
        representation: Float[Tensor, "chain batch out"],
    ) -> Float[Tensor, "chain batch"]:
        """Cross-entropy of the joint label, and ``alpha max(P_t - P_parent, 0)``."""
        joint = torch.sigmoid(logits)
        excess = relu(joint[self.children_index] - joint[self.parents_index])
        return own.index_add(0, self.children_index, self._alpha * excess)

    def probabilities(
        self, heads: Float[Tensor, "chain batch"]
    ) -> tuple[Float[Tensor, "chain batch"], Float[Tensor, "chain batch"]]:
        """``P_t / P_parent``, at most 1, and the heads themselves."""
        before = heads[self.parents_index].clamp(min=torch.finfo(heads.dtype).tiny)
        given = (heads[self.children_index] / before).clamp(max=1.0)
        return heads.index_copy(0, self.children_index, given), heads

    def parameter_owners(self) -> list[tuple[nn.Parameter, Int[Tensor, "entries"]]]:
        """What passes to a task belongs to that task."""
        return self.passing.owners()


def aitm(chain: Chain, tower_features: int, *, alpha: float = 0.6) -> ChainMethod:
    """Each task reads what the step before it passes on, and is held below it by a calibrator.

    With ``q_t`` the tower of task t, ``z_t = q_t`` for the first task, ``p_t = g_t(z_parent)`` (a layer with ReLU) and
    ``h1, h2, h3`` linear::

        z_t = sum over u in {p_t, q_t} of softmax_u(<h2(u), h3(u)> / sqrt k) h1(u)
        P_t = sigmoid(head_t(z_t))                       the joint probability: t and all before it
        L_t = mean over D of CE(y_t, P_t) + alpha max(P_t - P_parent, 0)

    The labels are the joint ones, ``y_t <= y_parent``, as in the paper. The predicted conditional probability is
    ``min(P_t / P_parent, 1)``. The paper's towers f_t are our sharing with its towers, and its last perceptron is our
    head, as in the authors' code. Some public re-implementations leave the calibrator out.

    Loss space: all rows where the joint label is known. The loss of a task reads the towers of its path.

    Paper: Xi, Chen, Yan, Zhang, Zhu, Zhuang and Chen, "Modeling the Sequential Dependence among Audience Multi-step
    Conversions with Multi-task Learning in Targeted Display Advertising", KDD 2021, https://arxiv.org/abs/2105.08489

    Args:
        chain: The tasks.
        tower_features: Width of the towers, k.
        alpha: Weight of the calibrator; 0 is without.

    Raises:
        UserError: If a number is out of range.

    Example:
        >>> from polytask.chains import chain_of
        >>> method = aitm(chain_of(["click", "buy"], {"buy": "click"}), 8)
        >>> [values.tolist() for values in method.probabilities(torch.tensor([[0.5], [0.125]]))]
        [[[0.5], [0.25]], [[0.5], [0.125]]]
    """
    raise_errors(in_range(alpha, least=0, where="chain.alpha"))
    return AITM(chain, tower_features, alpha=alpha)
