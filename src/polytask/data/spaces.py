"""Sample spaces as expressions: what the user wrote, or what follows from the task that must happen before."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.specs import LabelSpec


def sample_space(spec: LabelSpec, names: Sequence[str]) -> str | None:
    """The rows that belong to a task, as an expression over columns; None: all rows.

    Args:
        spec: The task.
        names: All columns of the table.

    Example:
        >>> click = LabelSpec("click", "binary", "is click", where="shown == 1")
        >>> sample_space(LabelSpec("buy", "binary", "buy", after=click), ["shown", "is click", "buy"])
        '(shown == 1) and (`is click` == 1)'
    """
    if spec.after is None:
        return spec.where
    before, happened = sample_space(spec.after, names), positive(spec.after, names)
    return happened if before is None else f"({before}) and ({happened})"


def positive(spec: LabelSpec, names: Sequence[str]) -> str:
    """Where a binary task happened, as an expression over columns; missing where that is not known.

    Example:
        >>> positive(LabelSpec("single", "binary", "marital", classes=("other", "single")), ["marital"])
        "`marital` == 'single'"
    """
    label = f"`{spec.label}`" if spec.label in names else f"({spec.label})"
    return f"{label} == {spec.classes[-1] if spec.classes else 1!r}"
