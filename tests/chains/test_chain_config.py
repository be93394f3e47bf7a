"""``after`` and ``[chain]`` in the file: every mistake at once; and labels that contradict them."""

from __future__ import annotations

import tomllib
from typing import Any

import pyarrow as pa
import pytest

from polytask.config import Config, dump_config, parse_config
from polytask.data.checks import CheckSettings, check_data
from polytask.data.labels import LabelEncoder
from polytask.data.parts import Part
from polytask.data.sources import open_source
from polytask.errors import UserError
from polytask.specs import LabelSpec

TASK = {"kind": "binary", "label": "x"}


def config(tasks: dict[str, Any], **sections: Any) -> Config:
    return parse_config({"data": {"source": "log"}, "tasks": tasks, **sections})


def test_all_mistakes_of_a_chain_are_told_at_once() -> None:
    tasks = {
        "click": {**TASK, "after": "share"},
        "share": {**TASK, "after": "click"},
        "self": {**TASK, "after": "self"},
        "buy": {**TASK, "after": "clik", "where": "x == 1"},
        "buy_joint": {"kind": "count", "label": "n"},
        "late": {**TASK, "after": "buy_joint"},
    }
    with pytest.raises(UserError) as error:
        config(tasks, chain={"use": "escm", "clip": 2})
    told = str(error.value)
    for line in (
        "tasks.buy.after: no task is named 'clik'; did you mean 'click'?",
        "tasks.buy.where: given beside after, from which the sample space follows",
        "tasks.late.after: 'buy_joint' is a count task, and only binary tasks can happen",
        "tasks.click.after: a circle: click after share after click",
        "tasks.self.after: comes after itself",
        "tasks.buy: its joint probability would be called 'buy_joint', which is a task already",
        "chain.use: nothing is named 'escm' in polytask.chains; did you mean 'escm2'",
    ):
        assert line in told
    assert told.count("a circle") == 1


def test_options_of_the_method_are_checked() -> None:
    tasks = {"click": TASK, "buy": {**TASK, "after": "click"}}
    with pytest.raises(UserError, match=r"chain.estimatr: unknown option of escm2 .*did you mean 'estimator'"):
        config(tasks, chain={"use": "escm2", "estimatr": "dr"})
    with pytest.raises(UserError, match=r"chain.estimator: found 'dp'"):
        config(tasks, chain={"use": "escm2", "estimator": "dp"})
    with pytest.raises(UserError, match=r"chain: says how to learn .* no task has after"):
        config({"click": TASK}, chain={"use": "esmm"})


def test_a_chain_is_written_and_read_back() -> None:
    found = config({"click": TASK, "buy": {**TASK, "after": "click"}}, chain={"use": "escm2", "estimator": "dr"})
    assert parse_config(tomllib.loads(dump_config(found))) == found
    assert "[chain]" not in dump_config(config({"click": TASK}))


LOG = {"shown": [1, 1, 1, 1, 0], "is click": ["yes", "yes", "no", None, "yes"], "cart": [1, 0, 1, 1, 1], "buy": [1] * 5}


def test_the_sample_space_follows_from_the_path() -> None:
    tasks = {
        "buy": {**TASK, "label": "buy", "after": "cart"},
        "cart": {**TASK, "label": "cart > 0", "after": "click"},
        "click": {**TASK, "label": "is click", "classes": ["no", "yes"], "where": "shown == 1"},
    }
    batch = pa.record_batch(LOG)
    encoders = [LabelEncoder(spec, tuple(LOG), spec.classes) for spec in config(tasks).labels()]
    assert [encoder.encode(batch)[1].tolist() for encoder in encoders] == [
        [True, False, False, False, False],
        [True, True, False, False, False],
        [True, True, True, False, False],
    ]
    assert set(encoders[0].columns) == set(LOG)


def report(cart: list[int | None]) -> list[Any]:
    table = {"click": [1, 0] * 500, "cart": cart, "x": list(range(1000))}
    click = LabelSpec("click", "binary", "click")
    part = Part(open_source(table))
    found = check_data({"train": part}, (click, LabelSpec("cart", "binary", "cart", after=click)), {}, CheckSettings())
    return [problem for problem in found.problems if problem.where == "tasks.cart.after"]


def test_labels_that_contradict_the_chain_are_counted() -> None:
    assert report([1, 0, 0, None] * 250) == []
    (problem,) = report([1, 1, 0, None] * 250)
    assert problem.severity == "error"
    assert "250 of 500 rows with 'cart' are without 'click', which must happen before it (first: row 1)" in problem.what
    few = [1, 0] * 500
    few[3] = 1
    (problem,) = report(few)
    assert problem.severity == "warning" and "1 of 501 rows" in problem.what


def test_a_parent_that_never_happens_is_told() -> None:
    table = {"click": [0] * 100, "cart": [0] * 100, "x": list(range(100))}
    click = LabelSpec("click", "binary", "click")
    labels = (click, LabelSpec("cart", "binary", "cart", after=click))
    found = check_data({"train": Part(open_source(table))}, labels, {}, CheckSettings())
    assert any(
        "which must happen before it, did so in none of the 100 train rows" in str(one) for one in found.problems
    )
