"""Fronts: what they refuse, what they compute, and that files give back what was written."""

import json
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polytask.errors import MissingExtraError, UserError
from polytask.fronts import Front, preferences

NUMBERS = st.floats(-1e300, 1e300, allow_nan=False)
NAMES = st.lists(st.text('ab.,"é \n', min_size=1, max_size=6), min_size=1, max_size=4, unique=True)


def example(**options) -> Front:
    values = [[0.9, 0.2], [0.8, 0.5], [0.7, 0.5], [0.5, 0.8]]
    return Front(preferences(2, 4), values, names=("auc", "loss"), better=("greater", "smaller"), **options)


def same(one: Front, other: Front) -> bool:
    fields = ("names", "better", "labels", "seeds")
    return (
        torch.equal(one.values, other.values)
        and torch.equal(one.preferences, other.preferences)
        and all(getattr(one, field) == getattr(other, field) for field in fields)
    )


def test_directions():
    front = example()
    assert front.efficient().tolist() == [True, False, False, False]
    assert front.hypervolume([0.5, 1.0]) == pytest.approx(0.4 * 0.8)
    flipped = Front(front.preferences, front.losses())
    assert flipped.hypervolume([-0.5, 1.0]) == pytest.approx(front.hypervolume([0.5, 1.0]))
    smaller = Front(front.preferences, front.values)
    assert smaller.efficient().tolist() == [True, False, True, True]


def test_parts_and_sums():
    front = example(labels=["a", "b", "c", "d"], seeds=[1, 2, 3, 4])
    part = front.where([False, True, False, True])
    assert (part.labels, part.seeds, len(part)) == (("b", "d"), (2, 4), 2)
    assert same(front.where([True, False, True, False]) + part, front.where([True] * 4)) is False
    assert (part + part).labels == ("b", "d", "b", "d")
    with pytest.raises(UserError, match="mask: 0 of 4 chosen, of 4 points"):
        front.where([False] * 4)
    with pytest.raises(UserError, match="join fronts of the same tasks, in the same order"):
        front + Front(front.preferences, front.values)


def test_a_front_does_not_change_with_what_it_was_made_of():
    values = torch.ones(1, 2, dtype=torch.float64)
    front = Front([[0.5, 0.5]], values)
    values.zero_()
    assert front.values.tolist() == [[1.0, 1.0]]
    with pytest.raises(AttributeError):
        front.names = ("a", "b")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Front([[1.0]], [[1.0, 2.0]]), r"preferences: shape \(1, 1\), but values have \(1, 2\)"),
        (lambda: Front([[1.0, 0.0]], [[1.0]], names=["a", "b"]), "names: 2 given for 1 tasks; give one for each task"),
        (lambda: Front([[1.0, 0.0]], [[1.0, 2.0]], names=["a", "a"]), "names: 'a' is given twice"),
        (
            lambda: Front([[1.0]], [[1.0]], better="bigger"),
            "better: 'bigger' is unknown; choose one of smaller",
        ),
        (lambda: Front([[1.0]], [[1.0]], labels=["a", "b"]), "labels: 2 given for 1 points; give one for each point"),
        (lambda: Front([[1.0]], [[float("nan")]]), r"values: \[nan\] of point 0 is not finite; leave the point out"),
        (lambda: Front([[1.0]], [[1.0], [2.0, 3.0]]), "values: no matrix of numbers"),
        (lambda: Front([], []), r"preferences: shape \(0,\); give one row of numbers per point"),
        (lambda: example().hypervolume([1.0]), r"reference: \[1.0\] given for auc, loss; give one finite number"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()


@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
@given(data=st.data(), names=NAMES, count=st.integers(1, 4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_give_back_what_was_written(ending, data, names, count, tmp_path):
    def rows(kind):
        return data.draw(
            st.lists(st.lists(kind, min_size=len(names), max_size=len(names)), min_size=count, max_size=count)
        )

    better = data.draw(st.lists(st.sampled_from(["smaller", "greater"]), min_size=len(names), max_size=len(names)))
    labels = data.draw(st.lists(st.text('ab,"\n ', max_size=5), min_size=count, max_size=count))
    front = Front(rows(NUMBERS), rows(NUMBERS), names=names, better=better, labels=labels, seeds=list(range(count)))
    file = tmp_path / f"front.{ending}"
    front.write(file)
    assert same(Front.read(file), front)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
def test_corrupt_files_are_named(ending, tmp_path):
    file = tmp_path / f"front.{ending}"
    with pytest.raises(UserError, match=r"front.*cannot be read \(.*\); name a file that `write` has written"):
        Front.read(file)
    example().write(file)
    whole = file.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"\xff\xfe" + whole, whole.replace(b"preference", b"preferences")):
        if ending == "csv" and broken == whole[: len(whole) // 2]:
            broken = broken.rstrip(b"0123456789.").rstrip(b",")
        file.write_bytes(broken)
        with pytest.raises(UserError, match=r"front\.(json|csv|parquet): holds no front \(.*\); write it again"):
            Front.read(file)


def test_other_formats_and_endings(tmp_path):
    file = tmp_path / "front.json"
    example().write(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    with pytest.raises(UserError, match=r"holds no front \(its format is 2, known is 1\)"):
        Front.read(file)
    for call in (example().write, Front.read):
        with pytest.raises(UserError, match=r"the ending '.jsn' is unknown; did you mean '.json'"):
            call(tmp_path / "front.jsn")
    with pytest.raises(UserError, match=r"the ending '.jpg' is unknown; did you mean '.png'"):
        example().plot(tmp_path / "front.jpg")


def test_a_value_that_is_no_number_is_an_error(tmp_path):
    file = tmp_path / "front.csv"
    example().write(file)
    file.write_text(file.read_text().replace("0.9", "much"))
    with pytest.raises(UserError, match=r"holds no front \(could not convert string to float: 'much'\)"):
        Front.read(file)


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_plots(tasks, tmp_path):
    asked = preferences(tasks, 20, draw="dirichlet", seed=3)
    front = Front(asked, 1 - asked, labels=["one"] * 10 + ["two"] * 10)
    for ending, head in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        file = tmp_path / f"front.{ending}"
        front.plot(file, reference=[1.0] * tasks)
        assert file.read_bytes().startswith(head)
    with pytest.raises(UserError, match="one task has no front to draw"):
        Front([[1.0]], [[1.0]]).plot(tmp_path / "front.png")


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"needed for drawing a front; pip install 'polytask\[plot\]'"):
        example().plot(tmp_path / "front.png")
