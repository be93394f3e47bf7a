from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import csv
from safetensors.torch import load_file, save_file

from polytask.config import Config
from polytask.errors import UserError
from polytask.serving import Bundle, load_bundle, predict, predict_to
from polytask.training.run import train_run
from polytask.types import Features


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, new_config: Callable[..., Config], new_table: Callable[..., pa.Table]
) -> Path:
    """A bundle with every kind of task and column; tests must not write to it."""
    folder = tmp_path_factory.mktemp("made")
    train_run(new_config(encoder={"embedding": 4}), folder / "run", data=new_table(), check=False)
    return folder / "run" / "bundle"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


AGE, HISTORY = 2, 3  # positions among the columns of the preprocessing


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    found = json.loads(file.read_text())
    changed = change(found)
    file.write_text(json.dumps(found if changed is None else changed))


def test_the_round_trip_is_exact(made: Path, table: pa.Table, tmp_path: Path) -> None:
    first = load_bundle(made)
    again = load_bundle(first.save(tmp_path / "again"))
    assert first.predict(table).equals(again.predict(table))
    assert first.preprocessor == again.preprocessor and first.config == again.config
    before, after = first.model.state_dict(), again.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert first.scores == again.scores and (tmp_path / "again" / "MODEL_CARD.md").read_text().startswith("# click + ")
    assert {file.name for file in (tmp_path / "again").iterdir()} == {file.name for file in made.iterdir()}


def test_predictions_are_what_the_model_says(made: Path, table: pa.Table) -> None:
    """The same road by hand: encode, forward, one column per task or class."""
    from polytask.data.reader import to_batch

    bundle = load_bundle(made)
    found = bundle.predict(table)
    block = bundle.preprocessor.encode(
        table.combine_chunks().to_batches()[0].select(bundle.preprocessor.feature_columns())
    )
    features: Features = to_batch(block, bundle.preprocessor).features
    expected = bundle.model.predict(features)
    np.testing.assert_allclose(found["click"].to_numpy(), expected["click"].numpy(), rtol=1e-5)
    np.testing.assert_allclose(found["topic_music"].to_numpy(), expected["topic"][:, 1].numpy(), rtol=1e-5)


def test_columns_and_types(made: Path, table: pa.Table) -> None:
    found = predict(made, table)
    topics = ["topic_art", "topic_music", "topic_sport"]
    stars = [f"stars_{number}" for number in range(5)]
    assert found.column_names == ["row", "click", *topics, *stars, "spend", "visits"]
    assert found["row"].equals(table["row"])
    assert all(found.schema.field(name).type == pa.float32() for name in found.column_names[1:])
    for names in (topics, stars):
        total = sum(found[name].to_numpy() for name in names)
        np.testing.assert_allclose(total, 1.0, atol=1e-5)
    assert (found["visits"].to_numpy() >= 0).all()


def test_one_row_no_labels_and_other_keys(made: Path, table: pa.Table) -> None:
    features = table.select(["user", "item", "age", "history"])
    bundle = load_bundle(made)
    whole = bundle.predict(features)
    assert whole.column_names[0] == "click"
    for row in (0, 599):
        one = bundle.predict(features.slice(row, 1))
        for name in one.column_names:
            assert one[name][0].as_py() == pytest.approx(whole[name][row].as_py(), rel=1e-5)
    keyed = bundle.predict(table, keys=["item", "row", "item"])
    assert keyed.column_names[:2] == ["item", "row"] and keyed["item"].to_pylist() == table["item"].to_pylist()
    assert bundle.predict(table, keys=[]).column_names[0] == "click"


def test_columns_may_come_in_any_order_and_with_others(made: Path, table: pa.Table) -> None:
    bundle = load_bundle(made)
    mixed = table.select(table.column_names[::-1]).append_column("more", pa.array(["x"] * 600))
    assert bundle.predict(mixed).equals(bundle.predict(table))


def test_wrong_keys_are_told_together(made: Path, table: pa.Table) -> None:
    with pytest.raises(UserError) as caught:
        load_bundle(made).predict(table, keys=["roww", "click"])
    assert [str(problem) for problem in caught.value.problems] == [
        "keys: column 'roww' does not exist in table; did you mean 'row'?",
        "keys: 'click' is the name of a prediction as well; rename the column, or leave it out",
    ]


