"""Makes the simulator's rows, one chunk of 65,536 at a time; every chunk has a random generator of its own."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polytask.data.simulators import world as w
from polytask.data.simulators.world import Array, Entity, Index, make_world, popular

CHUNK: Final = 65_536
PILOT: Final = 16_384
HISTORY: Final = 8
LONG_VIEW_S: Final = 18.0
START_US: Final = 1_704_067_200_000_000  # 2024-01-01 00:00 UTC
DAY_US: Final = 86_400_000_000
USER_STEP: Final = 2_654_435_761  # odd, so that rank -> id is one to one modulo 2^40, and ids do not tell the rank
VIDEO_STEP: Final = 40_503_000_001
LABELS: Final = ("click", "long_view", "play_time_s", "like", "share", "follow")
TRUTH: Final = ("true_click", "true_like", "true_share", "true_follow", "true_log_play_ratio")
_BINARY: Final = (0, 2, 3, 4)  # where click, like, share, follow stand among the affinities
_PLAY: Final = 1

_CATEGORIES = pa.array(w.CATEGORIES)
_AGES = pa.array(w.AGE_BANDS)
_DEVICES = pa.array(w.DEVICES)
_NETWORKS = pa.array(w.NETWORKS)


def schema(truth: bool) -> pa.Schema:
    """The columns of a chunk."""
    text, small, big, real = pa.string(), pa.int8(), pa.int64(), pa.float32()
    columns = {
        "impression_id": big, "time": pa.timestamp("us"), "user_id": big, "video_id": big, "author_id": big,
        "age_band": text, "city_tier": small, "account_days": real, "category": text, "duration_s": real,
        "hour": small, "device": text, "network": text, "position": small, "recent_videos": pa.list_(big),
        "click": small, "long_view": small, "play_time_s": real, "like": small, "share": small, "follow": small,
    }  # fmt: skip
    return pa.schema({**columns, **dict.fromkeys(TRUTH if truth else (), real)})


class Chunker:
    """Turns a chunk's number into its rows.

    Args:
        rows: Impressions in all; they spread evenly over ``days``.
        users: Number of users.
        videos: Number of videos.
        seed: Of everything.
        days: Length of the log.
        signal: Weight of the affinities in the logits.
        user_skew: Popularity skew of users.
        video_skew: Popularity skew of videos.
        rates: Click rate, and like, share and follow rate among clicks.
        correlation: Of the affinities.
        truth: Whether the probabilities become columns.
    """

    def __init__(
        self,
        *,
        rows: int,
        users: int,
        videos: int,
        seed: int,
        days: int,
        signal: float,
        user_skew: float,
        video_skew: float,
        rates: tuple[float, float, float, float],
        correlation: npt.NDArray[np.float64],
        truth: bool,
    ) -> None:
        self.rows, self.users, self.videos, self.seed, self.days, self.truth = rows, users, videos, seed, days, truth
        self.signal, self.user_skew, self.video_skew = np.float32(signal), user_skew, video_skew
        self.world = make_world(self._generator(0, 0), correlation, videos, video_skew)
        self.account_days = _lognormal_quantiles(median=400.0, sigma=1.3)
        self.duration_s = _lognormal_quantiles(median=22.0, sigma=0.9)
        self.biases = np.zeros(4, dtype=np.float32)
        self.biases = self._calibrated(rates)

    def make(self, number: int) -> pa.RecordBatch:
        """The rows ``number * 65,536`` and following, 65,536 of them, whatever the number of rows in all."""
        rng = self._generator(2, number)
        ids = np.arange(number * CHUNK, (number + 1) * CHUNK, dtype=np.int64)
        time, hour = self._clock(ids, rng)
        user_ranks = popular(rng.random(CHUNK), self.users, self.user_skew)
        video_ranks = popular(rng.random(CHUNK), self.videos, self.video_skew)
        screen, position = _draw(rng, w.SCREEN_P, CHUNK), _draw(rng, w.POSITION_P, CHUNK)
        users, videos = self.world.users.read(user_ranks), self._videos(video_ranks)
        z = self.world.affinities(
            self.world.users.latent(users), self.world.videos.latent(videos), hour, screen, position
        )
        duration = self.duration_s[videos.quantile]
        labels = self._outcomes(z, duration, rng)
        unknown = rng.random(CHUNK, dtype=np.float32) < 0.02
        columns: dict[str, pa.Array] = {
            "impression_id": pa.array(ids),
            "time": pa.array(time, type=pa.timestamp("us")),
            "user_id": pa.array(_ids(user_ranks, USER_STEP)),
            "video_id": pa.array(_ids(video_ranks, VIDEO_STEP)),
            "author_id": pa.array(_ids(self._authors(video_ranks), USER_STEP)),
            "age_band": _AGES.take(pa.array(users.group // w.CITY_TIERS, mask=(users.spare & np.uint64(15)) == 0)),
            "city_tier": pa.array((users.group % w.CITY_TIERS + 1).astype(np.int8)),
            "account_days": pa.array(self.account_days[users.quantile], mask=(users.spare & np.uint64(0x1F0)) == 0),
            "category": _CATEGORIES.take(pa.array(videos.group)),
            "duration_s": pa.array(duration),
            "hour": pa.array(hour.astype(np.int8)),
            "device": _DEVICES.take(pa.array(screen // len(w.NETWORKS))),
            "network": _NETWORKS.take(pa.array(screen % len(w.NETWORKS), mask=unknown)),
            "position": pa.array(position.astype(np.int8)),
            "recent_videos": self._history(users, rng),
            **labels,
        }
        return pa.record_batch(columns, schema=schema(self.truth))

    def _outcomes(self, z: Array, duration: Array, rng: np.random.Generator) -> dict[str, pa.Array]:
        p = self._probabilities(z)
        drawn = rng.random(p.shape, dtype=np.float32) < p
        click = drawn[0]
        happened = (drawn & click).astype(np.int8)
        log_ratio = np.float32(0.6) * z[_PLAY] - np.float32(0.5)
        noise = np.float32(0.6) * rng.standard_normal(CHUNK, dtype=np.float32)
        play = np.where(click, duration * np.exp(log_ratio + noise), np.float32(0.0))
        long_view = click & (play >= np.minimum(duration, np.float32(LONG_VIEW_S)))
        columns = {
            "click": pa.array(happened[0]),
            "long_view": pa.array(long_view.astype(np.int8)),
            "play_time_s": pa.array(play),
            "like": pa.array(happened[1], mask=~click),
            "share": pa.array(happened[2]),
            "follow": pa.array(happened[3]),
        }
        truth = dict(zip(TRUTH, (*p, log_ratio), strict=True)) if self.truth else {}
        return {**columns, **{name: pa.array(values) for name, values in truth.items()}}

    def _probabilities(self, z: Array) -> Array:
        """Click, and like, share and follow given a click: ``[4, rows]``."""
        logits = self.signal * z[list(_BINARY)] + self.biases[:, None]
        return _sigmoid(logits)

    def _calibrated(self, rates: tuple[float, float, float, float]) -> Array:
        """Biases that give the wanted rates on a pilot sample: bisection, likes and the rest weighted by clicks."""
        rng = self._generator(1, 0)
        users = self.world.users.read(popular(rng.random(PILOT), self.users, self.user_skew))
        videos = self._videos(popular(rng.random(PILOT), self.videos, self.video_skew))
        hour, screen, position = (_draw(rng, p, PILOT) for p in (w.ACTIVITY, w.SCREEN_P, w.POSITION_P))
        z = self.world.affinities(
            self.world.users.latent(users), self.world.videos.latent(videos), hour, screen, position
        )
        biases = np.zeros(4, dtype=np.float32)
        weights: Array = np.ones(PILOT, dtype=np.float32)
        for task, rate in enumerate(rates):
            low, high = -40.0, 40.0
            scaled = self.signal * z[_BINARY[task]]
            for _ in range(30):
                middle = (low + high) / 2
                found = np.average(_sigmoid(scaled + np.float32(middle)), weights=weights)
                low, high = (middle, high) if found < rate else (low, middle)
            biases[task] = (low + high) / 2
            if task == 0:
                weights = _sigmoid(scaled + biases[0])
        return biases

    def _clock(self, ids: Index, rng: np.random.Generator) -> tuple[Index, Index]:
        """Ascending microseconds and hours of the day; evenings are busier than nights."""
        share = (ids + rng.random(len(ids))) * (self.days / self.rows)
        day = np.floor(share)
        knots = np.concatenate([[0.0], np.cumsum(w.ACTIVITY)])
        hours = np.interp(share - day, knots, np.arange(25.0))
        time = START_US + day.astype(np.int64) * DAY_US + (hours * (DAY_US / 24)).astype(np.int64)
        return time, np.minimum(hours.astype(np.int64), 23)

    def _videos(self, ranks: Index) -> Entity:
        """Videos of one author share their style (`Entity.coarse`)."""
        entity = self.world.videos.read(ranks)
        style = self.world.videos.read(self._authors(ranks)).coarse
        return Entity(style, entity.fine, entity.group, entity.quantile, entity.spare)

    def _authors(self, ranks: Index) -> Index:
        """Authors have about five videos each."""
        return ranks % max(self.videos // 5, 1)

    def _history(self, users: Entity, rng: np.random.Generator) -> pa.ListArray:
        """Per row, a stretch of the favourites of users of that kind; its length belongs to the user, and may be 0."""
        start = rng.integers(0, w.POOL, size=(CHUNK, 1))
        items = self.world.favourites[users.coarse[:, None], (start + np.arange(HISTORY)) % w.POOL]
        lengths = ((users.spare >> np.uint64(9)) % np.uint64(HISTORY + 1)).astype(np.int32)
        offsets = np.zeros(CHUNK + 1, dtype=np.int32)
        np.cumsum(lengths, out=offsets[1:])
        kept = _ids(items[np.arange(HISTORY) < lengths[:, None]], VIDEO_STEP)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(kept))

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(purpose, number))))


def _sigmoid(logits: Array) -> Array:
    probabilities: Array = np.float32(1.0) / (np.float32(1.0) + np.exp(-logits))
    return probabilities


def _draw(rng: np.random.Generator, probability: npt.NDArray[np.float64], size: int) -> Index:
    drawn = np.searchsorted(np.cumsum(probability), rng.random(size), side="right")
    return np.minimum(drawn, len(probability) - 1).astype(np.int64)


def _ids(ranks: Index, step: int) -> Index:
    return ((ranks + 1) * step) & ((1 << 40) - 1)


def _lognormal_quantiles(median: float, sigma: float) -> Array:
    """The mid-points of `QUANTILES` equally likely parts of a log-normal distribution, by inversion of its integral."""
    grid = np.linspace(-4.0, 4.0, 8001)
    density = np.exp(-0.5 * grid**2)
    cumulated = np.cumsum(density) / density.sum()
    normal = np.interp((np.arange(w.QUANTILES) + 0.5) / w.QUANTILES, cumulated, grid)
    return (median * np.exp(sigma * normal)).astype(np.float32)
