"""CelebA: 202,599 aligned faces with 40 binary attributes (Liu et al., ICCV 2015)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from polytask.data.images.labelled import LabelledImages
from polytask.data.images.places import candidates, looked_in
from polytask.data.named.places import cache_folder
from polytask.errors import MissingExtraError, Problem, UserError
from polytask.files import make_folder, whole_file

PARTS = ("train", "validation", "test")
FOLDERS = ("celeba", "CelebA")
HOMEPAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_ATTRIBUTES, _PARTITION, _IMAGES = "list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"
_WITHIN = {_ATTRIBUTES: ("", "Anno"), _PARTITION: ("", "Eval", "Anno"), _IMAGES: ("", "Img")}
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class CelebA:
    """The publisher's files, with both lists and all images either side by side or in ``Anno``, ``Eval`` and ``Img``.

    Attributes:
        attributes: ``list_attr_celeba.txt``: their number, 40 names, and per image its file and 40 times 1 or -1.
        partition: ``list_eval_partition.txt``: per image its file and 0, 1 or 2 for training, validation and test.
        images: ``img_align_celeba``: the images.
    """

    attributes: Path
    partition: Path
    images: Path

    @classmethod
    def locate(cls) -> CelebA | None:
        """The files in ``POLYTASK_DATA``, ``celeba`` below it, or the user's cache; ``None`` where some are missing.

        Raises:
            UserError: ``POLYTASK_DATA`` is set to something that is not a folder.
        """
        for place in candidates(FOLDERS):
            found = [_within(place, name) for name in (_ATTRIBUTES, _PARTITION, _IMAGES)]
            attributes, partition, images = found
            if attributes is not None and partition is not None and images is not None:
                return cls(attributes, partition, images)
        return None

    @classmethod
    def absent(cls) -> str:
        """Why there is nothing to read, and what to do."""
        return (
            f"{_ATTRIBUTES}, {_PARTITION} and {_IMAGES}/ are not in {looked_in(FOLDERS)}; the images may be had for "
            f"non-commercial research from {HOMEPAGE}"
        )

    def parts(self, *, size: int = 64, limit: int | None = None) -> Mapping[str, LabelledImages]:
        """The publisher's three parts, images of ``size`` by ``size`` pixels in red, green and blue.

        Every image is scaled as a whole (bilinear), not cut, as in the paper's code. Scaled images are kept in the
        user's cache and mapped from there: all of them in 64 by 64 take 2.5 GB of disk.

        Args:
            size: Height and width.
            limit: At most so many images of every part; all by default.

        Returns:
            Images ``[N, 3, size, size]``, labels ``[40, N]`` of classes 0 and 1, tasks named by the attributes.

        Raises:
            UserError: The files contradict each other, an image is missing or cannot be read.
            MissingExtraError: Pillow is not installed.
        """
        names, files, labels = self._attributes()
        placed, part = self._partition()
        if not np.array_equal(files, placed):
            what = f"its {len(placed):,} files are not the {len(files):,} of {self.attributes.name}, in the same order"
            raise UserError(Problem(str(self.partition), what, "take both lists from one download"))
        found: dict[str, LabelledImages] = {}
        for number, name in enumerate(PARTS):
            rows = np.flatnonzero(part == number)[:limit]
            if not len(rows):
                raise UserError(Problem(str(self.partition), f"no image has the number {number} ({name})"))
            pixels = self._pixels(files[rows].tolist(), size)
            found[name] = LabelledImages(pixels, np.ascontiguousarray(labels[:, rows]), names)
        return found

    def _attributes(self) -> tuple[tuple[str, ...], npt.NDArray[np.str_], npt.NDArray[np.int64]]:
        with self.attributes.open(encoding="utf-8") as file:
            count, names = file.readline().strip(), tuple(file.readline().split())
        files, values = _columns(self.attributes, skip=2, width=len(names))
        problems = []
        if count != str(len(files)):
            problems.append(f"announces {count} images and lists {len(files):,}")
        if not np.isin(values, (-1, 1)).all():
            problems.append(f"row {int(np.flatnonzero(~np.isin(values, (-1, 1)).all(1))[0])} holds other than 1 and -1")
        if problems:
            raise UserError(Problem(str(self.attributes), what, f"fetch it again: {HOMEPAGE}") for what in problems)
        return names, files, (values.T > 0).astype(np.int64)

    def _partition(self) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
        files, values = _columns(self.partition, skip=0, width=1)
        return files, values[:, 0]

    def _pixels(self, files: Sequence[str], size: int) -> UInt8[np.ndarray, "images 3 size size"]:
        """From the cache, or scaled now."""
        paths = [self.images / file for file in files]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            what = f"{len(missing):,} images of the lists are missing (first: {missing[0]})"
            raise UserError(Problem(str(self.images), what, f"unpack {_IMAGES}.zip again"))
        identity = [f"{size}", *(f"{path.name} {path.stat().st_size}" for path in paths)]
        key = sha256("\n".join(identity).encode()).hexdigest()[:16]
        cached = cache_folder() / "prepared" / f"celeba-{key}.npy"
        if not cached.is_file():
            make_folder(cached.parent)
            with whole_file(cached) as partial:
                kept = np.lib.format.open_memmap(
                    partial, mode="w+", dtype=np.uint8, shape=(len(paths), 3, size, size)
                )  # fmt: skip
                for first, block in _scaled(paths, size):
                    kept[first : first + len(block)] = block
                kept.flush()
        return np.load(cached, mmap_mode="r", allow_pickle=False)


def _scaled(paths: Sequence[Path], size: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Blocks of images, each with the number of its first one."""
    pillow = require_pillow()

    def one(path: Path) -> npt.NDArray[np.uint8]:
        try:
            with pillow.open(path) as image:
                small = image.convert("RGB").resize((size, size), pillow.Resampling.BILINEAR)
        except OSError as error:
            raise UserError(Problem(str(path), f"cannot be read ({error})", f"unpack {_IMAGES}.zip again")) from error
        return np.asarray(small).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        for first in range(0, len(paths), _CHUNK):
            yield first, np.stack(list(pool.map(one, paths[first : first + _CHUNK])))


def require_pillow() -> Any:
    """The module ``PIL.Image``, or `MissingExtraError`."""
    try:
        return importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise MissingExtraError("pillow", extra="images", purpose="reading images") from error


def _within(place: Path, name: str) -> Path | None:
    return next((path for folder in _WITHIN[name] if (path := place / folder / name).exists()), None)


def _columns(file: Path, *, skip: int, width: int) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """The names in the first column, and ``width`` whole numbers beside each."""
    try:
        names = np.loadtxt(file, dtype=np.str_, skiprows=skip, usecols=0, ndmin=1)
        values = np.loadtxt(file, dtype=np.int64, skiprows=skip, usecols=range(1, width + 1), ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(
            Problem(str(file), f"is not the publisher's ({error})", f"fetch it again: {HOMEPAGE}")
        ) from error
    return names, values
