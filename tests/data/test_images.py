"""MNIST, MultiMNIST and CelebA as arrays; the published loop over single images is the oracle of the vectorised one."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from polytask.data.images import CelebA, mnist, multi_mnist, overlay
from polytask.data.images.multi_mnist import CANVAS, SHIFT, SIDE
from polytask.errors import MissingExtraError, UserError

HAVE_MNIST = (Path(os.environ.get("POLYTASK_DATA", "missing")) / "mnist").is_dir()
needs_mnist = pytest.mark.skipif(not HAVE_MNIST, reason="POLYTASK_DATA names no folder with mnist in it")
NAMES = ("Bald", "Smiling", "Young")


def digits(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8) * (random.random((count, SIDE, SIDE)) < 0.2)


def published(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """What multi_mnist_loader.py does with one pair; imresize stretches grey values and lets Pillow scale."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is the oracle of the scaling")
    canvas = np.zeros((36, 36))
    canvas[0:28, 0:28] = left
    canvas[6:34, 6:34] = right
    canvas[6:28, 6:28] = np.maximum(left[6:28, 6:28], right[0:22, 0:22])
    stretched = (canvas - canvas.min()) * (255.0 / (canvas.max() - canvas.min()))
    grey = (stretched.clip(0, 255) + 0.5).astype(np.uint8)
    return np.asarray(image.fromarray(grey).resize((28, 28), image.Resampling.NEAREST))


def test_overlay_is_the_published_loop() -> None:
    left, right = digits(40, 1), digits(40, 2)
    left[:20] //= 3  # grey values are stretched
    right[:20] //= 4
    expected = np.stack([published(*pair) for pair in zip(left, right, strict=True)])
    np.testing.assert_array_equal(overlay(left, right), expected)


def test_overlay_of_nothing_is_nothing() -> None:
    none = np.zeros((2, SIDE, SIDE), dtype=np.uint8)
    assert not overlay(none, none).any()
    assert overlay(none[:0], none[:0]).shape == (0, SIDE, SIDE)
    assert SHIFT + SIDE <= CANVAS


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST of 300 and 50 digits; every digit's class is written in its first pixel."""

    def fake(split: str) -> tuple[np.ndarray, np.ndarray]:
        found = digits(300 if split == "train" else 50, seed=len(split))
        classes = np.random.default_rng(0).integers(0, 10, len(found))
        found[:, 0, 0] = 20 * classes
        found[:, 14, 14] = 255
        return found, classes

    # the package has a function of the module's name
    monkeypatch.setattr(sys.modules["polytask.data.images.multi_mnist"], "mnist", fake)


@pytest.mark.usefixtures("small")
def test_every_digit_is_a_left_one_once() -> None:
    parts = multi_mnist(validation=100, seed=3)
    assert {name: part.pixels.shape for name, part in parts.items()} == {
        "train": (200, 1, 28, 28), "validation": (100, 1, 28, 28), "test": (50, 1, 28, 28),
    }  # fmt: skip
    for part in parts.values():
        assert part.pixels.dtype == np.uint8
        assert part.tasks == ("left", "right")
        assert part.labels.shape == (2, len(part))
        np.testing.assert_array_equal(part.pixels[:, 0, 0, 0], 20 * part.labels[0])
    assert set(multi_mnist()) == {"train", "test"}
    assert len(multi_mnist()["train"]) == 300


@pytest.mark.usefixtures("small")
def test_pairs_follow_the_seed() -> None:
    one, same, other = (multi_mnist(validation=100, seed=seed)["train"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.pixels, same.pixels)
    assert not np.array_equal(one.labels[1], other.labels[1])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [-1, 300])
def test_validation_leaves_some_for_training(count: int) -> None:
    with pytest.raises(UserError, match=f"validation: {count} given for 300 training digits; leave some for training"):
        multi_mnist(validation=count)


def test_absent_mnist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte and .* are not in .*set POLYTASK_DATA"):
        mnist("train")


def test_other_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"no digits"))
    with pytest.raises(UserError, match="'t10k-images-idx3-ubyte' in it is not the publisher's"):
        mnist("test")


@needs_mnist
def test_mnist_is_read() -> None:
    images, labels = mnist("test")
    assert images.shape == (10_000, 28, 28)
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert images.mean() / 255 == pytest.approx(0.1325, abs=1e-4)


