"""GradVac: the gradient vaccine (Wang et al., ICLR 2021)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from polytask.balancing.interfaces import Weighting
from polytask.balancing.solvers.scaled import Scaled, like, scaled_of
from polytask.balancing.weightings.orders import orders
from polytask.errors import UserError
from polytask.options import in_range
from polytask.types import Step

LARGEST = 1.0 - 1e-6
"""Targets are cut here: reaching a cosine of 1 takes an infinite multiple of the other gradient."""


class GradVac(Weighting):
    """Each gradient is moved towards the others until their cosine is what it usually is.

    Args:
        tasks: How many.
        beta: Weight of a new cosine in its running mean.
        seed: Of the orders.
    """

    targets: Float[Tensor, "tasks tasks"]

    def __init__(self, tasks: int, beta: float, seed: int) -> None:
        super().__init__()
        self._beta, self._seed = beta, seed
        self.register_buffer("targets", torch.zeros(tasks, tasks, dtype=torch.float64))

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The sums over columns of the coefficients; the running means move."""
        problem = scaled_of(gramian)
        index = step.present.to(self.targets.device).nonzero().flatten()
        pairs = (index.unsqueeze(1), index)
        targets = self.targets[pairs].to("cpu", torch.float64).numpy()
        coefficients, cosines = self._coefficients(problem, targets, step)
        # a gradient of zero has no angle: its pairs stay as they are
        seen = np.outer(problem.moving, problem.moving) & ~np.eye(len(index), dtype=bool)
        moved = np.where(seen, (1.0 - self._beta) * targets + self._beta * cosines, targets)
        self.targets[pairs] = torch.from_numpy(moved).to(self.targets)
        weights = problem.norms @ coefficients / np.where(problem.moving, problem.norms, 1.0)
        return like(np.where(problem.moving, weights, 1.0), gramian)

    def _coefficients(
        self, problem: Scaled, targets: Float64[np.ndarray, "present present"], step: Step
    ) -> tuple[Float64[np.ndarray, "present present"], Float64[np.ndarray, "present present"]]:
        """Rows: the moved gradients, divided by their first norms, as combinations of gradients of length 1.

        And the cosine of each with every other, at the time when they met.
        """
        count, rows = len(problem.norms), np.arange(len(problem.norms))
        others = orders(self._seed, step, count)
        targets = np.clip(np.take_along_axis(targets, others, 1), -LARGEST, LARGEST)
        wanted, ratios = np.sqrt(1.0 - targets**2), targets / np.sqrt(1.0 - targets**2)
        free = (others != rows[:, None]) & problem.moving[:, None] & problem.moving[others]
        coefficients, met, length = np.eye(count), np.zeros((count, count)), np.ones(count)
        for turn in range(count):
            other = others[:, turn]
            cosine = np.vecdot(coefficients, problem.cosines[other]) / length
            met[:, turn] = cosine = np.minimum(np.maximum(cosine, -1.0), 1.0)
            sine = np.sqrt(1.0 - cosine**2)
            pulled = free[:, turn] & (cosine < targets[:, turn])
            coefficients[rows, other] += np.where(pulled, length * (ratios[:, turn] * sine - cosine), 0.0)
            # what is at right angles to the other gradient has not changed
            length = np.where(pulled, np.maximum(length * sine / wanted[:, turn], 1e-12), length)
        cosines = np.zeros((count, count))
        np.put_along_axis(cosines, others, met, 1)
        return coefficients, cosines


def gradvac(tasks: int, *, beta: float = 0.01, seed: int = 0) -> Weighting:
    """GradVac: the cosine between two gradients is raised to what it was on average, not only to 0 as in PCGrad.

    For each task i, starting from ``h_i = g_i``, over all other tasks j in random order, with ``phi = cos(h_i, g_j)``:

        if phi < phi_ij:   h_i = h_i + norm(h_i) (phi_ij sqrt(1 - phi^2) - phi sqrt(1 - phi_ij^2))
                                       / (norm(g_j) sqrt(1 - phi_ij^2)) g_j
        phi_ij = (1 - beta) phi_ij + beta phi

    and the step goes along ``sum_i h_i``. After the change ``cos(h_i, g_j) = phi_ij``.

    - ``g_i``: gradient of task i; ``h_i`` is always a combination of them.
    - ``phi_ij``: target of the pair, at first 0 (so that the first step is one of PCGrad), cut at 1 - 1e-6. A pair
      moves in steps in which both tasks are present and no gradient is zero.

    Paper: Wang et al., "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual
    Models", ICLR 2021, https://arxiv.org/abs/2010.05874 (algorithm 1). The paper keeps targets per layer or per matrix
    of the shared parameters; here there is one per pair, of all that is compared. LibMTL moves a target only when phi
    is below it, so that targets never rise above 0; here, as in the paper and in TorchJD, they always move. LibMTL and
    TorchJD have .5 for beta.

    Sum of the weights: at least the number of tasks while targets are 0; it falls below where targets are negative.

    Args:
        tasks: Number of tasks; the trainer gives it.
        beta: Weight of a new cosine, from 0 to 1.
        seed: Decides the orders, together with the number of the step alone: a resumed run draws as an unbroken one.
            The trainer gives the seed of the run.

    Raises:
        UserError: If ``beta`` is out of range.

    Example:
        >>> balancer, gramian = gradvac(2, beta=0.5), torch.tensor([[1.0, 0.6], [0.6, 1.0]])
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2))
        >>> balancer(gramian, step)  # no conflict, but from now on a cosine of 0.3 is wanted
        tensor([1., 1.])
        >>> balancer(torch.eye(2), step)
        tensor([1.3145, 1.3145])
    """
    problems = in_range(beta, where="beta", least=0, most=1)
    if problems:
        raise UserError(problems)
    return GradVac(tasks, beta, seed)
