"""ResNet-18 (He et al., CVPR 2016) for small images, without its last layer."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polytask.errors import Problem, UserError

STAGES = ((1, 1), (2, 2), (4, 2), (8, 2))
"""Per stage of two blocks: channels as multiples of the first, and the stride of its first block."""
SHRINKS, POOL = 8, 4


class Block(nn.Module):
    """``relu(f(x) + s(x))`` with ``f`` two convolutions of 3 by 3, and ``s`` the identity or a convolution of 1 by 1.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        stride: Of the first convolution.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Float[Tensor, "batch before height width"]) -> Float[Tensor, "batch after lower narrower"]:
        """The block."""
        return torch.relu(self.residual(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """Eight residual blocks and an average over 4 by 4 pixels: 2048 numbers of an image of 64 by 64.

    The first convolution is 3 by 3 with stride 1, and no pooling follows it, so that small images keep their size.

    Papers: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385;
    this form: code of Sener and Koltun, NeurIPS 2018, ``multi_faces_resnet.py``.

    Batch normalisation makes every row depend on its batch; see `polytask.stack.StackBatchNorm` for what that costs.

    Args:
        channels: Of the images.
        size: Height and width of the images, a multiple of 32.
        width: Channels of the first stage.

    Shape:
        ``[B, channels, size, size] -> [B, out_features]``, ``out_features = 8 width (size / 32)^2``

    Raises:
        UserError: If a number is out of range.

    Example:
        >>> ResNet18(width=8)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 256])
    """

    def __init__(self, channels: int = 3, *, size: int = 64, width: int = 64) -> None:
        super().__init__()
        given = {"channels": channels, "width": width}
        problems = [Problem(name, f"{n} given", "choose at least one") for name, n in given.items() if n < 1]
        if size < 1 or size % (SHRINKS * POOL):
            problems.append(Problem("size", f"{size} given", f"choose a multiple of {SHRINKS * POOL}"))
        if problems:
            raise UserError(problems)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks, before = [], width
        for multiple, stride in STAGES:
            blocks += [Block(before, multiple * width, stride), Block(multiple * width, multiple * width, 1)]
            before = multiple * width
        self.blocks = nn.Sequential(*blocks)
        self.out_features = before * (size // (SHRINKS * POOL)) ** 2

    def forward(self, x: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch width"]:
        """The representation."""
        return functional.avg_pool2d(self.blocks(self.stem(x)), POOL).flatten(1)
