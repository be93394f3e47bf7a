"""Published figures that the table quotes; none of them is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """The test AUC of one method in one publication.

    Attributes:
        method: Its name there.
        source: Where it stands.
        auc: Per task.
    """

    method: str
    source: str
    auc: Mapping[str, float]


_MA = "Ma et al., Modeling Task Relationships in Multi-task Learning with MMoE, KDD 2018, census-income group 1"
_TANG = "Tang et al., Progressive Layered Extraction, RecSys 2020, census-income"

# Both papers halve the publisher's test file at random into validation and test; their halves are not published.
PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "census-income-group-1": (
        Published("MMoE, mean of 400 runs", _MA, {"income": 0.9359, "never_married": 0.9927}),
        Published("MMoE, best run by income", _MA, {"income": 0.9410, "never_married": 0.9926}),
        Published("single-task", _TANG, {"income": 0.9445, "never_married": 0.9923}),
        Published("PLE", _TANG, {"income": 0.9522, "never_married": 0.9945}),
    )
}


def best(name: str, task: str) -> float | None:
    """The highest published figure of a task, or None.

    Example:
        >>> best("census-income-group-1", "income"), best("kuairand", "click")
        (0.9522, None)
    """
    return max((entry.auc[task] for entry in PUBLISHED.get(name, ()) if task in entry.auc), default=None)
