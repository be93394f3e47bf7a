"""Losses of a task: a built-in name, or the user's own function given as an import path or a callable."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from torch import Tensor

from polytask.errors import Problem, UserError, suggest

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""``(logits [..., out], labels [...]) -> losses [...]``, one loss per row, never reduced."""

LossSpec = str | RowLoss


def is_own(loss: LossSpec) -> bool:
    """Whether the loss is the user's own: a callable, or a name of the form ``package.module:function``."""
    return not isinstance(loss, str) or ":" in loss


def check_loss(loss: LossSpec, builtin: Sequence[str], *, where: str) -> list[Problem]:
    """What is wrong with a loss option, without importing anything (serving runs no code of the user's).

    Example:
        >>> print(*check_loss("hubber", ["squared", "huber"], where="tasks.price.loss"))
        tasks.price.loss: there is no loss 'hubber'; did you mean 'huber'? Your own is "package.module:function"
    """
    if is_own(loss) or loss in builtin:
        return []
    remedy = f'{suggest(str(loss), list(builtin))} Your own is "package.module:function"'
    return [Problem(where, f"there is no loss '{loss}'", remedy)]


def load_loss(loss: LossSpec, *, where: str) -> RowLoss:
    """The user's own loss function; an import path is imported here.

    Raises:
        UserError: If the module or the function can't be found, or is no function.
    """
    if not isinstance(loss, str):
        return loss
    module_name, _, function_name = loss.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        remedy = "start the program where the module can be imported, or put its folder on PYTHONPATH"
        raise UserError(Problem(where, f"loss '{loss}': no module named '{error.name}'", remedy)) from error
    found = getattr(module, function_name, None)
    if not callable(found):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        what = "is not a function" if hasattr(module, function_name) else f"is not in module '{module_name}'"
        raise UserError(Problem(where, f"loss '{loss}': '{function_name}' {what}", suggest(function_name, names)))
    function: RowLoss = found
    return function


def call_loss(function: RowLoss, logits: Tensor, labels: Tensor, *, where: str) -> Tensor:
    """The losses of the user's function, checked: one per row, in floating point.

    Raises:
        UserError: If the function raises an exception, or gives anything but one floating-point loss per row.
    """
    try:
        losses = function(logits, labels)
    except Exception as error:
        what = f"the loss raised {type(error).__name__}: {error}"
        raise UserError(Problem(where, what, "call it with a small batch of your own to see where")) from error
    if not isinstance(losses, Tensor):
        raise UserError(Problem(where, f"the loss gave {type(losses).__name__}", "return a tensor, one loss per row"))
    if losses.shape != labels.shape or not losses.is_floating_point():
        what = (
            f"the loss gave shape {list(losses.shape)} ({losses.dtype}) for logits {list(logits.shape)} "
            f"and labels {list(labels.shape)}"
        )
        remedy = f"return one loss per row, shape {list(labels.shape)}, without a mean or a sum over rows"
        raise UserError(Problem(where, what, remedy))
    return losses
