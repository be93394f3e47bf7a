"""What is compared: balancers with their defaults, tuned static weights, and networks of single tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import polytask.balancing
from polytask.balancing import Balancing, constant
from polytask.balancing.interfaces import Place, Weighting
from polytask.config import asked_for
from polytask.reproduce.neutral.experiment import EQUAL, SINGLE, STATIC, Static
from polytask.tasks import Task


@dataclass(frozen=True, slots=True)
class Variant:
    """What gets settings of its own.

    Attributes:
        method: A balancer, `STATIC` or `SINGLE`.
        weights: Of `STATIC`.
        task: The only task of the network; None: all.
    """

    method: str
    weights: tuple[float, ...] = ()
    task: str | None = None

    @property
    def name(self) -> str:
        """Unique in a data set, but for weights.

        Example:
            >>> Variant("mgda").name, Variant("single_task", task="like").name
            ('mgda', 'single_task-like')
        """
        return self.method if self.task is None else f"{self.method}-{self.task}"


def static_weights(static: Static, tasks: int, seed: int) -> list[tuple[float, ...]]:
    """Weights that are tried beside equal ones; each sums to the number of tasks.

    Args:
        static: How many.
        tasks: Number of tasks.
        seed: Of the draws.

    Example:
        >>> static_weights(Static(settings=2, concentration=1.0), 2, seed=0)
        [(0.5, 1.5), (1.5, 0.5)]
    """
    if tasks == 2:
        # an even number of settings leaves equal weights out, which are tried anyway
        shares = [(number + 0.5) / static.settings for number in range(static.settings)]
        return [(2 * share, 2 * (1 - share)) for share in shares]
    random = np.random.default_rng([seed, 1])
    drawn = random.dirichlet(np.full(tasks, static.concentration), static.settings)
    return [tuple(float(weight) for weight in tasks * row) for row in drawn]


def balancing(variant: Variant, tasks: Sequence[Task], at: Place | None, seed: int) -> Balancing:
    """A fresh balancer, told of the tasks what it asks for.

    Args:
        variant: The method.
        tasks: Of the network.
        at: Where balancers that make weights of gradients compare these.
        seed: Of those that draw.
    """
    if variant.method == STATIC:
        return Balancing(constant(variant.weights), len(tasks))
    name = EQUAL if variant.method == SINGLE else variant.method
    builder = getattr(polytask.balancing, name)
    known = {
        "tasks": len(tasks),
        "names": [task.name for task in tasks],
        "kinds": [task.kind for task in tasks],
        "seed": seed,
    }
    balancer = builder(**asked_for(builder, known))
    return Balancing(balancer, len(tasks), at=at if isinstance(balancer, Weighting) else None)
