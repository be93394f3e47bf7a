"""Looking at a model between two steps so that training does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def aside(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without compiled code; afterwards every module's mode and torch's random state are as before.

    Compiled code is left out because its graph keeps nothing of what lies between the layers, and because another mode
    would have it compiled again.

    Args:
        model: What is looked at. Its parameters are the caller's to put back.

    Example:
        >>> import torch
        >>> layer = torch.nn.Dropout()
        >>> with aside(layer):
        ...     layer.training
        False
        >>> layer.training
        True
    """
    modes = [(module, module.training, module._compiled_call_impl) for module in model.modules()]
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            for module, _, _ in modes:
                module.training, module._compiled_call_impl = False, None
            yield
        finally:
            for module, training, compiled in modes:
                module.training, module._compiled_call_impl = training, compiled
