"""A limit on what building a model may allocate: a bundle's configuration cannot ask for more than its weights hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange})
_SLACK = 1 << 22


class BoundedSizes(TorchFunctionMode):
    """Inside the block, new tensors of more than some total size are refused before they are allocated.

    Args:
        elements: How many elements the finished model has; building it may take a few times as many.

    Raises:
        ValueError: Inside the block, when the limit is passed.

    Example:
        >>> with BoundedSizes(10):
        ...     torch.empty(10**9, 10**9)
        Traceback (most recent call last):
        ValueError: the configuration describes a model far larger than its weights
    """

    def __init__(self, elements: int) -> None:
        super().__init__()
        self._left = 4 * elements + _SLACK

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Counts factories, passes everything on."""
        kwargs = kwargs or {}
        if func in _FACTORIES:
            self._left -= _elements(func, args, kwargs)
            if self._left < 0:
                raise ValueError("the configuration describes a model far larger than its weights")
        return func(*args, **kwargs)


def _elements(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    if func is torch.arange:
        return max((abs(int(bound)) for bound in args if isinstance(bound, int | float)), default=0)
    sizes = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
    return math.prod(int(size) for size in sizes)
