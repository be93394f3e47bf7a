from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.config import (
    Config,
    FeatureOptions,
    absolute,
    apply_overrides,
    dump_config,
    load_config,
    parse_config,
    source_kind,
)
from polytask.errors import UserError

MINIMAL = {"data": {"source": "log.csv"}, "tasks": {"buy": {"kind": "binary", "label": "y"}}}


def with_tables(**tables: object) -> dict[str, object]:
    return {**MINIMAL, **tables}


def mistakes(table: dict[str, object]) -> list[str]:
    with pytest.raises(UserError) as caught:
        parse_config(table, components=False)
    return [str(problem) for problem in caught.value.problems]


def test_every_mistake_is_reported_at_once() -> None:
    found = mistakes(
        {
            "data": {"source": "a.csv", "split": {"by": "time", "colum": "t"}},
            "features": {"age": {"kind": "number"}},
            "tasks": {"buy": {"kind": "binary"}},
            "train": {"batch_siz": 10, "epochs": "3", "seeds": 0},
            "trian": {},
        }
    )
    assert found == [
        "data.split.colum: unknown key (value 't'); did you mean 'column'?",
        "features.age.kind: unknown value 'number'; did you mean 'numeric'?",
        'tasks.buy.label: missing; add label = "COLUMN"',
        "train.epochs: found '3'; it should be a valid integer",
        "train.seeds: found 0; it should be greater than or equal to 1",
        "train.batch_siz: unknown key (value 10); did you mean 'batch_size'?",
        "trian: unknown key (value {}); did you mean 'train'?",
    ]


@pytest.mark.parametrize(
    ("split", "part"),
    [
        ({"by": "time"}, "a split by time needs a column"),
        ({"by": "random", "column": "t"}, "a random split reads no column"),
        ({"by": "column", "column": "part"}, "a split by column needs values"),
        ({"by": "hash", "column": "u", "values": {"train": [0], "validation": [1]}}, 'values belong to by = "column"'),
        ({"validation": 0.6, "test": 0.5}, "leave nothing to train on"),
    ],
)
def test_impossible_splits_are_refused(split: dict[str, object], part: str) -> None:
    (message,) = mistakes(with_tables(data={"source": "a.csv", "split": split}))
    assert message.startswith("data.split: ") and part in message and "; " in message


def test_a_configuration_without_tasks_or_data_says_what_to_write() -> None:
    assert mistakes({}) == [
        'data: missing; add [data] with source = "log.parquet"',
        'tasks: missing; add [tasks.NAME] with kind = "binary" and label = "COLUMN"',
    ]
    assert mistakes(with_tables(tasks={}))[0].startswith("tasks: empty; add [tasks.NAME]")
    assert "a data set's name, a path, or a list of paths" in mistakes(with_tables(data={"source": 3}))[0]


def test_task_names_must_do_as_folders_and_columns() -> None:
    tasks = {"a/b": {"kind": "binary", "label": "y"}, "id": {"kind": "binary", "label": "y"}}
    found = mistakes(with_tables(data={"source": "a.csv", "keys": ["id"]}, tasks=tasks))
    assert "becomes a column and a folder" in found[0] and "'id' is a task as well" in found[1]


def test_options_of_one_column_do_not_stand_among_the_defaults() -> None:
    (message,) = mistakes(with_tables(features={"defaults": {"kind": "numeric", "min_count": 2}}))
    assert message == "features.defaults.kind: cannot hold for all columns; set it per column"


def test_column_options_come_before_the_defaults() -> None:
    features = {"defaults": {"min_count": 5, "impute": "mean"}, "user": {"hash_buckets": 16}, "age": {"min_count": 1}}
    config = parse_config(with_tables(features=features), components=False)
    assert config.feature("age") == FeatureOptions(min_count=1, impute="mean")
    assert config.feature("user") == FeatureOptions(hash_buckets=16, impute="mean")  # hashing needs no counting
    assert config.feature("other") == FeatureOptions(min_count=5, impute="mean")


def test_overrides_take_toml_values_and_bare_words() -> None:
    table: dict[str, object] = {"train": {"seed": 1}}
    apply_overrides(
        table,
        [
            "train.seed=7",
            "train.device=cpu",
            "train.baselines=true",
            "towers.widths=[8, 4]",
            'features."a b".kind=drop',
        ],
    )
    assert table == {
        "train": {"seed": 7, "device": "cpu", "baselines": True},
        "towers": {"widths": [8, 4]},
        "features": {"a b": {"kind": "drop"}},
    }


def test_wrong_overrides_are_reported_together() -> None:
    with pytest.raises(UserError) as caught:
        apply_overrides({"data": {"source": "a"}}, ["train.seed", "a b c=1", "data.source.x=1"])
    assert [problem.where for problem in caught.value.problems] == [
        "--set train.seed",
        "--set a b c=1",
        "--set data.source.x=1",
    ]


