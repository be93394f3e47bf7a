"""One encoder for all tasks, and a head for each."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from polytask.encoders.lenet import LeNet
from polytask.encoders.resnet import ResNet18
from polytask.reproduce.sener.experiment import Group, Network

WHITE = 255.0


class MultiTaskNetwork(nn.Module):
    """Logits of every task: ``head_t(encoder((pixels / 255 - mean) / std))``.

    Heads are modules of their own, as in the paper's code, so that their losses meet at the encoder's output: there
    `polytask.balancing.backward` finds what is shared without being told.

    Args:
        group: The network, and the statistics of its images.
        tasks: How many.
    """

    mean: Float[Tensor, "channels 1 1"]
    std: Float[Tensor, "channels 1 1"]

    def __init__(self, group: Group, tasks: int) -> None:
        super().__init__()
        self.encoder = _encoder(group)
        self.heads = nn.ModuleList(_head(group.network, self.encoder.out_features) for _ in range(tasks))
        for name, values in (("mean", group.train.mean), ("std", group.train.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1) * WHITE)
        # halves the time of a step on processors; torch's stubs do not know the argument
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: UInt8[Tensor, "batch channels height width"]) -> list[Float[Tensor, "batch classes"]]:
        """The logits, task by task."""
        images = ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        shared = self.encoder(images)
        return [head(shared) for head in self.heads]

    def losses(
        self, pixels: UInt8[Tensor, "batch channels height width"], labels: Int64[Tensor, "tasks batch"]
    ) -> list[Float[Tensor, ""]]:
        """Mean cross-entropy of every task."""
        return [functional.cross_entropy(*pair) for pair in zip(self(pixels), labels, strict=True)]


def _encoder(group: Group) -> LeNet | ResNet18:
    if group.data.source == "multi-mnist":
        return LeNet(dropout=group.network.channel_dropout)
    return ResNet18(size=group.data.size, width=group.network.width)


def _head(network: Network, width: int) -> nn.Module:
    if not network.head_hidden:
        return nn.Linear(width, network.classes)
    return nn.Sequential(
        nn.Linear(width, network.head_hidden),
        nn.ReLU(),
        nn.Dropout(network.head_dropout),
        nn.Linear(network.head_hidden, network.classes),
    )
