"""The short-video simulator: reproducible, streamed, and true to the world it says it draws from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.data import simulators
from polytask.data.simulators import ShortVideo
from polytask.data.simulators.chunk import CHUNK
from polytask.errors import UserError

SIZE = 3 * CHUNK


@pytest.fixture(scope="module")
def simulator() -> ShortVideo:
    return ShortVideo(rows=SIZE, truth=True)


@pytest.fixture(scope="module")
def table(simulator: ShortVideo) -> pa.Table:
    return pa.Table.from_batches(list(simulator.batches()))


def clicked(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["click"], 1))


def auc(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32]) -> float:
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    positives = int(labels.sum())
    return (ranks[labels].sum() - positives * (positives + 1) / 2) / positives / (len(labels) - positives)


# --- reproducible and streamed ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    first, again, other = (next(ShortVideo(rows=500, seed=seed).batches()) for seed in (3, 3, 4))
    assert first.equals(again)
    assert not first["user_id"].equals(other["user_id"])
    assert not first["click"].equals(other["click"])


@settings(max_examples=8, deadline=None)
@given(size=st.integers(1000, 2 * CHUNK), start=st.integers(0, SIZE), length=st.integers(0, 70_000))
def test_rows_do_not_depend_on_how_they_are_read(
    size: int, start: int, length: int, simulator: ShortVideo, table: pa.Table
) -> None:
    batches = list(simulator.batches(size, start=start, stop=start + length))
    assert all(0 < batch.num_rows <= size for batch in batches)
    assert pa.Table.from_batches(batches, schema=simulator.schema).equals(table.slice(start, length))


def test_chunks_are_not_copies_of_each_other(table: pa.Table) -> None:
    assert not table["video_id"].slice(0, CHUNK).equals(table["video_id"].slice(CHUNK, CHUNK))


def test_the_last_batch_may_be_short() -> None:
    simulator = ShortVideo(rows=CHUNK + 1)
    assert [batch.num_rows for batch in simulator.batches()] == [CHUNK, 1]
    assert sum(batch.num_rows for batch in simulator.batches(10_000)) == CHUNK + 1


def test_tables_do_not_grow_with_users_and_videos() -> None:
    simulator = ShortVideo(rows=1000, users=10**11, videos=10**11)
    batch = next(simulator.batches())
    assert len(set(batch["user_id"].to_pylist())) > 900
    assert pc.min(batch["user_id"]).as_py() >= 0
    assert pc.max(batch["user_id"]).as_py() < 2**40
    world = simulator._chunker.world
    assert world.users.fine.nbytes + world.videos.fine.nbytes + world.favourites.nbytes < 2_000_000


@pytest.mark.parametrize("rows", [1, 7])
def test_very_small_worlds(rows: int) -> None:
    batch = next(ShortVideo(rows=rows, users=1, videos=1).batches())
    assert batch.num_rows == rows
    assert len(set(batch["user_id"].to_pylist())) == len(set(batch["author_id"].to_pylist())) == 1


# --- columns ----------------------------------------------------------------------------------------------------------


def test_every_column_has_a_role(simulator: ShortVideo, tmp_path: Path) -> None:
    small = dataclasses.replace(simulator, rows=1000)
    prepared = small.prepare(tmp_path)
    assert set(small.schema.names) == set(prepared.dropped) | set(prepared.kinds)
    assert not set(prepared.dropped) & set(prepared.kinds)
    assert "true_click" in prepared.dropped
    plain = ShortVideo(rows=1000)
    assert not any(name.startswith("true_") for name in plain.schema.names)
    assert {task.label for task in plain.tasks} <= set(prepared.dropped)


def test_ids_name_one_user_and_one_video(table: pa.Table) -> None:
    for key, attributes in (
        ("user_id", ("age_band", "city_tier", "account_days")),
        ("video_id", ("author_id", "category", "duration_s")),
    ):
        counts = table.group_by(key).aggregate([(name, "count_distinct") for name in attributes])
        for name in attributes:
            assert pc.max(counts[f"{name}_count_distinct"]).as_py() <= 1, name
    assert pc.count_distinct(table["user_id"]).as_py() <= 50_000
    assert pc.max(table["user_id"]).as_py() > 2**24, "ids that a float32 cannot hold"


def test_popularity_has_a_long_tail(table: pa.Table) -> None:
    for name, low, high in (("user_id", 0.03, 0.10), ("video_id", 0.12, 0.25)):
        counts = np.sort(pc.value_counts(table[name]).field("counts").to_numpy())[::-1]
        head = counts[: len(counts) // 100].sum() / SIZE
        assert low < head < high, f"share of the top 1 % of {name}"
    uniform = next(ShortVideo(rows=CHUNK, user_skew=1.0, users=100).batches())
    assert pc.max(pc.value_counts(uniform["user_id"]).field("counts")).as_py() < 1.3 * CHUNK / 100


def test_gaps_skew_time_and_history(table: pa.Table) -> None:
    missing = {name: table[name].null_count / SIZE for name in table.column_names}
    assert {name for name, share in missing.items() if share} == {"age_band", "account_days", "network", "like"}
    assert 0.03 < missing["age_band"] < 0.1
    assert pc.mean(table["account_days"]).as_py() > 1.7 * pc.approximate_median(table["account_days"]).as_py()
    time = table["time"].cast(pa.int64()).to_numpy()
    assert (np.diff(time) >= 0).all()
    assert (time[-1] - time[0]) / 86_400e6 == pytest.approx(14, abs=0.01)
    assert pc.hour(table["time"]).cast(pa.int8()).equals(table["hour"])
    hours = np.bincount(table["hour"].to_numpy(), minlength=24)
    assert hours[21] > 8 * hours[4] > 0
    lengths = pc.list_value_length(table["recent_videos"])
    assert (pc.min(lengths).as_py(), pc.max(lengths).as_py()) == (0, 8)
    assert pc.all(pc.is_in(pc.list_flatten(table["recent_videos"]), value_set=table["video_id"])).as_py() in (
        True,
        False,
    )
    known = pc.mean(pc.is_in(pc.list_flatten(table["recent_videos"]), value_set=table["video_id"])).as_py()
    assert known > 0.99, "the history speaks of the same videos"


# --- the funnel and its truth -----------------------------------------------------------------------------------------


def test_nothing_happens_without_a_click(table: pa.Table) -> None:
    passed = table.filter(pc.equal(table["click"], 0))
    assert passed["like"].null_count == passed.num_rows
    assert all(pc.sum(passed[name]).as_py() == 0 for name in ("share", "follow", "long_view", "play_time_s"))
    assert clicked(table)["like"].null_count == 0
    assert pc.min(clicked(table)["play_time_s"]).as_py() > 0


def test_long_views_are_long(table: pa.Table) -> None:
    rows = clicked(table)
    play, duration = rows["play_time_s"].to_numpy(), rows["duration_s"].to_numpy()
    assert (rows["long_view"].to_numpy() == (play >= np.minimum(duration, 18.0))).all()
    assert 0.3 < rows["long_view"].to_numpy().mean() < 0.7


def test_rates_are_the_wanted_ones(table: pa.Table) -> None:
    assert pc.mean(table["click"]).as_py() == pytest.approx(0.42, rel=0.03)
    rows = clicked(table)
    for name, rate in (("like", 0.04), ("share", 0.008), ("follow", 0.005)):
        assert pc.mean(rows[name]).as_py() == pytest.approx(rate, rel=0.15), name
    rare = ShortVideo(rows=2 * CHUNK, click_rate=0.05, like_rate=0.5)
    chosen = clicked(pa.Table.from_batches(list(rare.batches())))
    assert chosen.num_rows / (2 * CHUNK) == pytest.approx(0.05, rel=0.06)
    assert pc.mean(chosen["like"]).as_py() == pytest.approx(0.5, rel=0.06)


def affinities(table: pa.Table) -> npt.NDArray[np.float64]:
    """Logits of the true probabilities in the order of `ShortVideo.correlated_tasks`."""
    columns = []
    for name in ("true_click", "true_log_play_ratio", "true_like", "true_share", "true_follow"):
        values = table[name].to_numpy().astype(np.float64)
        columns.append(values if "log" in name else np.log(values) - np.log1p(-values))
    return np.array(columns)


def test_affinities_have_the_correlations_that_are_promised(simulator: ShortVideo, table: pa.Table) -> None:
    found = np.corrcoef(affinities(table))
    np.testing.assert_allclose(found, simulator.task_correlation, atol=0.04)
    assert simulator.correlated_tasks == ("click", "play_time", "like", "share", "follow")


@pytest.mark.parametrize("value", [-0.2, 0.0, 0.9, 1.0])
def test_the_correlations_can_be_chosen(value: float) -> None:
    matrix = np.full((5, 5), value)
    np.fill_diagonal(matrix, 1.0)
    simulator = ShortVideo(rows=CHUNK, correlation=tuple(map(tuple, matrix.tolist())), truth=True, seed=5)
    found = np.corrcoef(affinities(pa.Table.from_batches(list(simulator.batches()))))
    np.testing.assert_allclose(found, matrix, atol=0.06)


def test_labels_follow_their_probabilities(table: pa.Table) -> None:
    rows = clicked(table)
    for name, data, low, high in (
        ("click", table, 0.72, 0.80),
        ("like", rows, 0.75, 0.86),
        ("share", rows, 0.75, 0.86),
    ):
        probability = data[f"true_{name}"].to_numpy()
        labels = data[name].to_numpy() == 1
        assert labels.mean() == pytest.approx(probability.mean(), rel=0.1), name
        assert low < auc(labels, probability) < high, name


def test_attributes_and_history_tell_something(table: pa.Table) -> None:
    """A model can learn from the visible columns: the categories differ in their true click logit."""
    logit = affinities(table)[0]
    for name, least in (("category", 0.03), ("age_band", 0.005), ("author_id", 0.1), ("video_id", 0.25)):
        codes = table[name].combine_chunks().dictionary_encode().indices.fill_null(0).to_numpy()
        sums, counts = np.bincount(codes, weights=logit), np.bincount(codes)
        explained = np.average((sums / counts - logit.mean()) ** 2, weights=counts) / logit.var()
        assert explained > least, f"{name} explains {explained:.3f} of the variance"


def test_without_signal_the_labels_are_noise() -> None:
    batch = next(ShortVideo(rows=CHUNK, signal=0.0, truth=True).batches())
    assert np.ptp(batch["true_click"].to_numpy()) == 0.0
    assert pc.mean(batch["click"]).as_py() == pytest.approx(0.42, abs=0.01)


# --- files ------------------------------------------------------------------------------------------------------------


def test_parquet_is_streamed_whole(simulator: ShortVideo, table: pa.Table, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = simulator.write_parquet(tmp_path / "deep" / "log.parquet", progress=lambda *s: seen.append(s))
    assert seen == [(CHUNK, SIZE), (2 * CHUNK, SIZE), (SIZE, SIZE)]
    assert pq.read_metadata(path).num_row_groups == 3
    assert pq.read_table(path).equals(table)
    assert [file.name for file in path.parent.iterdir()] == ["log.parquet"]


def test_an_interrupted_file_does_not_appear(simulator: ShortVideo, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulator.write_parquet(tmp_path / "log.parquet", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(simulator: ShortVideo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"log.parquet: cannot be written \(.*\); make room or choose another folder"):
        simulator.write_parquet(tmp_path / "file" / "log.parquet")


def test_prepared_splits_follow_time_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    simulator = ShortVideo(rows=2000, seed=1)
    seen: list[tuple[int, int]] = []
    prepared = simulator.prepare(progress=lambda *s: seen.append(s))
    assert seen == [(1600, 2000), (1800, 2000), (2000, 2000)]
    assert dict(prepared.rows) == {"train": 1600, "validation": 200, "test": 200}
    parts = [pq.read_table(path) for path in (prepared.train, prepared.validation, prepared.test)]
    assert pa.concat_tables(parts).equals(pa.Table.from_batches(list(simulator.batches())))
    assert prepared.train.is_relative_to(tmp_path)
    assert simulator.prepare(progress=lambda *s: pytest.fail("written twice")) == prepared
    assert ShortVideo(rows=2000, seed=2).prepare().train != prepared.train
    assert prepared.tasks == simulator.tasks
    assert {task.task for task in prepared.tasks} == {"click", "long_view", "like", "share", "follow", "play_time"}


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_all_wrong_arguments_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        ShortVideo(rows=0, users=0, like_rate=1.5, seed=-1)
    text = str(caught.value)
    assert "4 problems" in text
    assert "rows: is 0; choose a value between 1 and" in text
    assert "like_rate: is 1.5; choose a value between 1e-06 and 0.999" in text


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        (np.eye(4), r"has shape \(4, 4\); give 5 rows of 5"),
        (2 * np.eye(5), "is not symmetric with ones on the diagonal"),
        (np.triu(np.ones((5, 5))), "is not symmetric with ones on the diagonal"),
        (1.5 * np.eye(5) - 0.5, r"is not positive semi-definite \(smallest eigenvalue -1\)"),
    ],
)
def test_impossible_correlations_are_refused(matrix: npt.NDArray[np.float64], text: str) -> None:
    with pytest.raises(UserError, match=text):
        ShortVideo(rows=10, correlation=tuple(map(tuple, matrix.tolist())))


def test_simulators_are_known_by_name() -> None:
    assert simulators.get("short-video") is ShortVideo
    with pytest.raises(UserError, match=r"simulator 'short-vido': is not known; did you mean 'short-video'\?"):
        simulators.get("short-vido")
