"""Readers: every row once, the same order for the same seed, and from any position exactly what was left."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from polytask.data import reader as reader_module
from polytask.data.block import Block, concatenate
from polytask.data.columns import ColumnOptions
from polytask.data.fitting import count_rows, fit
from polytask.data.parts import PARTS, Part
from polytask.data.preprocessor import Counts
from polytask.data.reader import Position, Reader
from polytask.data.sources import open_source
from polytask.data.splits import SplitSpec, fit_split
from polytask.specs import LabelSpec

ROWS = 1_003
OPTIONS = {
    "row": ColumnOptions("categorical"),
    "x": ColumnOptions("numeric", encoding="robust"),
    "items": ColumnOptions("sequence"),
}
LABELS = (
    LabelSpec("even", "binary", "even", weight="weight", group="group"),
    LabelSpec("number", "regression", "row", where="row >= 100"),
)


def write(path, rows=ROWS, row_group=97):
    number = np.arange(rows)
    table = pa.table(
        {
            "row": number,
            "x": number / rows,
            "items": [list(range(n, n + n % 4)) for n in range(rows)],
            "even": (number + 1) % 2,
            "weight": number * 0.5,
            "group": number // 10,
        }
    )
    pq.write_table(table, path, row_group_size=row_group)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return open_source(write(tmp_path_factory.mktemp("reader") / "t.parquet"))


@pytest.fixture(scope="module")
def preprocessor(source):
    return fit(Part(source), OPTIONS, LABELS).preprocessor


def make(source, preprocessor, *, buffer=262_144, split=None, code=0):
    part = Part(source, split, code)
    return Reader(part, preprocessor, count_rows(part), buffer=buffer)


def numbers(batch):
    """The row numbers of a batch, read off the id column."""
    return (batch.features.ids[:, 0] - 2).tolist()


def epochs(reader, size, count, **options):
    """The batches of the first epochs, and the positions after them."""
    found = list(itertools.islice(reader.shuffled(size, **options), count * reader.batches_per_epoch(size)))
    return [batch for _, batch in found], [position for position, _ in found]


def check_contents(batch):
    """All that belongs to a row has travelled with it."""
    rows = torch.tensor(numbers(batch))
    assert torch.equal(batch.labels["even"], ((rows + 1) % 2).float()) and bool(batch.observed["even"].all())
    assert torch.equal(batch.observed["number"], rows >= 100)
    assert torch.equal(batch.labels["number"], torch.where(rows >= 100, rows, 0).float())
    assert set(batch.weights) == {"even"} and torch.equal(batch.weights["even"], rows * 0.5)
    assert torch.equal(batch.groups["group"], rows // 10)
    items = batch.features.sequences["items"]
    assert items.offsets[0] == 0 and items.offsets[-1] == len(items.values) and len(items.offsets) == len(rows) + 1
    assert torch.equal(items.offsets.diff(), rows % 4)
    starts = items.values[items.offsets[:-1][rows % 4 > 0]]
    assert torch.equal(starts.diff().sign(), rows[rows % 4 > 0].diff().sign())
    order = torch.argsort(rows)
    assert bool((batch.features.numeric[order, 0].diff() > 0).all())


@pytest.mark.parametrize("buffer", [1, 50, 96, 300, 1_002, 1_003, 5_000])
@pytest.mark.parametrize("size", [1, 32, 100, 500, 1_002, 1_003, 4_000])
def test_an_epoch_gives_every_row_exactly_once(source, preprocessor, buffer, size):
    if size == 1 and buffer not in (1, 96, 5_000):
        pytest.skip("slow, and the same as its neighbours")
    reader = make(source, preprocessor, buffer=buffer)
    batches, positions = epochs(reader, size, 1, seed=3)
    rows = [row for batch in batches for row in numbers(batch)]
    assert sorted(rows) == list(range(ROWS))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size and max(lengths) - min(lengths) <= 1  # no batch of one at the end
    assert positions[-1] == Position(1, 0) and positions[:-1] == [Position(0, n) for n in range(1, len(batches))]
    assert (reader._kept is not None) == (buffer >= ROWS)


@pytest.mark.parametrize("buffer", [150, 5_000])
def test_everything_of_a_row_travels_together(source, preprocessor, buffer):
    reader = make(source, preprocessor, buffer=buffer)
    for batch in (*epochs(reader, 64, 2, seed=0)[0], *reader.ordered(77)):
        check_contents(batch)


@pytest.mark.parametrize("buffer", [120, 5_000])
@pytest.mark.parametrize("by", ["random", "hash"])
def test_parts_of_a_split_cover_all_rows_once(source, preprocessor, buffer, by):
    split = fit_split(SplitSpec(by, validation=0.3, test=0.1, column="group" if by == "hash" else None), source)
    seen = []
    for code, _ in enumerate(PARTS):
        reader = make(source, preprocessor, buffer=buffer, split=split, code=code)
        shuffled = [row for batch in epochs(reader, 50, 1, seed=1)[0] for row in numbers(batch)]
        ordered = [row for batch in reader.ordered(50) for row in numbers(batch)]
        assert len(shuffled) == reader.rows and sorted(shuffled) == ordered == sorted(ordered)
        for batch in epochs(reader, 50, 1, seed=1)[0]:
            check_contents(batch)
        seen += ordered
    assert sorted(seen) == list(range(ROWS))


@pytest.mark.parametrize("buffer", [130, 5_000])
def test_the_order_follows_from_seed_and_epoch(source, preprocessor, buffer):
    def order(seed, count=2):
        return [numbers(batch) for batch in epochs(make(source, preprocessor, buffer=buffer), 64, count, seed=seed)[0]]

    first = order(5)
    assert first == order(5) and first != order(6)
    per_epoch = len(first) // 2
    assert first[:per_epoch] != first[per_epoch:]
    mixed = np.array([row for batch in first[:per_epoch] for row in batch])
    assert abs(np.corrcoef(mixed, np.arange(ROWS))[0, 1]) < 0.4
    if buffer > ROWS:  # one buffer: a uniform permutation
        assert (mixed[:64] < ROWS / 2).any() and (mixed[:64] > ROWS / 2).any()


@pytest.mark.parametrize("buffer", [1, 130, 300, 5_000])
@pytest.mark.parametrize("size", [64, 90])
def test_from_any_position_exactly_the_remaining_batches(source, preprocessor, buffer, size):
    reader = make(source, preprocessor, buffer=buffer)
    batches, positions = epochs(reader, size, 2, seed=2)
    whole = [numbers(batch) for batch in batches]
    for index in range(0, len(whole) - 1, 3):
        again = make(source, preprocessor, buffer=buffer).shuffled(size, seed=2, start=positions[index])
        rest = list(itertools.islice(again, len(whole) - index - 1))
        assert [numbers(batch) for _, batch in rest] == whole[index + 1 :], (index, positions[index])
        assert [position for position, _ in rest] == positions[index + 1 :]


def test_resuming_skips_rows_without_encoding_them(source, preprocessor, monkeypatch):
    reader = make(source, preprocessor, buffer=100)
    encoded = []
    kept = type(preprocessor).encode
    monkeypatch.setattr(
        type(preprocessor),
        "encode",
        lambda self, batch, **more: encoded.append(len(batch)) or kept(self, batch, **more),
    )
    next(reader.shuffled(50, seed=0, start=Position(0, 18)))
    assert sum(encoded) <= 300


def test_positions_that_do_not_exist_are_refused(source, preprocessor):
    reader = make(source, preprocessor)
    for position in (Position(0, 17), Position(0, -1), Position(-1, 0)):
        with pytest.raises(ValueError, match="an epoch has 16 batches of 64 rows"):
            reader.shuffled(64, seed=0, start=position)
    assert len(numbers(next(reader.shuffled(64, seed=0, start=Position(0, 15)))[1])) in (62, 63)


@pytest.mark.parametrize("buffer", [200, 5_000])
@pytest.mark.parametrize("size", [1_003, 100, 7])
def test_ordered_gives_all_rows_in_the_order_of_the_table(source, preprocessor, buffer, size):
    reader = make(source, preprocessor, buffer=buffer)
    for options in ({}, {"labels": False}, {"counts": Counts()}, {"labels": False, "counts": Counts()}):
        batches = list(reader.ordered(size, **options))
        assert [row for batch in batches for row in numbers(batch)] == list(range(ROWS))
        assert max(len(batch) for batch in batches) <= size
        assert bool(batches[0].labels) == options.get("labels", True)
    counts = Counts()
    list(reader.ordered(50, counts=counts))
    assert counts.rows == ROWS


def test_a_table_without_labels_can_be_read_in_order(preprocessor):
    table = open_source({"row": [3, None, 10**9], "x": [0.5, None, 0.1], "items": [[1], None, [5, -1]]})
    counts = Counts()
    (batch,) = make(table, preprocessor).ordered(10, labels=False, counts=counts)
    assert numbers(batch) == [3, -1, -2] and batch.labels == {} == batch.groups
    assert counts.unseen == {"row": 1, "items": 1} and counts.missing["row"] == 1


def test_memory_is_bounded_by_the_buffer(source, preprocessor, monkeypatch):
    """Rows held by blocks that are alive at once: the buffer that is given, and the next one while it fills."""
    sizes = []
    joined = reader_module.concatenate
    monkeypatch.setattr(
        reader_module, "concatenate", lambda blocks: sizes.append(sum(map(len, blocks))) or joined(blocks)
    )
    reader = make(source, preprocessor, buffer=200)
    epochs(reader, 50, 2, seed=0)
    assert reader._kept is None and max(sizes) <= 200 and sum(sizes) == 2 * ROWS
    # rows given to the caller do not keep whole row groups alive
    _, batch = next(reader.shuffled(50, seed=0))
    assert batch.features.ids.untyped_storage().nbytes() <= 51 * batch.features.ids.shape[1] * 4


def test_kept_rows_are_encoded_once(source, preprocessor, monkeypatch):
    reader = make(source, preprocessor, buffer=5_000)
    first = epochs(reader, 100, 1, seed=0)[0]
    monkeypatch.setattr(type(preprocessor), "encode", lambda *_: pytest.fail("encoded again"))
    assert [numbers(batch) for batch in epochs(reader, 100, 1, seed=0)[0]] == [numbers(batch) for batch in first]
    assert sum(len(batch) for batch in reader.ordered(64)) == ROWS


def test_tensors_of_raw_batches_can_share_memory_without_a_warning(source, preprocessor):
    raw = next(iter(source.scan()))
    batch = reader_module.to_batch(preprocessor.encode(raw, labels=True), preprocessor)
    check_contents(batch)


def test_one_row_and_many_empty_fragments(tmp_path):
    source = open_source(write(tmp_path / "t.parquet", rows=300, row_group=10))
    spec = SplitSpec("column", column="row", train_values=(137,), validation_values=tuple({*range(300)} - {137}))
    split = fit_split(spec, source)
    found = fit(Part(source, split), OPTIONS, LABELS[:1])
    assert found.fragment_rows.sum() == 1
    reader = Reader(Part(source, split), found.preprocessor, found.fragment_rows, buffer=0)
    batches, positions = epochs(reader, 64, 3, seed=0)
    assert [len(batch) for batch in batches] == [1, 1, 1] and positions[-1] == Position(3, 0)
    assert len(list(reader.ordered(64))) == 1


def test_parts_know_the_first_row_of_every_fragment(source):
    split = fit_split(SplitSpec("random", validation=0.5, test=0.0, seed=4), source)
    whole = [batch.column("row").to_pylist() for batch in Part(source, split).scan(["row"])]
    single = [
        batch.column("row").to_pylist()
        for fragment in reversed(range(len(source.fragments)))
        for batch in Part(source, split).read(fragment, ["row"], batch_rows=13)
    ]
    assert sorted(itertools.chain(*whole)) == sorted(itertools.chain(*single))


def test_blocks_slice_take_and_join(preprocessor, source):
    block = preprocessor.encode(next(iter(source.scan())), labels=True)
    part = block.slice(10, 40)
    rows = np.arange(10, 40)
    taken = block.take(rows)
    assert np.shares_memory(part.ids, block.ids) and not np.shares_memory(taken.ids, block.ids)
    for one in (part, concatenate([block.slice(10, 10), block.slice(10, 25), block.slice(25, 40)])):
        assert (one.ids == taken.ids).all() and (one.labels == taken.labels).all()
        for ours, theirs in zip(one.sequences["items"], taken.sequences["items"], strict=True):
            assert ours.tolist() == theirs.tolist()
        assert one.groups["group"].tolist() == taken.groups["group"].tolist() and len(one) == 30
    assert isinstance(part, Block) and concatenate([part]) is part
