"""The hidden side of the short-video simulator: who likes what, in tables of bounded size.

A user, a video and a context each have a latent vector of ``K = 8`` numbers with mean 0 and covariance I. They mix into

    phi = sqrt(.25) U + sqrt(.35) V + sqrt(.30) U * V + sqrt(.10) X        (mean 0, covariance I)

and task ``t`` looks at it along its own direction: ``z_t = w_t . phi``. The directions satisfy ``W W^T = C``, so the
matrix ``C``, which the user chooses, is both the cosine between the tasks' weight vectors and the correlation of their
affinities (the construction of the synthetic data of Ma et al. 2018, section 3.2, for any number of tasks).

A latent vector is the sum of rows of small tables, chosen by bits of a hash of the id. So memory does not grow with
users or videos, and visible attributes (age band, category, author ...) that share those bits tell of the vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from polytask.data.hashing import splitmix64

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

K: Final = 8
CORRELATED: Final = ("click", "play_time", "like", "share", "follow")
CORRELATION: Final = (
    (1.0, 0.6, 0.3, 0.2, -0.2),
    (0.6, 1.0, 0.5, 0.3, 0.2),
    (0.3, 0.5, 1.0, 0.6, 0.4),
    (0.2, 0.3, 0.6, 1.0, 0.3),
    (-0.2, 0.2, 0.4, 0.3, 1.0),
)

AGE_BANDS: Final = ("0-12", "13-17", "18-23", "24-30", "31-40", "41-49", "50-59", "60+")
CATEGORIES: Final = (
    "comedy", "music", "dance", "food", "travel", "pets", "sports", "fitness", "beauty", "fashion", "games", "cars",
    "news", "science", "school", "finance", "family", "crafts", "garden", "film", "series", "street", "health", "other",
)  # fmt: skip
DEVICES: Final = ("phone", "tablet", "desktop", "tv")
NETWORKS: Final = ("wifi", "5g", "4g")
CITY_TIERS: Final = 5
POSITIONS: Final = 20
QUANTILES: Final = 64
POOL: Final = 16
ARCHETYPES: Final = 1024
GROUP_ROWS: Final = 1024
FINE: Final = 16_384


def geometric(size: int, ratio: float) -> npt.NDArray[np.float64]:
    """Probabilities that fall by the factor ``ratio`` from one value to the next."""
    weights = ratio ** np.arange(size)
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities


AGE_P: Final = np.array([0.03, 0.10, 0.22, 0.25, 0.20, 0.11, 0.06, 0.03])
SEGMENT_P: Final = np.outer(AGE_P, geometric(CITY_TIERS, 0.8)).ravel()
CATEGORY_P: Final = geometric(len(CATEGORIES), 0.92)
SCREEN_P: Final = np.outer([0.85, 0.06, 0.06, 0.03], [0.55, 0.25, 0.20]).ravel()
POSITION_P: Final = geometric(POSITIONS, 0.88)
ACTIVITY: Final = np.array([5, 3, 2, 1, 1, 1, 2, 4, 6, 6, 6, 7, 9, 8, 6, 6, 6, 7, 9, 11, 13, 14, 12, 8]) / 153.0


@dataclass(frozen=True, slots=True)
class Entity:
    """What the bits of a hash say about users or about videos.

    Attributes:
        coarse: Rows of the table of archetypes (users), or of authors' styles (videos).
        fine: Rows of the table of individual taste.
        group: Rows of the table of the visible group: age band and city tier of a user, category of a video.
        quantile: Which 64th of the skewed numeric (account age, duration) it falls into.
        spare: Bits used by nothing else.
    """

    coarse: Index
    fine: Index
    group: Index
    quantile: Index
    spare: Bits


@dataclass(frozen=True, slots=True)
class Side:
    """The latent tables of users or of videos, scaled so that a sum of one row of each has covariance I."""

    salt: int
    coarse: Array
    fine: Array
    group: Array
    quantile: Array
    groups: Index

    def read(self, ranks: Index) -> Entity:
        """The bits of the entities with these popularity ranks."""
        bits = splitmix64(ranks.astype(np.uint64) ^ np.uint64(self.salt))
        return Entity(
            coarse=_field(bits, 0, ARCHETYPES),
            fine=_field(bits, 10, FINE),
            group=self.groups[_field(bits, 24, len(self.groups))],
            quantile=_field(bits, 34, QUANTILES),
            spare=bits >> np.uint64(40),
        )

    def latent(self, entity: Entity) -> Array:
        """The latent vectors, ``[rows, K]``."""
        vectors = self.coarse[entity.coarse]
        vectors += self.fine[entity.fine]
        vectors += self.group[entity.group]
        vectors += self.quantile[entity.quantile]
        return vectors


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is drawn once per seed."""

    directions: Array
    users: Side
    videos: Side
    hour: Array
    screen: Array
    position: Array
    favourites: npt.NDArray[np.int64]

    def affinities(self, user: Array, video: Array, hour: Index, screen: Index, position: Index) -> Array:
        """``z``, one row per task: ``[tasks, rows]``, each of mean 0 and variance 1."""
        phi = user * video
        phi *= np.float32(0.30**0.5)
        phi += np.float32(0.25**0.5) * user
        phi += np.float32(0.35**0.5) * video
        phi += self.hour[hour]
        phi += self.screen[screen]
        phi += self.position[position]
        affinities: Array = self.directions @ phi.T
        return affinities