def test_a_table_that_does_not_fit_lists_every_column(made: Path, table: pa.Table) -> None:
    data = table.rename_columns([{"user": "users", "item": "itm"}.get(name, name) for name in table.column_names])
    data = data.set_column(4, "history", pa.array([1] * 600))
    with pytest.raises(UserError) as caught:
        load_bundle(made).predict(data)
    text = str(caught.value)
    assert "column 'user': is missing" in text and "did you mean 'users'" in text
    assert "column 'item': is missing" in text and "did you mean 'itm'" in text
    assert "column 'history': holds int64, the model expects lists" in text


def test_predictions_to_a_file_count_what_had_to_be_guessed(made: Path, table: pa.Table, tmp_path: Path) -> None:
    data = table.set_column(1, "user", pa.array([1, 2, 999, None] * 150))
    data = data.set_column(2, "item", pa.array(["apple", "kiwi", "lime", "bread"] * 150))
    data = data.set_column(3, "age", pa.array([1.0, float("nan"), float("inf"), None] * 150))
    bundle = load_bundle(made)
    summary = predict_to(bundle, data, tmp_path / "deep" / "out.parquet", keys=["item", "row"])
    assert summary.rows == 600 and summary.path == tmp_path / "deep" / "out.parquet"
    assert summary.unseen["user"] == 150 and summary.unseen["item"] == 300
    assert summary.missing["age"] == 450 and summary.missing["user"] == 150
    written = pq.read_table(summary.path)
    assert written["item"].to_pylist() == data["item"].to_pylist()
    assert written["click"].equals(bundle.predict(data)["click"])
    assert "item 300, user 150" in str(summary) and str(summary).startswith("600 rows -> ")
    assert [file.name for file in summary.path.parent.iterdir()] == ["out.parquet"]


