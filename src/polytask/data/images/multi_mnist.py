"""MultiMNIST: two digits that overlap, one task for each (Sabour et al., NeurIPS 2017; Sener and Koltun, 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64, UInt8

from polytask.data.images.labelled import LabelledImages
from polytask.data.images.mnist import SIDE, mnist
from polytask.errors import Problem, UserError

TASKS = ("left", "right")
CANVAS, SHIFT = 36, 6
WHITE = 255


def overlay(
    left: UInt8[np.ndarray, "images 28 28"], right: UInt8[np.ndarray, "images 28 28"]
) -> UInt8[np.ndarray, "images 28 28"]:
    """One image of each two: on a canvas of 36 by 36, ``right`` six pixels further down and to the right.

    1. ``canvas[0:28, 0:28] = left``, ``canvas[6:34, 6:34] = right``, the brighter one where they overlap.
    2. Grey values are stretched so that the brightest is 255; that of most digits is already.
    3. Every pixel ``i`` of the result is the canvas pixel under its centre, ``floor((i + 1/2) 36 / 28)``.

    Source: ``multi_mnist_loader.py`` of https://github.com/isl-org/MultiObjectiveOptimization. The second step is what
    `scipy.misc.imresize`, which it calls, does to arrays of floats.

    Args:
        left: Digits of the upper left corner.
        right: Digits of the lower right corner.

    Example:
        >>> ink, none = np.full((1, 28, 28), 255, np.uint8), np.zeros((1, 28, 28), np.uint8)
        >>> overlay(ink, none)[0, [0, 21, 22], 0]
        array([255, 255,   0], dtype=uint8)
    """
    canvas = np.zeros((len(left), CANVAS, CANVAS), dtype=np.uint8)
    canvas[:, :SIDE, :SIDE] = left
    lower = canvas[:, SHIFT : SHIFT + SIDE, SHIFT : SHIFT + SIDE]
    np.maximum(lower, right, out=lower)
    peak = canvas.max((1, 2))
    dark = np.flatnonzero((peak < WHITE) & (peak > 0))
    scale = WHITE / peak[dark, None, None].astype(np.float64)
    canvas[dark] = (canvas[dark] * scale + 0.5).astype(np.uint8)
    under = ((np.arange(SIDE) + 0.5) * CANVAS / SIDE).astype(np.int64)
    return canvas[:, under[:, None], under]


def multi_mnist(*, validation: int = 0, seed: int = 0) -> Mapping[str, LabelledImages]:
    """The parts of MultiMNIST: as many images as MNIST has digits, tasks ``left`` and ``right`` of ten classes.

    Digit i of a part is the left one of image i; the right one is drawn evenly from all digits of the same part, and
    may be digit i itself. So are training and test images made in the paper's code. It has no validation part; here
    digits are set aside before they are paired, so that no digit is in two parts.

    Args:
        validation: Training digits set aside, chosen at random; 0: no validation part.
        seed: Of the choice and of the pairs.

    Returns:
        ``train``, ``validation`` if there is one, and ``test``; images ``[N, 1, 28, 28]``, labels ``[2, N]``.

    Raises:
        UserError: ``validation`` is out of range, or MNIST is not there; see `mnist`.
    """
    digits, classes = mnist("train")
    if not 0 <= validation < len(digits):
        what = f"{validation} given for {len(digits):,} training digits"
        raise UserError(Problem("validation", what, "leave some for training"))
    order = np.random.default_rng([seed, 0]).permutation(len(digits))
    kept, aside = np.sort(order[validation:]), np.sort(order[:validation])
    parts = {"train": _paired(digits[kept], classes[kept], seed=[seed, 1])}
    if validation:
        parts["validation"] = _paired(digits[aside], classes[aside], seed=[seed, 2])
    parts["test"] = _paired(*mnist("test"), seed=[seed, 3])
    return parts


def _paired(
    digits: UInt8[np.ndarray, "images 28 28"], classes: Int64[np.ndarray, "images"], *, seed: list[int]
) -> LabelledImages:
    """Every digit with a partner."""
    partner = np.random.default_rng(seed).integers(0, len(digits), len(digits))
    images = overlay(digits, digits[partner])
    return LabelledImages(images[:, None], np.stack([classes, classes[partner]]), TASKS)