def make_world(rng: np.random.Generator, correlation: npt.NDArray[np.float64], videos: int, skew: float) -> World:
    """Draws the tables, the tasks' directions, and every user archetype's favourite videos."""
    rotation, _ = np.linalg.qr(rng.standard_normal((K, K)))
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    directions = (root @ rotation[: len(root)]).astype(np.float32)
    user_side = _side(rng, SEGMENT_P, coarse=0.35, fine=0.25, group=0.30, quantile=0.10)
    video_side = _side(rng, CATEGORY_P, coarse=0.25, fine=0.30, group=0.35, quantile=0.10)
    return World(
        directions=directions,
        users=user_side,
        videos=video_side,
        hour=_table(rng, ACTIVITY, 0.03),
        screen=_table(rng, SCREEN_P, 0.04),
        position=_table(rng, POSITION_P, 0.03),
        favourites=_favourites(rng, user_side, video_side, videos, skew),
    )


def popular(uniform: npt.NDArray[np.float64], size: int, skew: float) -> Index:
    """Ranks ``0 .. size - 1``; the first ``k`` of them have the share ``(k / size) ** (1 / skew)``.

    Example:
        >>> popular(np.array([0.0, 0.5, 0.999]), 100, 2.0).tolist()
        [0, 25, 99]
    """
    ranks = (size * uniform**skew).astype(np.int64)
    return np.minimum(ranks, size - 1)


def _side(
    rng: np.random.Generator,
    groups: npt.NDArray[np.float64],
    *,
    coarse: float,
    fine: float,
    group: float,
    quantile: float,
) -> Side:
    counts = np.maximum(np.round(groups * GROUP_ROWS), 1).astype(np.int64)
    rows = np.resize(np.repeat(np.arange(len(groups)), counts), GROUP_ROWS)
    return Side(
        salt=int(rng.integers(1 << 40, 1 << 62)),
        coarse=_table(rng, np.full(ARCHETYPES, 1 / ARCHETYPES), coarse),
        fine=_table(rng, np.full(FINE, 1 / FINE), fine),
        group=_table(rng, np.bincount(rows, minlength=len(groups)) / GROUP_ROWS, group),
        quantile=_table(rng, np.full(QUANTILES, 1 / QUANTILES), quantile),
        groups=rows,
    )


def _table(rng: np.random.Generator, probability: npt.NDArray[np.float64], variance: float) -> Array:
    """Random vectors with mean 0 and covariance ``variance * I`` under ``probability``, exactly."""
    table = rng.standard_normal((len(probability), K))
    table -= probability @ table
    covariance = (table * probability[:, None]).T @ table
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), table.T).T
    scaled: Array = (whitened * variance**0.5).astype(np.float32)
    return scaled


def _favourites(rng: np.random.Generator, users: Side, videos: Side, size: int, skew: float) -> npt.NDArray[np.int64]:
    """Per user archetype `POOL` videos, each the best match of eight popular ones: what such users clicked before."""
    ranks = popular(rng.random(ARCHETYPES * POOL * 8), size, skew)
    latent = videos.latent(videos.read(ranks)).reshape(ARCHETYPES, POOL * 8, K)
    match = np.einsum("apk,ak->ap", latent, users.coarse).reshape(ARCHETYPES, POOL, 8)
    best = match.argmax(axis=2)[:, :, None]
    chosen: npt.NDArray[np.int64] = np.take_along_axis(ranks.reshape(ARCHETYPES, POOL, 8), best, axis=2)[:, :, 0]
    return chosen


def _field(bits: Bits, shift: int, size: int) -> Index:
    return ((bits >> np.uint64(shift)) & np.uint64(size - 1)).astype(np.int64)
