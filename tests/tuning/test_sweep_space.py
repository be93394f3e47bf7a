from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.config import load_config, parse_config
from polytask.errors import UserError
from polytask.tuning.place import MISSING, own_value, path_of, with_values
from polytask.tuning.space import Choices, Range, read_dimension


def wrong(value: Any) -> list[str]:
    with pytest.raises(UserError) as found:
        read_dimension(value, "key")
    return [str(problem) for problem in found.value.problems]


def test_lists_and_ranges() -> None:
    assert read_dimension([4, 8], "key") == Choices((4, 8))
    found = read_dimension({"low": 2, "high": 8, "step": 2}, "key")
    assert found == Range(2, 8, step=2, whole=True) and found.size == 4
    assert [found.has(value) for value in (2, 4, 5, 8, 10, 4.0, True, "4")] == [True, True, False, True] + [False] * 4
    assert read_dimension({"low": 0.0, "high": 1}, "key").size == math.inf


def test_mistakes_of_a_dimension_come_together() -> None:
    assert wrong({"low": "a", "log": 1, "hig": 2}) == [
        "key.hig: unknown key (value 2); did you mean 'high'?",
        "key.high: missing; a range has low and high",
        "key.low: found 'a'; give a number",
        "key.log: found 1; say true or false",
    ]
    assert wrong({"low": 0, "high": 1, "log": True, "step": 2}) == [
        "key.low: 0 has no logarithm; give a number above 0, or log = false",
        "key.step: found 2; give a number above 0 and at most 1",
        "key: log and step exclude one another; choose one, or list the values",
    ]
    assert wrong({"low": 3, "high": 3}) == ["key: low = 3 is not below high = 3; exchange them"]
    assert wrong([[8, 4], [8, 4]]) == ["key: [8, 4] is listed 2 times; list it once"]
    assert wrong([]) == ["key: an empty list; list choices, or remove the key"]
    assert "list choices: [4, 8], or give a range" in wrong(3)[0]
    assert wrong({"low": float("nan"), "high": True}) == [
        "key.low: found nan; give a number", "key.high: found True; give a number",
    ]  # fmt: skip


VALUES = st.one_of(st.integers(-5, 5), st.floats(-1, 1), st.text(max_size=3), st.lists(st.integers(0, 9), max_size=3))


@given(st.lists(VALUES, min_size=1, max_size=6, unique_by=repr))
def test_what_optuna_keeps_comes_back(values: list[Any]) -> None:
    found = Choices(tuple(tuple(value) if isinstance(value, list) else value for value in values))
    encoded = [found.encoded(value) for value in found.values]
    if len({repr(one) for one in encoded}) == len(encoded) == len(set(encoded)):
        assert [found.decoded(one) for one in encoded] == list(found.values)
    assert all(found.has(value) for value in values)


def config(**sections: Any) -> Any:
    tasks = {"v1.5 click": {"kind": "binary", "label": "y"}, "n": {"kind": "count", "label": "n"}}
    return parse_config({"data": {"source": "log.csv"}, "tasks": tasks, **sections})


def test_keys_go_to_their_places(tmp_path: Any) -> None:
    values = {
        "train.learning_rate": 0.5, "sharing.experts": 3, "sharing.gate.dropout": 0.1, "balancer.every": 2,
        "towers.widths": [4], "tasks.v1.5 click.positive_weight": 2.0,
    }  # fmt: skip
    base = config(balancer={"use": "mgda"}, sharing={"use": "mmoe", "widths": [8]})
    found = with_values(base, values)
    assert {key: own_value(found, key) for key in values} == values
    assert own_value(found, "sharing.widths") == [8] and base.sharing.options == {"widths": [8]}
    from polytask.config import dump_config

    (tmp_path / "a.toml").write_text(dump_config(found))
    again = load_config(tmp_path / "a.toml")
    assert {key: own_value(again, key) for key in values} == values


def test_own_values_are_the_files_or_the_builders() -> None:
    found = config(sharing={"use": "ple"}, train={"weight_decay": 0.25})
    assert own_value(found, "sharing.levels") == 2 and own_value(found, "train.weight_decay") == 0.25
    assert own_value(found, "sharing.nothing") is MISSING and own_value(found, "penalty.strength") is MISSING
    assert path_of("train.decay") == ["train", "decay"]
