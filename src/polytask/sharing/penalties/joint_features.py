"""All tasks choose the same inputs (Obozinski et al., 2010)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.sharing.penalties.base import Penalty


class JointFeatures(Penalty):
    """See `joint_features`."""

    def forward(self, stacks: Sequence[Float[Tensor, "tasks *shape"]], /) -> Float[Tensor, ""]:
        """Of the first matrices alone; where all weights of an input are 0, the slope is 0."""
        return self.weight * torch.linalg.vector_norm(stacks[0].flatten(0, -2), dim=0).sum()


def joint_features(*, weight: float = 1e-3, towers: bool = False) -> Penalty:
    """The L2,1 norm of the first matrices: ``weight * sum_i sqrt(sum_{t,j} W_t[j, i]^2)`` over inputs ``i``.

    The weights of one input to all units ``j`` of all tasks form a group, and groups shrink as a whole: all tasks drop
    the same inputs. Only the first matrix that tasks own counts, since its columns are the inputs; with
    ``towers = true`` under an architecture that shares all below the towers, these are the shared units. Gradient steps
    bring groups near 0, not to it.

    Paper: Obozinski, Taskar and Jordan, "Joint covariate selection and joint subspace selection for multiple
    classification problems", Statistics and Computing 20, 2010, https://doi.org/10.1007/s11222-008-9111-x, for linear
    models; on learnt features Argyriou et al., Machine Learning 73, 2008, https://doi.org/10.1007/s10994-007-5040-8

    Args:
        weight: Factor of the norm.
        towers: Count the tasks' towers among what they own.

    Returns:
        A map from stacks ``[T, ..., out, in]`` to a scalar.

    Raises:
        UserError: If the weight is negative.

    Example:
        >>> joint_features(weight=1.0)([torch.tensor([[[3.0, 0.0]], [[4.0, 1.0]]])]).item()
        6.0
    """
    return JointFeatures(weight, towers=towers)
