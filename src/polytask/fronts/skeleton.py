"""A network whose parameters come from somewhere else in every call."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from polytask.errors import Problem, UserError, suggest


class Table(nn.Module):
    """Tensors by name; names may have dots, which modules do not allow.

    Args:
        tensors: Copied.
        trained: Whether they are parameters; buffers otherwise.
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, trained: bool) -> None:
        super().__init__()
        self._names = tuple(tensors)
        for name, tensor in tensors.items():
            value = tensor.detach().clone()
            if trained:
                self.register_parameter(_key(name), nn.Parameter(value))
            else:
                self.register_buffer(_key(name), value)

    def tensors(self) -> dict[str, Tensor]:
        """By their names."""
        return {name: getattr(self, _key(name)) for name in self._names}


def _key(name: str) -> str:
    return name.replace(".", "/")


class Skeleton:
    """The code of a network, without its parameters: what is trained comes with each call.

    No module, so that the parameters that it was built with are not among those of its owner.

    Args:
        network: Copied. Parameters that need no gradient stay as they are.
        shared: Names of parameters that are trained, and the same for all preferences.

    Raises:
        UserError: If there is nothing to train in it, or a name is unknown.
    """

    def __init__(self, network: nn.Module, shared: Sequence[str] = ()) -> None:
        self._network = copy.deepcopy(network)
        parameters = dict(self._network.named_parameters())
        unknown = [name for name in shared if name not in parameters]
        if unknown:
            raise UserError(
                Problem("shared", f"no parameter is named '{name}'", suggest(name, list(parameters)))
                for name in unknown
            )
        self.shared = {name: parameters.pop(name).detach() for name in shared}
        self.trained = {name: one.detach() for name, one in parameters.items() if one.requires_grad}
        if not self.trained:
            what = f"'{type(network).__name__}' has no parameter that needs a gradient"
            raise UserError(Problem("network", what, "give one that can be trained"))
        frozen = {name: one.detach() for name, one in parameters.items() if not one.requires_grad}
        self.fixed = frozen | dict(self._network.named_buffers())

    def train(self, mode: bool) -> None:
        """Training or evaluation mode, of dropout and its like."""
        self._network.train(mode)

    def call(self, trained: Mapping[str, Tensor], fixed: Mapping[str, Tensor], *inputs: Any) -> Any:
        """What the network gives with these parameters; running statistics in ``fixed`` are updated."""
        return functional_call(self._network, {**trained, **fixed}, inputs, strict=False)

    def module(self, trained: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> nn.Module:
        """A network of its own with copies of them."""
        network = copy.deepcopy(self._network)
        places = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        with torch.no_grad():
            for name, value in {**trained, **fixed}.items():
                places[name].data = value.detach().clone()
        return network
