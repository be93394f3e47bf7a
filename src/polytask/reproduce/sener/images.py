"""The images of a group, or why there are none."""

from __future__ import annotations

from collections.abc import Mapping

from polytask.data.images import CelebA, LabelledImages, multi_mnist
from polytask.data.images.celeba import require_pillow
from polytask.errors import Problem, UserError
from polytask.reproduce.sener.experiment import Group


def absent(group: Group) -> str | None:
    """Why a group cannot be trained; None if it can.

    Only CelebA may be absent: its images are not free to pass on.

    Raises:
        MissingExtraError: The images are there, and the package that reads them is not.
    """
    if group.data.source == "multi-mnist":
        return None
    if CelebA.locate() is None:
        return CelebA.absent()
    require_pillow()
    return None


def load(group: Group, *, seed: int) -> Mapping[str, LabelledImages]:
    """The parts ``train``, ``validation`` and ``test``.

    Args:
        group: Whose.
        seed: Of the pairs of digits.

    Raises:
        UserError: The data set is absent or damaged.
    """
    if group.data.source == "multi-mnist":
        parts = multi_mnist(validation=group.data.validation, seed=seed)
    else:
        found = CelebA.locate()
        if found is None:
            raise UserError(Problem("data set 'celeba'", CelebA.absent(), "leave its group out"))
        return found.parts(size=group.data.size, limit=group.images)
    return {name: part if group.images is None else part.first(group.images) for name, part in parts.items()}
