"""MNIST: 70,000 handwritten digits (LeCun, Cortes and Burges)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt8

from polytask.data.images.places import candidates, looked_in
from polytask.data.named.raw import RawFile
from polytask.errors import Problem, UserError

Split = Literal["train", "test"]
FOLDERS = ("mnist", "MNIST/raw")
FILES: Mapping[Split, tuple[RawFile, RawFile]] = {
    "train": (
        RawFile(
            "train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        RawFile("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ),
    "test": (
        RawFile(
            "t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        RawFile("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
}
SIDE = 28


def mnist(split: Split) -> tuple[UInt8[np.ndarray, "images 28 28"], Int64[np.ndarray, "images"]]:
    """The digits of one split, 60,000 or 10,000, in the publisher's order.

    The publisher's four files, packed or not, are looked for in ``POLYTASK_DATA``, in ``mnist`` or ``MNIST/raw`` below
    it, and in the user's cache. Their contents are checked.

    Args:
        split: ``train`` or ``test``.

    Raises:
        UserError: The files are not there, or are not the publisher's.
    """
    paths = None
    for place in candidates(FOLDERS):
        found = [file.find(place) for file in FILES[split]]
        if None not in found:
            paths = found
            break
    if paths is None:
        names = " and ".join(file.name for file in FILES[split])
        what = f"{names} (plain or .gz) are not in {looked_in(FOLDERS)}"
        raise UserError(Problem("data set 'mnist'", what, "set POLYTASK_DATA to the folder that holds them"))
    images, labels = (file.read(path) for file, path in zip(FILES[split], paths, strict=True) if path is not None)
    # headers of 16 and 8 bytes: kind and sizes, which the checksums vouch for
    pixels = np.frombuffer(images, dtype=np.uint8, offset=16).reshape(-1, SIDE, SIDE)
    return pixels, np.frombuffer(labels, dtype=np.uint8, offset=8).astype(np.int64)