def test_many_batches_of_a_file_with_text_keys(made: Path, table: pa.Table, tmp_path: Path) -> None:
    words = pa.array([f"key {number % 7777}" for number in range(66_000)])
    data = pa.concat_tables([table] * 110).set_column(0, "row", words)
    pq.write_table(data, tmp_path / "many.parquet", row_group_size=20_000)
    summary = predict_to(load_bundle(made), tmp_path / "many.parquet", tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet")
    assert summary.rows == 66_000 and written["row"].to_pylist() == words.to_pylist()
    np.testing.assert_allclose(written["spend"].to_numpy()[:600], written["spend"].to_numpy()[-600:], rtol=1e-5)


def test_columns_of_other_ids_are_told(made: Path, table: pa.Table, tmp_path: Path) -> None:
    column = table.column_names.index("user")
    strangers = table.set_column(column, "user", pa.array([f"stranger {row}" for row in range(len(table))]))
    text = str(predict_to(load_bundle(made), strangers, tmp_path / "out.parquet"))
    assert "no value of these columns was seen in training; do they hold the same kind of ids? user" in text
    assert "warning" not in str(predict_to(load_bundle(made), table, tmp_path / "known.parquet"))


def test_predictions_are_not_written_under_the_name_of_another_format(
    made: Path, table: pa.Table, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"predictions are written as Parquet; name it out\.parquet"):
        predict_to(load_bundle(made), table, tmp_path / "out.csv")


def test_a_failed_prediction_leaves_the_old_file(made: Path, table: pa.Table, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("old")
    with pytest.raises(UserError):
        predict_to(load_bundle(made), table.drop_columns(["user"]), out)
    assert out.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["out.parquet"]
    with pytest.raises(UserError, match="is a folder"):
        predict_to(load_bundle(made), table, tmp_path)


@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
def test_predictions_do_not_replace_the_rows_they_are_for(
    name: str, made: Path, table: pa.Table, tmp_path: Path
) -> None:
    log = tmp_path / name
    flat = table.select([column for column in table.column_names if not pa.types.is_list(table[column].type)])
    pq.write_table(table, log) if log.suffix == ".parquet" else csv.write_csv(flat, log)
    before = log.read_bytes()
    for data in (log, str(tmp_path / "log.*")):
        with pytest.raises(UserError, match="is one of the files to predict"):
            predict_to(load_bundle(made), data, tmp_path / "x" / ".." / name)
    assert log.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(made: Path, table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        predict_to(load_bundle(made), table, tmp_path / "file" / "out.parquet")


@pytest.mark.parametrize("name", ["model.safetensors", "vocabularies/0.parquet"])
def test_a_changed_bit_is_seen(name: str, copy: Path) -> None:
    if name.endswith("parquet"):
        values = pq.read_table(copy / name)["value"]
        pq.write_table(pa.table({"value": values.take(pa.array(range(len(values) - 1, -1, -1)))}), copy / name)
    else:
        content = bytearray((copy / name).read_bytes())
        content[-6] ^= 1
        (copy / name).write_bytes(content)
    with pytest.raises(UserError, match=f"damaged .*{name} changed since the bundle was written"):
        load_bundle(copy)
    edit(copy / "schema.json", lambda schema: schema.pop("sha256") and None)
    load_bundle(copy)  # written before there were sums


@pytest.mark.parametrize("name", ["schema.json", "config.toml", "model.safetensors"])
def test_missing_and_truncated_files(name: str, copy: Path) -> None:
    content = (copy / name).read_bytes()
    for cut in (len(content) // 2, 10, 0):
        (copy / name).write_bytes(content[:cut])
        with pytest.raises(UserError):
            load_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"lacks {name}"):
        load_bundle(copy)


def test_missing_and_foreign_vocabularies(copy: Path) -> None:
    file = next((copy / "vocabularies").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="is damaged or not a polytask bundle"):
        load_bundle(copy)
    pq.write_table(pa.table({"value": [1.5, 2.5]}), file)
    with pytest.raises(UserError):
        load_bundle(copy)
    file.unlink()
    with pytest.raises(UserError):
        load_bundle(copy)


def test_another_format_says_what_wrote_it(copy: Path) -> None:
    edit(copy / "schema.json", lambda schema: schema.update(format=99, polytask="7.0"))
    with pytest.raises(UserError, match=r"has format 99, this polytask reads 1 and 2 \(it was written by 7.0\)"):
        load_bundle(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda schema: schema.update(format="1"),
        lambda schema: schema.update(format=True),
        lambda schema: schema.update(preprocessing=[]),
        lambda schema: schema.update(scores=[1, 2]),
        lambda schema: schema.update(scores={"test": {"click": {"auc": "high"}}}),
        lambda schema: schema["preprocessing"].pop("labels"),
        lambda schema: schema["preprocessing"].update(columns=3),
        lambda schema: schema["preprocessing"]["columns"][0].update(role="pickle"),
        lambda schema: schema["preprocessing"]["columns"][AGE]["encoder"].update(location="somewhere"),
        lambda schema: schema["preprocessing"]["columns"][AGE]["encoder"].update(edges=["a"]),
        lambda schema: schema["preprocessing"]["columns"][HISTORY].update(pooling="os.system"),
        lambda schema: schema["preprocessing"]["columns"][HISTORY].update(space="nowhere"),
        lambda schema: schema["preprocessing"]["spaces"][0].update(buckets=10**30),
        lambda schema: schema["preprocessing"]["spaces"][0].update(buckets="many"),
        lambda schema: schema["preprocessing"]["labels"].pop(),
        lambda schema: schema["preprocessing"]["labels"].reverse(),
        lambda schema: schema["preprocessing"]["labels"][0].update(columns=None),
        lambda schema: schema["preprocessing"]["stats"]["click"].update(mean=None),
        lambda schema: schema["preprocessing"]["stats"].pop("click"),
        lambda schema: "text",
        lambda schema: [[[]]],
    ],
)  # fmt: skip
def test_wrong_json_is_refused_at_loading(change: Callable[[Any], Any], copy: Path) -> None:
    def changed(schema: Any) -> Any:
        found = change(schema)
        return found if found in ("text", [[[]]]) else None

    edit(copy / "schema.json", changed)
    with pytest.raises(UserError, match="bundle "):
        load_bundle(copy)


def test_json_of_a_million_brackets(copy: Path) -> None:
    (copy / "schema.json").write_text("[" * 1_000_000)
    with pytest.raises(UserError, match="is damaged or not a polytask bundle"):
        load_bundle(copy)


def test_weights_of_another_shape_or_name(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    save_file({**weights, "encoder.table": weights["encoder.table"][:-1].clone()}, copy / "model.safetensors")
    with pytest.raises(UserError, match=r"the table has \d+ rows, the vocabularies \d+"):
        load_bundle(copy)
    name = next(name for name in weights if "gates" in name)
    renamed = {"extra" if other == name else other: one for other, one in weights.items()}
    save_file(renamed, copy / "model.safetensors")
    with pytest.raises(UserError, match=r"weights do not fit the configuration: extra, sharing\.levels"):
        load_bundle(copy)


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/polytask-was-here"),))


def test_pickles_are_not_read(copy: Path) -> None:
    marker = Path("/tmp/polytask-was-here")
    marker.unlink(missing_ok=True)
    for name in ("model.safetensors", "schema.json", "config.toml"):
        before = (copy / name).read_bytes()
        (copy / name).write_bytes(pickle.dumps(Exploit()))
        with pytest.raises(UserError):
            load_bundle(copy)
        torch.save(Exploit(), copy / name)
        with pytest.raises(UserError):
            load_bundle(copy)
        (copy / name).write_bytes(before)
    assert not marker.exists() and isinstance(load_bundle(copy), Bundle)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('use = "mmoe"', 'use = "os:system"'),
        ('use = "mmoe"', 'use = "spy_module:build"'),
        ('use = "table"', 'use = "spy_module:build"'),
        ('use = "equal"', 'use = "spy_module:build"'),
        ('kind = "binary"', 'kind = "spy_module:build"'),
        ('kind = "binary"', 'kind = "binary"\nloss = "spy_module:build"'),
    ],
)
def test_code_outside_polytask_is_refused_and_not_imported(
    old: str, new: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table
) -> None:
    marker = tmp_path / "was-imported"
    (tmp_path / "spy_module.py").write_text(f"open({str(marker)!r}, 'w').close()\ndef build(*a, **k): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = (copy / "config.toml").read_text()
    assert old in text
    (copy / "config.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match="is code outside polytask, which no file may run by itself; if you trust it"):
        load_bundle(copy).predict(table)
    assert not marker.exists()


def test_a_configuration_cannot_ask_for_more_memory_than_the_weights(copy: Path) -> None:
    text = (copy / "config.toml").read_text()
    for old, new in (
        ("embedding = 4", "embedding = 4000000000"),
        ("widths = [8]", "widths = [30000000, 30000000]"),
        ("experts = 2", "experts = 900000000"),
    ):
        assert old in text
        (copy / "config.toml").write_text(text.replace(old, new, 1))
        with pytest.raises(UserError, match="far larger than its weights"):
            load_bundle(copy)


def test_paths_in_a_bundle_lead_nowhere(copy: Path, table: pa.Table) -> None:
    text = (copy / "config.toml").read_text().replace('source = "memory"', 'source = "/etc/passwd"')
    (copy / "config.toml").write_text(text)
    edit(copy / "schema.json", lambda schema: schema["preprocessing"]["columns"][0].update(space="../../secret"))
    with pytest.raises(UserError, match="is damaged"):
        load_bundle(copy)


def test_a_run_folder_stands_for_its_bundle(made: Path, table: pa.Table) -> None:
    assert load_bundle(made.parent).predict(table).equals(load_bundle(made).predict(table))
    with pytest.raises(UserError, match=r"lacks schema\.json, config\.toml, model\.safetensors"):
        load_bundle(made.parent.parent)
    with pytest.raises(UserError, match=r"bundle .*nowhere: does not exist"):
        load_bundle(made / "nowhere")


def test_saving_does_not_overwrite_what_is_no_bundle(made: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is no bundle"):
        load_bundle(made).save(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="exists and is no bundle"):
        load_bundle(made).save(tmp_path / "file")
    load_bundle(made).save(tmp_path / "again")
    load_bundle(made).save(tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "file", "notes.txt"]


def test_weights_can_be_read_on_a_config_written_by_hand(new_config: Callable[..., Config], made: Path) -> None:
    assert load_bundle(made).config.tasks.keys() == new_config().tasks.keys()