def test_an_unknown_override_has_a_suggestion(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(dump_config(Config.model_validate(MINIMAL)))
    with pytest.raises(UserError, match=r"train.batchsize: unknown key .*did you mean 'batch_size'"):
        load_config(file, ["train.batchsize=3"], components=False)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    (tmp_path / "census.toml").write_text("[data]\nsource = a.csv\n")
    with pytest.raises(UserError, match=r"no such file; did you mean 'census.toml'"):
        load_config(tmp_path / "cenus.toml")
    with pytest.raises(UserError, match=r"not valid TOML: .*line 2"):
        load_config(tmp_path / "census.toml")
    with pytest.raises(UserError, match=r"is a folder; name the TOML file itself"):
        load_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes('[data]\nsource = "café.csv"\n'.encode("latin-1"))
    with pytest.raises(UserError, match=r"is no UTF-8 text"):
        load_config(tmp_path / "latin.toml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(dump_config(Config.model_validate(MINIMAL)), encoding="utf-8-sig")
    assert list(load_config(tmp_path / "c.toml", components=False).tasks) == ["buy"]


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    table = with_tables(data={"source": ["a.csv", "/b.csv"], "test": "t.csv"}, train={"warm_start": "runs/1/bundle"})
    file.write_text(dump_config(Config.model_validate(table)))
    config = absolute(load_config(file, components=False))
    assert config.data.source == (str(tmp_path / "a.csv"), "/b.csv")
    assert config.data.test == str(tmp_path / "t.csv") and config.data.validation is None
    assert config.train.warm_start == str(tmp_path / "runs/1/bundle")
    assert absolute(config) == config


def test_a_file_beside_the_configuration_is_meant_before_a_named_data_set(tmp_path: Path) -> None:
    assert source_kind("census-income", tmp_path) == "named"
    (tmp_path / "census-income").mkdir()
    assert source_kind("census-income", tmp_path) == "path"
    (tmp_path / "kuairand").mkdir()
    assert source_kind("kuairand", tmp_path) == "path"
    (tmp_path / "kuairand" / "config.toml").touch()  # the run folder of an earlier training
    assert source_kind("kuairand", tmp_path) == "named"
    named = absolute(parse_config(with_tables(data={"source": "kuairand"}), relative_to=tmp_path, components=False))
    assert named.data.source == "kuairand"


def test_copies_keep_the_folder_and_the_allowed_modules(tmp_path: Path) -> None:
    config = parse_config(MINIMAL, relative_to=tmp_path, allow_code=["mine"], components=False)
    copy = config.model_copy(update={"train": config.train.model_copy(update={"seed": 3})})
    assert (copy.relative_to, copy.allow_code, copy.train.seed) == (tmp_path, ("mine",), 3)
    assert "mine" not in dump_config(copy)


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
texts = st.text(min_size=1, max_size=20).filter(lambda text: "\r" not in text)


@given(
    labels=st.dictionaries(names, texts, min_size=1, max_size=3),
    drop=st.lists(texts, max_size=3),
    column=texts.filter(lambda text: text != "defaults"),
    widths=st.lists(st.integers(1, 99), max_size=3),
    rate=st.floats(1e-6, 1.0),
    patience=st.integers(0, 3),
)
def test_what_is_written_is_read_back(
    labels: dict[str, str], drop: list[str], column: str, widths: list[int], rate: float, patience: int
) -> None:
    tasks = {name: {"kind": "binary", "label": label, "gamma": rate} for name, label in labels.items()}
    table = {
        "data": {"source": ["a.csv", "b.csv"], "drop": drop, "split": {"by": "hash", "column": column}},
        "features": {column: {"kind": "categorical", "min_count": 2}},
        "tasks": tasks,
        "towers": {"widths": widths},
        "train": {"learning_rate": rate, "patience": patience},
    }
    config = parse_config(table, components=False)
    assert parse_config(tomllib.loads(dump_config(config)), components=False) == config


def test_a_penalty_is_absent_unless_named() -> None:
    assert parse_config(MINIMAL).penalty is None
    assert "penalty" not in dump_config(parse_config(MINIMAL))
    config = parse_config(with_tables(penalty={"use": "trace_norm", "weight": 0.5}))
    assert config.penalty is not None and config.penalty.options == {"weight": 0.5}
    assert parse_config(tomllib.loads(dump_config(config))).penalty == config.penalty


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"use": "trace_nrom"}, r"penalty\.use: nothing is named 'trace_nrom' in .*; did you mean 'trace_norm'\?"),
        ({"use": "l2_distance", "wieght": 1.0}, r"penalty\.wieght: unknown option of l2_distance .* 'weight'"),
        ({"use": "l2_distance", "weight": "big"}, r"penalty\.weight: found 'big'; it should be a valid number"),
        ({"weight": 1.0}, r"penalty\.use: missing"),
    ],
)
def test_mistakes_in_a_penalty(table: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config(with_tables(penalty=table))


def test_the_weights_of_the_selection() -> None:
    config = parse_config(with_tables(train={"selection": {"buy": 2}, "epochs": 3}), components=False)
    assert config.train.selection == {"buy": 2.0}
    assert parse_config(tomllib.loads(dump_config(config)), components=False) == config
    with pytest.raises(UserError, match=r"train\.selection\.bu: no task has this name; did you mean 'buy'\?"):
        parse_config(with_tables(train={"selection": {"bu": 1.0}}), components=False)
    with pytest.raises(UserError, match=r"train\.selection: all weights are 0"):
        parse_config(with_tables(train={"selection": {"buy": 0.0}}), components=False)
