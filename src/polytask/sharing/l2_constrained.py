"""L2-constrained networks (Duong et al., ACL 2015), a baseline of Ma et al., KDD 2018."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.errors import raise_errors
from polytask.options import in_range
from polytask.sharing.penalties.attached import Penalised
from polytask.sharing.penalties.l2_distance import L2Distance
from polytask.sharing.representation import Sharing
from polytask.sharing.single_task import single_task
from polytask.stack import Activation, Init, Norm


def l2_constrained(
    tasks: int,
    in_features: int,
    *,
    alpha: float = 1e-3,
    widths: Sequence[int] = (128, 64),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: float = 0.0,
    init: Init = "he",
) -> Sharing:
    """One network per task, ``r_t = f_t(x)``, and the networks are pulled together.

    The loss gains ``alpha sum_{s<t} ||theta_s - theta_t||^2``, with ``theta_t`` all parameters of ``f_t``; for two
    tasks ``L_1 + L_2 + alpha ||theta_1 - theta_2||^2``, as in the paper. ``alpha = 0`` is `single_task`; a very large
    one makes the networks equal, as in `shared_bottom`. The towers stay free: to pull them as well, take
    `single_task` with ``[penalty] use = "l2_distance"`` and ``towers = true``.

    Paper: Duong et al., "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser",
    ACL 2015, https://aclanthology.org/P15-2139; as a baseline in Ma et al., KDD 2018, section 6.2,
    https://doi.org/10.1145/3219819.3220007

    Args:
        tasks: Number of tasks, T.
        in_features: Width of the input, D.
        alpha: Factor of the squared distances.
        widths: Layer widths of every network; the last is H.
        activation: After every layer.
        norm: Normalisation before every activation.
        dropout: After every activation.
        init: How the matrices start.

    Returns:
        A map ``[B, D] -> [T, B, H]``.

    Raises:
        UserError: If a number or a name is out of range.

    Example:
        >>> import torch
        >>> representation = l2_constrained(3, 20, widths=(16, 8))(torch.zeros(5, 20))
        >>> representation.value.shape, representation.penalty.item() > 0
        (torch.Size([3, 5, 8]), True)
    """
    raise_errors(in_range(alpha, least=0, where="alpha"))
    networks = single_task(
        tasks, in_features, widths=widths, activation=activation, norm=norm, dropout=dropout, init=init
    )
    return Penalised(networks, L2Distance(alpha))
