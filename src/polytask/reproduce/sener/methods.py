"""The methods of the paper, each as what is trained and how its tasks are balanced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from polytask.balancing import Balancing, constant, equal, gradnorm, mgda, uncertainty
from polytask.reproduce.sener.experiment import Group, MethodName


@dataclass(frozen=True, slots=True)
class Variant:
    """What gets a learning rate of its own.

    Attributes:
        method: The method.
        share: Of the first task, in a grid search; None: no grid search.
        task: The only task of the network; None: all.
    """

    method: MethodName
    share: float | None = None
    task: str | None = None

    @property
    def name(self) -> str:
        """Unique in a group.

        Example:
            >>> Variant("static", share=0.3).name, Variant("single_task", task="left").name
            ('static-0.3', 'single_task-left')
        """
        parts = [self.method, "" if self.share is None else f"{self.share:g}", self.task or ""]
        return "-".join(part for part in parts if part)


def variants(group: Group, tasks: tuple[str, ...]) -> Iterator[Variant]:
    """All that is trained, method by method."""
    for method in group.methods:
        match method:
            case "single_task":
                yield from (Variant(method, task=task) for task in tasks)
            case "static":
                yield from (Variant(method, share=share) for share in group.balancing.shares)
            case _:
                yield Variant(method)


def balancing(variant: Variant, group: Group, tasks: int) -> Balancing:
    """A fresh balancer, and where it compares gradients.

    Args:
        variant: The method.
        group: Its options.
        tasks: How many there are.
    """
    options = group.balancing
    match variant.method:
        case "static":
            assert variant.share is not None
            return Balancing(constant([2 * variant.share, 2 * (1 - variant.share)]), tasks)
        case "uncertainty":
            return Balancing(uncertainty(["multiclass"] * tasks), tasks)
        case "gradnorm":
            rule = gradnorm(tasks, alpha=options.gradnorm_alpha, learning_rate=options.gradnorm_rate)
            return Balancing(rule, tasks)
        case "mgda":
            return Balancing(mgda(normalise=options.normalise), tasks, at="parameters")
        case "mgda_ub":
            return Balancing(mgda(normalise=options.normalise), tasks, at="representation")
        case _:
            return Balancing(equal(), tasks)
