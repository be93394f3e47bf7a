"""COSMOS: the preference is one more input (Ruchte and Grabocka, ICDM 2021)."""

from __future__ import annotations

import copy
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polytask.errors import Problem, UserError
from polytask.fronts.conditioned import Conditioned
from polytask.options import in_range


class Joined(nn.Module):
    """Puts the preference beside the features: of rows as columns, of images as channels.

    Args:
        tasks: T.
        images: Whether inputs are images: transposed convolutions then make planes of the preference.
    """

    def __init__(self, tasks: int, images: bool) -> None:
        super().__init__()
        self.planes = (
            nn.Sequential(
                nn.ConvTranspose2d(tasks, tasks, kernel_size=4, bias=False),
                nn.ReLU(),
                nn.ConvTranspose2d(tasks, tasks, kernel_size=6, stride=2, padding=1, bias=False),
                nn.ReLU(),
            )
            if images
            else None
        )

    def forward(self, preference: Float[Tensor, "tasks"], x: Float[Tensor, "batch *rest"], /) -> Tensor:
        """Features and preference in one tensor."""
        if self.planes is None:
            beside = preference.to(x).expand(*x.shape[:-1], -1)
            return torch.cat([x, beside], -1)
        planes = self.planes(preference.to(x).view(1, -1, 1, 1))
        planes = functional.interpolate(planes, x.shape[-2:])
        return torch.cat([x, planes.expand(len(x), -1, -1, -1)], 1)


@final
class Held(nn.Module):
    """A network with a preference that does not change.

    Args:
        network: Reads features and preference.
        joined: Puts them together.
        preference: One number per task.
    """

    preference: Float[Tensor, "tasks"]

    def __init__(self, network: nn.Module, joined: Joined, preference: Float[Tensor, "tasks"]) -> None:
        super().__init__()
        self.network, self.joined = network, joined
        self.register_buffer("preference", preference)

    def forward(self, x: Float[Tensor, "batch *rest"], /, *inputs: Any) -> Any:
        """What the network gives for these inputs."""
        return self.network(self.joined(self.preference, x), *inputs)


@final
class COSMOS(Conditioned):
    """``f(x, p)``; see `cosmos`.

    Args:
        network: Reads features and preference.
        tasks: T.
        cosine: Factor of the cosine.
        images: Whether inputs are images.
        concentration: Of the preferences that are drawn.
    """

    def __init__(self, network: nn.Module, tasks: int, *, cosine: float, images: bool, concentration: float) -> None:
        super().__init__(tasks, concentration=concentration)
        problems = in_range(cosine, where="cosine", least=0)
        if next(network.parameters(), None) is None:
            problems.append(Problem("network", f"'{type(network).__name__}' has no parameter", "give one to train"))
        if problems:
            raise UserError(problems)
        self._cosine = cosine
        self.inner = copy.deepcopy(network)
        first = next(self.inner.parameters())
        self.joined = Joined(tasks, images).to(first.device, first.dtype)

    def forward(self, preference: Float[Tensor, "tasks"], /, *inputs: Any) -> Any:
        """What the network gives; the preference stands beside the first of the inputs."""
        x, *others = inputs
        return self.inner(self.joined(preference, x), *others)

    def network(self, preference: Float[Tensor, "tasks"], /) -> nn.Module:
        """A copy that holds the preference."""
        first = next(self.inner.parameters())
        return Held(copy.deepcopy(self.inner), copy.deepcopy(self.joined), preference.to(first))

    def objective(
        self, losses: Float[Tensor, "window tasks"], preferences: Float[Tensor, "window tasks"]
    ) -> Float[Tensor, ""]:
        """The weighed losses less the cosine."""
        cosines = functional.cosine_similarity(losses, preferences, dim=1)
        return super().objective(losses, preferences) - self._cosine * cosines.sum()


def cosmos(
    network: nn.Module, tasks: int, *, cosine: float = 0.01, images: bool = False, concentration: float = 1.2
) -> COSMOS:
    """COSMOS: the preference is an input, and one network learns to follow it.

        minimise   sum_t p_t L_t(x, p) - cosine cos(L(x, p), p)

    One preference is drawn in each step, from ``Dirichlet(concentration)``, for all rows. It stands beside the features
    in the last dimension; with ``images``, two transposed convolutions with ReLUs make T planes of it, which are
    enlarged to the size of the image and stand beside its channels. So the network that is given must read T features,
    or channels, more than the data have.

    The cosine spreads the front: without it most preferences give much the same point. It pulls the losses towards the
    preference, that is, to *more* loss where there is more preference, against the first term: with a large factor the
    front is traversed in the other direction, and ``at([1, 0])`` may be the point that is worst for the first task.

    ``at(p)`` is the network with the preference held, and reads what the data have.

    Paper: Ruchte and Grabocka, "Scalable Pareto Front Approximation for Deep Multi-Objective Learning", ICDM 2021,
    https://arxiv.org/abs/2103.13392. Its ``cosine`` is 2 for MultiMNIST and 0.01 for tables.

    Args:
        network: Reads features and preference; copied.
        tasks: T.
        cosine: lambda, from 0, in the units of the losses.
        images: Whether the first input is a batch of images ``[batch, channels, height, width]``.
        concentration: Above 0.

    Raises:
        UserError: If a number is out of range, or the network has no parameters.

    Example:
        >>> model = cosmos(nn.Linear(3 + 2, 1), 2)
        >>> model.at([0.2, 0.8])(torch.ones(4, 3)).shape
        torch.Size([4, 1])
    """
    return COSMOS(network, tasks, cosine=cosine, images=images, concentration=concentration)