def celeba(folder: Path, *, nested: bool = False, counts: tuple[int, int, int] = (6, 3, 2)) -> Path:
    """The publisher's layout with small images: Bald ones are bright."""
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the images")
    home = folder / "celeba"
    places = [home / part if nested else home for part in ("Anno", "Eval", "Img")]
    for place in (*places, places[2] / "img_align_celeba"):
        place.mkdir(parents=True, exist_ok=True)
    random, total = np.random.default_rng(0), sum(counts)
    values = random.choice([-1, 1], (total, len(NAMES)))
    files = [f"{number:06d}.jpg" for number in range(1, total + 1)]
    for file, row in zip(files, values, strict=True):
        pixels = np.full((22, 18, 3), 200 if row[0] > 0 else 40, dtype=np.uint8)
        image.fromarray(pixels).save(places[2] / "img_align_celeba" / file)
    rows = [f"{file} " + " ".join(f"{value:2d}" for value in row) for file, row in zip(files, values, strict=True)]
    (places[0] / "list_attr_celeba.txt").write_text("\n".join([str(total), " ".join(NAMES), *rows, ""]))
    parts = np.repeat([0, 1, 2], counts)
    lines = [f"{file} {part}" for file, part in zip(files, parts, strict=True)]
    (places[1] / "list_eval_partition.txt").write_text("\n".join([*lines, ""]))
    return home


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    return tmp_path


def located() -> CelebA:
    found = CelebA.locate()
    assert found is not None
    return found


@pytest.mark.parametrize("nested", [False, True])
def test_celeba_is_read_in_both_layouts(faces: Path, nested: bool) -> None:
    celeba(faces, nested=nested)
    parts = located().parts(size=8)
    assert {name: part.pixels.shape for name, part in parts.items()} == {
        "train": (6, 3, 8, 8), "validation": (3, 3, 8, 8), "test": (2, 3, 8, 8),
    }  # fmt: skip
    for part in parts.values():
        assert part.tasks == NAMES
        assert part.labels.shape == (3, len(part))
        np.testing.assert_array_equal(part.pixels[:, 0, 4, 4] > 120, part.labels[0])


def test_scaled_images_are_kept(faces: Path) -> None:
    home = celeba(faces)
    before = located().parts(size=8)["train"].pixels.copy()
    kept = sorted((faces / "cache" / "prepared").glob("celeba-*.npy"))
    assert len(kept) == 3
    times = [file.stat().st_mtime_ns for file in kept]
    np.testing.assert_array_equal(located().parts(size=8)["train"].pixels, before)
    assert [file.stat().st_mtime_ns for file in kept] == times
    assert len(located().parts(size=8, limit=2)["train"]) == 2
    (home / "img_align_celeba" / "000002.jpg").unlink()
    with pytest.raises(UserError, match=r"1 images of the lists are missing \(first: 000002.jpg\)"):
        located().parts(size=8)


def test_absent_celeba_is_explained(faces: Path) -> None:
    assert CelebA.locate() is None
    assert "non-commercial" in CelebA.absent()
    assert str(faces / "celeba") in CelebA.absent()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "11\n", "12\n", "announces 12 images and lists 11"),
        ("list_attr_celeba.txt", "000001.jpg  1", "000001.jpg  0", "row 0 holds other than 1 and -1"),
        ("list_attr_celeba.txt", "000001.jpg  1", "000001.jpg  x", "is not the publisher's"),
        ("list_eval_partition.txt", "000001.jpg", "000099.jpg", "are not the 11 of list_attr_celeba.txt"),
        ("list_eval_partition.txt", " 2", " 1", r"no image has the number 2 \(test\)"),
    ],
)
def test_contradictions_are_found(faces: Path, file: str, old: str, new: str, message: str) -> None:
    home = celeba(faces)
    text = (home / file).read_text()
    assert old in text
    (home / file).write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message):
        located().parts(size=8)


def test_a_damaged_image_is_named(faces: Path) -> None:
    home = celeba(faces)
    (home / "img_align_celeba" / "000003.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"000003.jpg: cannot be read"):
        located().parts(size=8)
    assert not list((faces / "cache" / "prepared").glob("celeba-*"))


def test_pillow_is_asked_for(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    celeba(faces)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"package 'pillow'.*pip install 'polytask\[images\]'"):
        located().parts(size=8)
