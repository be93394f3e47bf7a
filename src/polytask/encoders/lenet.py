"""LeNet (LeCun et al. 1998) in the form that multi-task papers use on MultiMNIST."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polytask.errors import Problem, UserError


class LeNet(nn.Module):
    """Two convolutions and a linear layer, from an image of 28 by 28 pixels to 50 numbers.

        h = relu(maxpool2(conv5(x, 10)));   h = relu(maxpool2(drop(conv5(h, 20))));   z = relu(W h + b)

    ``conv5(., c)``: 5 by 5, no padding, c channels; ``maxpool2``: 2 by 2; ``drop``: channels at a time.

    Paper: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, supplement,
    https://arxiv.org/abs/1810.04650. Their code drops half of the channels of the second convolution (0.5 here),
    the same ones in all images of a batch, and does not scale up those that are left; the text mentions no dropout.

    Args:
        channels: Of the images.
        dropout: Share of the second convolution's channels that are zeroed in training.

    Shape:
        ``[B, channels, 28, 28] -> [B, 50]``

    Raises:
        UserError: If a number is out of range.

    Example:
        >>> LeNet()(torch.zeros(4, 1, 28, 28)).shape
        torch.Size([4, 50])
    """

    out_features = 50

    def __init__(self, channels: int = 1, *, dropout: float = 0.0) -> None:
        super().__init__()
        problems = [] if channels > 0 else [Problem("channels", f"{channels} given", "choose at least one")]
        if not 0.0 <= dropout < 1.0:
            problems.append(Problem("dropout", f"{dropout} given", "choose a share from 0 up to, not including, 1"))
        if problems:
            raise UserError(problems)
        self.first = nn.Conv2d(channels, 10, 5)
        self.second = nn.Conv2d(10, 20, 5)
        self.dropout = nn.Dropout2d(dropout)
        self.linear = nn.Linear(20 * 4 * 4, self.out_features)

    def forward(self, x: Float[Tensor, "batch channels 28 28"]) -> Float[Tensor, "batch 50"]:
        """The representation."""
        # pooling before the ReLU gives the same, on a quarter of the numbers
        h = functional.max_pool2d(self.first(x), 2).relu()
        h = functional.max_pool2d(self.dropout(self.second(h)), 2).relu()
        return torch.relu(self.linear(h.flatten(1)))
