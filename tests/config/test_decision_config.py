from __future__ import annotations

import tomllib
from typing import Any

import pytest

from polytask.config import Config, dump_config, parse_config, threshold_rule
from polytask.errors import UserError

TASKS: dict[str, dict[str, Any]] = {
    "click": {"kind": "binary", "label": "c"},
    "buy": {"kind": "binary", "label": "b", "after": "click"},
    "topic": {"kind": "multiclass", "label": "t"},
    "spend": {"kind": "regression", "label": "s"},
}


def parsed(fusion: dict[str, Any] | None = None, keys: list[str] | None = None, **tasks: dict[str, Any]) -> Config:
    table: dict[str, Any] = {
        "data": {"source": "log.csv", "keys": keys or ["u"]},
        "tasks": {name: {**task, **tasks.get(name, {})} for name, task in TASKS.items()},
    }
    return parse_config({**table, **({"fusion": fusion} if fusion else {})}, components=False)


def problems(**sections: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        parsed(**sections)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_written_is_read_again() -> None:
    config = parsed(
        click={"calibrate": "isotonic", "threshold": {"cost": [1, 5]}}, buy={"threshold": "f1"},
        topic={"calibrate": "temperature"},
        fusion={"value": "price * bought", "group": "u", "tasks": ["click", "buy_joint"], "floors": {"click": 1}},
    )  # fmt: skip
    assert config.tasks["click"].threshold == {"cost": (1.0, 5.0)}
    again = parse_config(tomllib.loads(dump_config(config)), components=False)
    assert again == config and again.fusion is not None and again.fusion.floors == {"click": 1.0}


@pytest.mark.parametrize("rule", [0, 0.3, 1, "f1", "youden", {"precision": 0.9}, {"recall": 1}, {"rate": 0.05}])
def test_rules(rule: Any) -> None:
    assert threshold_rule(rule) == rule


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (1.5, "1.5 is no rule; write 0.3"),
        (True, "True is no rule"),
        (float("nan"), "nan is no rule"),
        ("f2", "'f2' is no rule"),
        ({"precision": 0}, "precision = 0 is no share; give a number above 0"),
        ({"rate": "a"}, "rate = 'a' is no share"),
        ({"cost": [1]}, r"the costs \[1\]|is no rule"),
        ({"cost": [0, 0]}, "the costs .* of a false yes and a false no; give two numbers from 0"),
        ({"cost": [1, -1]}, "the costs"),
        ({"precision": 0.9, "recall": 0.9}, "is no rule"),
        ({}, "is no rule"),
        ([0.5], "is no rule"),
    ],
)
def test_rules_that_are_none(rule: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        threshold_rule(rule)
    (found,) = problems(click={"threshold": rule})
    assert found.startswith("tasks.click.threshold: ")


def test_kinds_that_do_not_go_together_are_told_at_once() -> None:
    assert problems(
        click={"calibrate": "temperature"}, topic={"calibrate": "platt", "threshold": 0.5},
        spend={"calibrate": "isotonic"},
    ) == [
        "tasks.click.calibrate: 'temperature' is not for 'click', a binary task; write \"isotonic\" or \"platt\"",
        "tasks.topic.calibrate: 'platt' is not for 'topic', a multiclass task; write \"temperature\"",
        "tasks.topic.threshold: 'topic' is a multiclass task, and a threshold cuts the probability of a yes; remove it",
        "tasks.spend.calibrate: the predictions of 'spend', a regression task, are no probabilities; leave it out; "
        "bias of values shows in the task's own metrics",
    ]  # fmt: skip


def test_names_in_fusion() -> None:
    ranking = (
        "'topic' has one prediction per class, and ranking needs one number a row; leave it out, or add a binary task"
    )
    assert problems(fusion={"value": "topic", "group": "u", "tasks": ["clck", "topic"], "floors": {"lik": 0.5}}) == [
        "fusion.tasks: no task is named 'clck'; did you mean 'click'?",
        "fusion.floors.lik: no task is named 'lik'; did you mean 'click'?",
        f"fusion.tasks: {ranking} for the class that matters",
        f"fusion.value: {ranking} for the class that matters",
    ]


def test_columns_that_would_have_one_name() -> None:
    assert problems(keys=["click_label", "score"], click={"threshold": 0.5}, fusion={"value": "v", "group": "u"}) == [
        "tasks.click.threshold: its labels would be called 'click_label', which is a key already; rename one of them",
        "fusion: its column would be called 'score', which is a key already; rename the other",
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"objective": "auc"}, "fusion.objective: unknown value 'auc'"),
        ({"form": "maximum"}, "fusion.form: unknown value 'maximum'"),
        ({"at": 0}, "fusion.at: found 0"),
        ({"samples": 5}, "fusion.samples: found 5"),
        ({"floors": {"click": 2}}, "fusion.floors.click: found 2"),
        ({"goup": "u"}, "fusion.goup: unknown key (value 'u'); did you mean 'group'?"),
    ],
)
def test_options_of_fusion(wrong: dict[str, Any], words: str) -> None:
    assert problems(fusion={"value": "v", "group": "u", **wrong})[0].startswith(words)
