from __future__ import annotations

import numpy as np
import pytest

from polytask.data.checks import LabelTally, Parts
from polytask.data.checks.bound import bind_tasks
from polytask.data.checks.tally import LabelScan
from polytask.data.label_kinds import propose_task, propose_tasks
from polytask.data.parts import Part
from polytask.data.sources import open_source
from polytask.errors import UserError
from polytask.specs import LabelSpec

RNG = np.random.default_rng(0)


def tally(values: object) -> LabelTally:
    source = open_source({"y": values, "row": np.arange(len(values))})  # type: ignore[arg-type]
    tasks, _ = bind_tasks([LabelSpec("y", "regression", "y")], source.schema)
    scan = LabelScan(tuple(tasks))
    for piece in Parts({"train": Part(source)}).scan(["y"]):
        scan.update(piece)
    return scan.tallies["y"]["train"]


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        ([0, 1, 1], "binary", None),
        ([False, True], "binary", None),
        ([0.0, 1.0, None], "binary", None),
        ([1, 2, 2], "binary", (1, 2)),
        ([-1, 1], "binary", (-1, 1)),
        (["no", "yes", "yes"], "binary", ("no", "yes")),
        (["rare", "often", "often"], "binary", ("often", "rare")),
        (["a", "b", "c"], "multiclass", None),
        ([0, 1, 2, 2, 2], "multiclass", None),
        ([0] * 9 + [1] * 9 + [2] * 3 + [3], "count", None),
        ([1, 2, 3, 3], "multiclass", (1, 2, 3)),
        (RNG.poisson(0.7, 1000), "count", None),
        (RNG.poisson(40.0, 1000), "count", None),
        (RNG.integers(0, 10**6, 1000), "regression", None),
        (RNG.normal(size=1000), "regression", None),
    ],
)
def test_kinds_follow_from_values(values: object, kind: str, classes: tuple[object, ...] | None) -> None:
    task = propose_task("y", tally(values))
    assert (task.kind, task.spec.classes) == (kind, classes)


def test_long_tails_are_learned_on_the_log_scale() -> None:
    assert propose_task("y", tally(RNG.pareto(1.2, 5000))).options == {"scaling": "log1p"}
    assert propose_task("y", tally(RNG.random(5000))).options == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [([3, 3], "is constant: 3"), ([None, None], "holds no value"), ([str(i) for i in range(2000)], "more than 1,000")],
)
def test_columns_that_are_no_labels_are_refused(values: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        propose_task("y", tally(values))


def test_names_do_as_folders() -> None:
    assert propose_task("is click/é", tally([0, 1])).name == "is_click_é"


def test_tasks_keep_the_letters_of_every_script_and_never_share_a_name() -> None:
    labels = {"点击": RNG.integers(0, 2, 50), "a b": RNG.integers(0, 2, 50), "a?b": RNG.integers(0, 2, 50)}
    proposed = propose_tasks(open_source(labels), list(labels))
    assert [task.name for task in proposed] == ["点击", "a_b", "a_b_3"]
    assert [task.spec.label for task in proposed] == list(labels)
