"""A short-video log of any size with known truth: expose -> watch -> like, share, follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from polytask.data.named.dataset import SPLITS, PreparedDataset
from polytask.data.named.places import cache_folder
from polytask.data.simulators import chunk as chunks
from polytask.data.simulators.chunk import CHUNK, Chunker
from polytask.data.simulators.world import CORRELATED, CORRELATION
from polytask.errors import Problem, UserError, raise_errors
from polytask.types import LabelSpec

VERSION: Final = 1
"""Part of the name of what `ShortVideo.prepare` keeps; raise it when the rows change."""

TASKS: Final = (
    LabelSpec("click", "binary", "click", group="user_id"),
    LabelSpec("long_view", "binary", "long_view", group="user_id"),
    LabelSpec("like", "binary", "like", group="user_id"),  # missing where there was no click
    LabelSpec("share", "binary", "share", where="click == 1", group="user_id"),
    LabelSpec("follow", "binary", "follow", group="user_id"),
    LabelSpec("play_time", "regression", "play_time_s", where="click == 1", group="user_id"),
)
_OUTCOME = "known only after the impression"
DROPPED: Final = {
    "impression_id": "numbers the rows",
    "time": "the split is by time, so values of the test rows do not occur in training",
    **dict.fromkeys(chunks.LABELS, _OUTCOME),
}
KINDS: Final = {
    **dict.fromkeys(("user_id", "video_id", "author_id", "age_band", "city_tier", "category"), "categorical"),
    **dict.fromkeys(("hour", "device", "network", "position"), "categorical"),
    **dict.fromkeys(("account_days", "duration_s"), "numeric"),
    "recent_videos": "sequence",
}
_RANGES: Final[tuple[tuple[str, float, float], ...]] = (
    ("rows", 1, 1 << 50),
    ("users", 1, 1 << 40),
    ("videos", 1, 1 << 40),
    ("seed", 0, 1 << 63),
    ("days", 1, 36_500),
    ("signal", 0.0, 20.0),
    ("user_skew", 1.0, 20.0),
    ("video_skew", 1.0, 20.0),
    ("click_rate", 1e-6, 0.999),
    ("like_rate", 1e-6, 0.999),
    ("share_rate", 1e-6, 0.999),
    ("follow_rate", 1e-6, 0.999),
)


@dataclass(frozen=True)
class ShortVideo:
    """Simulated impressions of short videos, streamed; the same rows for the same arguments.

    A row is shown to a user; with probability ``p_click = sigmoid(b + signal * z_click)`` it is watched; only what was
    watched can be liked, shared or lead to a follow, each with its own such probability, and has a play time
    ``duration * exp(.6 z_play_time + .6 noise - .5)`` in seconds. ``long_view`` means played to the end or for 18 s.
    The affinities ``z`` of a user for a video are described in `polytask.data.simulators.world`.

    Users and videos follow a long tail. ``like`` is missing where there was no click; ``share``, ``follow`` and
    ``play_time_s`` are 0 there. Some ages, account ages and networks are missing. ``recent_videos`` lists up to eight
    videos that such a user watched.

    Args:
        rows: Impressions.
        users: Different users, fewer than 2^40.
        videos: Different videos, fewer than 2^40.
        seed: Every number follows from it.
        days: How many days, from 1 January 2024, the impressions spread over.
        signal: How strongly affinities drive the outcomes; 0 makes the labels pure noise.
        user_skew: 1 is uniform; larger makes the head of users heavier.
        video_skew: The same for videos.
        click_rate: Wanted share of impressions that are clicked.
        like_rate: Wanted share of clicks that are liked.
        share_rate: Wanted share of clicks that are shared.
        follow_rate: Wanted share of clicks that lead to a follow.
        correlation: Correlation matrix of the affinities, in the order of `correlated_tasks`.
        truth: Add columns ``true_click`` ... with the probabilities the labels were drawn from. They are the answer,
            never features.

    Raises:
        UserError: An argument is out of range, or ``correlation`` is not a correlation matrix.

    Example:
        >>> simulator = ShortVideo(rows=1000, seed=7)
        >>> batch = next(simulator.batches(100))
        >>> batch.num_rows, batch.schema.field("user_id").type
        (100, DataType(int64))
        >>> simulator.correlated_tasks
        ('click', 'play_time', 'like', 'share', 'follow')
        >>> float(simulator.task_correlation[0, 1])
        0.6
    """

    rows: int = 200_000
    users: int = 50_000
    videos: int = 20_000
    seed: int = 0
    days: int = 14
    signal: float = 1.2
    user_skew: float = 1.5
    video_skew: float = 2.5
    click_rate: float = 0.42
    like_rate: float = 0.04
    share_rate: float = 0.008
    follow_rate: float = 0.005
    correlation: tuple[tuple[float, ...], ...] = CORRELATION
    truth: bool = False
    _chunker: Chunker = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        raise_errors(self._problems())
        rates = (self.click_rate, self.like_rate, self.share_rate, self.follow_rate)
        chunker = Chunker(
            rows=self.rows, users=self.users, videos=self.videos, seed=self.seed, days=self.days, signal=self.signal,
            user_skew=self.user_skew, video_skew=self.video_skew, rates=rates,
            correlation=self.task_correlation, truth=self.truth,
        )  # fmt: skip
        object.__setattr__(self, "_chunker", chunker)

    @property
    def task_correlation(self) -> npt.NDArray[np.float64]:
        """The true correlations between the affinities of `correlated_tasks`."""
        return np.array(self.correlation, dtype=np.float64)

    @property
    def correlated_tasks(self) -> tuple[str, ...]:
        """The tasks with an affinity of their own, in the order of `task_correlation`; long view follows play time."""
        return CORRELATED

    @property
    def tasks(self) -> tuple[LabelSpec, ...]:
        """The suggested tasks: one with missing labels, two with a sample space, one regression."""
        return TASKS

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        return chunks.schema(self.truth)

    def batches(self, batch_rows: int = CHUNK, *, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        """Rows ``start`` to ``stop`` in time order, in batches of at most ``batch_rows``.

        A row does not depend on ``batch_rows``, ``start`` or ``stop``; memory depends on none of the sizes.
        """
        end = self.rows if stop is None else min(stop, self.rows)
        at = max(start, 0)
        while at < end:
            number = at // CHUNK
            chunk_end = min(end, (number + 1) * CHUNK)
            batch = self._chunker.make(number)
            while at < chunk_end:
                size = min(batch_rows, chunk_end - at)
                yield batch.slice(at - number * CHUNK, size)
                at += size

    def write_parquet(
        self,
        path: Path,
        *,
        start: int = 0,
        stop: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Streams rows ``start`` to ``stop`` to one Parquet file with row groups of 65,536; returns ``path``.

        The file appears under its name only when it is complete.

        Args:
            path: The file; missing folders are made.
            start: First row.
            stop: One past the last row; all rows by default.
            progress: Called with (rows written, rows in all) after every row group.

        Raises:
            UserError: The file cannot be written.
        """
        total = max((self.rows if stop is None else min(stop, self.rows)) - max(start, 0), 0)
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._stream(part, start, stop, total, progress)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            what = f"cannot be written ({error.strerror or error})"
            raise UserError(Problem(str(path), what, "make room or choose another folder")) from error
        return path

    def prepare(self, cache: Path | None = None, progress: Callable[[int, int], None] | None = None) -> PreparedDataset:
        """Train, validation and test files (80, 10 and 10 % of the rows, in time order), written once and kept.

        Args:
            cache: Where they are kept; the user's cache by default.
            progress: Called with (rows written, rows in all).

        Raises:
            UserError: The cache cannot be written.
        """
        folder = (cache_folder() if cache is None else cache) / "simulated" / f"short-video-{self._key()}"
        borders = (0, self.rows * 8 // 10, self.rows * 9 // 10, self.rows)
        rows = {split: borders[i + 1] - borders[i] for i, split in enumerate(SPLITS)}
        for i, split in enumerate(SPLITS):
            path = folder / f"{split}.parquet"
            if not path.is_file():
                report = None if progress is None else _shifted(progress, borders[i], self.rows)
                self.write_parquet(path, start=borders[i], stop=borders[i + 1], progress=report)
        return self._prepared(folder, rows)

    def _stream(
        self, part: Path, start: int, stop: int | None, total: int, progress: Callable[[int, int], None] | None
    ) -> None:
        done = 0
        with pq.ParquetWriter(part, self.schema, compression="zstd") as writer:
            for batch in self.batches(start=start, stop=stop):
                writer.write_batch(batch, row_group_size=CHUNK)
                done += batch.num_rows
                if progress is not None:
                    progress(done, total)

    def _prepared(self, folder: Path, rows: Mapping[str, int]) -> PreparedDataset:
        answers = {name: "the probability the label was drawn from" for name in chunks.TRUTH if self.truth}
        return PreparedDataset(
            name="simulator:short-video",
            train=folder / "train.parquet",
            validation=folder / "validation.parquet",
            test=folder / "test.parquet",
            rows=rows,
            tasks=TASKS,
            dropped={**DROPPED, **answers},
            kinds=KINDS,
            split="by time: the first 80 %, the next 10 % and the last 10 % of the impressions",
            keys=("impression_id",),
            group="user_id",
        )

    def _key(self) -> str:
        return sha256(f"{VERSION} {self!r}".encode()).hexdigest()[:16]

    def _problems(self) -> Iterator[Problem]:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                yield Problem(name, f"is {value}", f"choose a value between {low} and {high}")
        matrix = self.task_correlation
        size = len(CORRELATED)
        if matrix.shape != (size, size):
            yield Problem("correlation", f"has shape {matrix.shape}", f"give {size} rows of {size}: {CORRELATED}")
        elif not np.allclose(matrix, matrix.T) or not np.allclose(matrix.diagonal(), 1.0):
            yield Problem("correlation", "is not symmetric with ones on the diagonal", "give a correlation matrix")
        elif (smallest := float(np.linalg.eigvalsh(matrix)[0])) < -1e-9:
            what = f"is not positive semi-definite (smallest eigenvalue {smallest:.3g})"
            yield Problem("correlation", what, "no variables have these correlations; move the values towards 0")


def _shifted(progress: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, of: progress(before + done, total)
