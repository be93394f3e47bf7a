"""KuaiRand-Pure: 228,329 impressions of short videos, 25 April to 8 May 2022, with users and videos joined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from polytask.data.named.dataset import Download, NamedDataset, PreparedDataset, Protocol
from polytask.data.named.raw import RawFile
from polytask.types import LabelSpec

REPOSITORY = "https://raw.githubusercontent.com/wmyh-0416/kuairand-short-video-recommender"
COMMIT = "59b6e92272c505b0d90bc6279acc42c9bc575b7a"

FILES = (
    RawFile("val.parquet", 2_857_855, "77d41160c6ad7b67ea9497881c965d7650d3e1b494c3f3b1dfcf8df11e6395c0"),
    RawFile("test.parquet", 3_952_256, "afe40f62090c7cf086700038c7f754b9598e4f3b7e2d3fd923fe662e30ea01cb"),
    RawFile("user_features_pure.csv", 3_519_028, "dc729a656301b4c6d07f713fe41d05ec9bfaab670b90e531c70037caf033c011"),
    RawFile(
        "video_features_basic_pure.csv", 626_669, "a6f7ee02684c5777422306cdc416e170302288aa89aca9dfea995edbd625bcc2"
    ),
)
PATHS = ("processed/splits", "processed/splits", "KuaiRand-Pure/data", "KuaiRand-Pure/data")

CODES = tuple(f"onehot_feat{number}" for number in range(18))
USER = (
    "user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author",
    "follow_user_num", "follow_user_num_range", "fans_user_num", "fans_user_num_range",
    "friend_user_num", "friend_user_num_range", "register_days", "register_days_range", *CODES,
)  # fmt: skip
VIDEO = ("video_type", "upload_type", "visible_status", "server_width", "server_height", "music_id", "music_type")
# Numbers with a decimal point in the publisher's CSV, because they have gaps: read as what they are.
WHOLE = ("visible_status", "server_width", "server_height", "music_type", *CODES)

OUTCOMES = (
    "is_click", "long_view", "is_like", "is_profile_enter", "is_follow", "is_comment", "is_forward", "is_hate",
    "play_time_ms", "profile_stay_time", "comment_stay_time", "watch_ratio", "finish", "is_positive",
)  # fmt: skip
_OUTCOME = "known only after the impression"
_CONSTANT = "the same in every row"
_CALENDAR = "tells the date: the split is by time, so values of the test rows do not occur in training"
# `is_rand` (was the video inserted at random?) is known before the impression and would be a feature, but here it is
# always 0. `freshness_days` is the date minus the upload date, and all uploads are of three days.
DROPPED = {
    **dict.fromkeys(OUTCOMES, _OUTCOME),
    **dict.fromkeys(("time_ms", "date", "freshness_days"), _CALENDAR),
    **dict.fromkeys(("is_rand", "is_lowactive_period", "visible_status"), _CONSTANT),
}
KINDS = {
    **dict.fromkeys(("user_id", "video_id", "author_id", "music_id"), "categorical"),
    **dict.fromkeys(("hour", "tab", "upload_date", "video_type", "upload_type", "music_type"), "categorical"),
    "tag": "sequence",
    **dict.fromkeys(("duration_ms", "server_width", "server_height"), "numeric"),
    **dict.fromkeys(("user_active_degree", "is_live_streamer", "is_video_author"), "categorical"),
    **dict.fromkeys(("follow_user_num", "fans_user_num", "friend_user_num", "register_days"), "numeric"),
    **dict.fromkeys([column for column in USER if column.endswith("_range")], "categorical"),
    **dict.fromkeys(CODES, "categorical"),
}

TASKS = tuple(
    LabelSpec(task, "binary", column, group="user_id")
    for task, column in {
        "click": "is_click", "long_view": "long_view", "like": "is_like", "profile": "is_profile_enter",
        "follow": "is_follow", "comment": "is_comment", "forward": "is_forward",
    }.items()
)  # fmt: skip
PLAY_TIME = LabelSpec("play_time", "regression", "play_time_ms", group="user_id")


class KuaiRand(NamedDataset):
    """KuaiRand-Pure as split by a public repository: train on 25-30 April, validate and test on 1-8 May.

    The earlier part of the data set (8-24 April) is not in that repository, which divides by the column ``date``: the
    first 1 May rows by ``time_ms`` lie up to 49 minutes before the last 30 April rows.
    """

    name: ClassVar[str] = "kuairand"
    description: ClassVar[str] = (
        "228,329 impressions of short videos with user and video tables joined; tasks: click, long view, like, "
        "profile, follow, comment, forward, and play time as an optional eighth"
    )
    licence: ClassVar[str] = "CC BY-SA 4.0"
    citation: ClassVar[str] = (
        "Gao et al. 2022. KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos. "
        "CIKM. doi:10.1145/3511808.3557624"
    )
    homepage: ClassVar[str] = "https://kuairand.com"
    folders: ClassVar[tuple[str, ...]] = ("kuairand_pure", "kuairand", "KuaiRand-Pure")
    protocols: ClassVar[Mapping[str, Protocol]] = {
        "with-play-time": Protocol(
            "the seven binary tasks, and play time in milliseconds as an eighth (regression)",
            (*TASKS, PLAY_TIME),
            DROPPED,
        )
    }
    files: ClassVar[tuple[RawFile, ...]] = FILES
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(f"{REPOSITORY}/{COMMIT}/{path}/{file.name}", file.name, file.sha256, file.size)
        for path, file in zip(PATHS, FILES, strict=True)
    )
    converter: ClassVar[int] = 1

    def convert(self, raw: Mapping[str, bytes]) -> Mapping[str, pa.Table]:
        """Joins users and videos to the impressions; validation is the first third of the test file in time order."""
        users = _read_csv(raw["user_features_pure.csv"], ("user_id", *USER))
        videos = _read_csv(raw["video_features_basic_pure.csv"], ("video_id", *VIDEO))

        def joined(name: str) -> pa.Table:
            log = clean(pq.read_table(pa.BufferReader(raw[name]), use_threads=False))
            return lookup(lookup(log, users, "user_id"), videos, "video_id")

        later = joined("test.parquet")
        third = later.num_rows // 3
        return {"train": joined("val.parquet"), "validation": later.slice(0, third), "test": later.slice(third)}

    def summary(self, folder: Path, rows: Mapping[str, int]) -> PreparedDataset:
        """Tasks, columns and splits of the converted files."""
        return PreparedDataset(
            name=self.name,
            train=folder / "train.parquet",
            validation=folder / "validation.parquet",
            test=folder / "test.parquet",
            rows=rows,
            tasks=TASKS,
            dropped=DROPPED,
            kinds=KINDS,
            split="by time: 25-30 April; then the first third and the other two thirds of 1-8 May",
            keys=("user_id", "video_id", "time_ms"),
            group="user_id",
            protocols=self.protocols,
        )


def clean(log: pa.Table) -> pa.Table:
    """The impressions in time order, with the hour, the tags as a list, and no column twice.

    A ``duration_ms`` of 0 stands for a missing ``video_duration``, with which it agrees otherwise; ``like`` and
    ``long_watch`` repeat ``is_like`` and ``long_view``; ``source_file`` is a constant.
    """
    log = log.take(pc.array_sort_indices(log["time_ms"]))
    tags = pc.if_else(pc.equal(log["tag"], "unknown"), pa.scalar(None, pa.string()), log["tag"])
    duration = pc.if_else(pc.equal(log["duration_ms"], 0), pa.scalar(None, pa.int64()), log["duration_ms"])
    columns = {name: log[name] for name in ("user_id", "video_id", "author_id", "time_ms", "date", "tab")}
    return pa.table(
        {
            **columns,
            "hour": pc.divide(log["hourmin"], 100).cast(pa.int8()),
            "duration_ms": duration,
            "tag": pc.split_pattern(tags, ",").cast(pa.list_(pa.int64())),
            "upload_date": log["upload_date"],
            "freshness_days": log["freshness_days"],
            "is_rand": log["is_rand"],
            **{name: log[name] for name in OUTCOMES},
        }
    )


def lookup(table: pa.Table, other: pa.Table, key: str) -> pa.Table:
    """``table`` with the columns of ``other``'s row of the same ``key``; missing where there is none. Order is kept."""
    rows = pc.index_in(table[key], value_set=other[key])
    found = other.drop_columns(key).take(rows)
    for name in found.column_names:
        table = table.append_column(name, found[name])
    return table


def _read_csv(content: bytes, columns: tuple[str, ...]) -> pa.Table:
    table = pyarrow.csv.read_csv(
        pa.BufferReader(content),
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
            column_types=dict.fromkeys(WHOLE, pa.float64()),
        ),
    )
    return table.cast(
        pa.schema([field.with_type(pa.int64()) if field.name in WHOLE else field for field in table.schema])
    )
