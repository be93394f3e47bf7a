from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.config import parse_config
from polytask.data.checks import CheckSettings, DataReport, Parts, check_data
from polytask.data.checks.auc import auc, held_out_majority, held_out_means
from polytask.data.columns import ColumnOptions
from polytask.data.parts import TEST, TRAIN, VALIDATION, Part
from polytask.data.sources import open_source
from polytask.data.splits import SplitSpec, fit_split
from polytask.errors import Problem
from polytask.specs import LabelSpec

ROWS = 1_000
KINDS = {"age": "numeric", "city": "categorical"}


def columns(**changes: object) -> dict[str, object]:
    rng = np.random.default_rng(1)
    base: dict[str, object] = {
        "age": rng.random(ROWS),
        "city": rng.choice(["Oslo", "Rome", "Bonn"], ROWS),
        "click": rng.integers(0, 2, ROWS),
    }
    return {**base, **changes}


def check(
    data: dict[str, object],
    *labels: LabelSpec,
    kinds: dict[str, str] | None = None,
    settings: CheckSettings | None = None,
    **parts: dict[str, object],
) -> DataReport:
    labels = labels or (LabelSpec("click", "binary", "click"),)
    roles = {name: ColumnOptions(kind) for name, kind in (kinds or KINDS).items()}  # type: ignore[arg-type]
    sources = {name: Part(open_source(table)) for name, table in {"train": data, **parts}.items()}
    return check_data(sources, labels, roles, settings or CheckSettings(batch_size=8))


def texts(report: DataReport, severity: str | None = None) -> list[str]:
    absent = ("the validation part: has no rows", "the test part: has no rows")
    found = [problem for problem in report.problems if severity in (None, problem.severity)]
    return [str(problem) for problem in found if not str(problem).startswith(absent)]


def only(report: DataReport) -> Problem:
    (problem,) = [problem for problem in report.problems if "has no rows" not in problem.what]
    return problem


def test_good_data_gives_no_problems_and_the_right_counts() -> None:
    data = columns()
    report = check(data, validation=columns(age=np.random.default_rng(2).random(ROWS)))
    assert texts(report) == []
    assert report.rows == {"train": ROWS, "validation": ROWS, "test": 0}
    tally = report.tallies["click"]["train"]
    assert tally.observed == ROWS and tally.rate(1) == pytest.approx(np.mean(data["click"]))


def test_a_label_outside_the_values_of_its_task_is_counted_and_placed() -> None:
    click = np.zeros(ROWS, np.int64)
    click[::2], click[[3, 7]], click[9] = 1, 2, 5
    problem = only(check(columns(click=click)))
    assert problem.severity == "error" and problem.where == "tasks.click.label"
    assert "3 of 1,000 observed train rows hold a value other than 0 and 1" in problem.what
    assert "2 (2 rows, first: row 3), 5 (1 row, first: row 9)" in problem.what
    assert 'kind = "multiclass"' in problem.remedy


def test_a_text_label_is_offered_its_mapping() -> None:
    click = np.where(np.arange(ROWS) % 3 == 0, "yes", "no")
    problem = only(check(columns(click=click)))
    assert problem.remedy == 'add classes = ["no", "yes"] (negative, positive)'
    assert "'no' (666 rows" in problem.what
    assert texts(check(columns(click=click), LabelSpec("click", "binary", "click", classes=("no", "yes")))) == []
    wrong = only(check(columns(click=click), LabelSpec("click", "binary", "click", classes=("no", "Yes"))))
    assert "outside the classes: 'yes' (334 rows, first: row 0)" in wrong.what


def test_two_other_numbers_are_offered_as_classes() -> None:
    click = np.where(np.arange(ROWS) % 3 == 0, 1, -1)
    assert only(check(columns(click=click))).remedy == "add classes = [-1, 1] (negative, positive)"


def test_text_with_many_values_is_offered_a_comparison() -> None:
    problem = only(check(columns(), LabelSpec("t", "binary", "city"), kinds={"age": "numeric"}))
    assert problem.remedy.startswith("name the positive value: label = \"city == '")


@pytest.mark.parametrize(
    ("kind", "values", "what", "remedy"),
    [
        ("binary", [0] * ROWS, "no positive among 1,000 observed train rows", "nothing to learn"),
        ("regression", [2.5] * ROWS, "constant label: 2.5 in all 1,000", "nothing to learn"),
        ("regression", [None] * ROWS, "label 'y' is missing in all 1,000 train rows", "remove the task"),
        ("count", [-1.0, 0.5] * (ROWS // 2), "no count (negative or fractional): -1.0 (500 rows", "regression"),
        ("multiclass", [0.5, 1.5] * (ROWS // 2), "negative or fractional class", "classes = [0.5, 1.5]"),
        ("multiclass", np.arange(5000), "5,000 distinct values in the train part are too many classes", "regression"),
        ("ordinal", ["low", "high"] * (ROWS // 2), "text has no order by itself", 'classes = ["high", "low"]'),
        ("regression", ["a", "b"] * (ROWS // 2), "must be a number, found text", "multiclass"),
        ("binary", np.linspace(0, 1, 30_000), "more than 20,000 distinct values", "regression"),
    ],
)
def test_labels_that_do_not_fit_their_kind_are_errors(kind: str, values: object, what: str, remedy: str) -> None:
    rng = np.random.default_rng(0)
    values = pa.array(values, pa.float64()) if values[0] is None else values  # type: ignore[index]
    data = {"age": rng.random(len(values)), "y": values}  # type: ignore[arg-type]
    (problem,) = (p for p in check(data, LabelSpec("y", kind, "y")).problems if p.severity == "error")
    assert what in problem.what and remedy in problem.remedy


def test_missing_labels_are_not_observed_and_infinite_ones_warned_about() -> None:
    y = np.random.default_rng(0).random(ROWS)
    y[:100], y[200] = np.nan, np.inf
    report = check(columns(y=y), LabelSpec("y", "regression", "y"))
    assert only(report).what == "1 of 900 observed train rows are infinite (first: row 200)"
    assert only(report).severity == "warning"
    assert report.tallies["y"]["train"].mean == pytest.approx(np.nanmean(np.where(np.isinf(y), np.nan, y)))


def test_labels_outside_of_the_sample_space_are_not_looked_at() -> None:
    inside = np.arange(ROWS) % 2 == 0
    like = np.where(inside, np.arange(ROWS) % 4 == 0, 7).astype(float)
    like[~inside] = np.nan
    data = columns(click=inside.astype(int), like=like)
    report = check(data, LabelSpec("like", "binary", "like", where="click == 1"))
    assert texts(report) == []
    tally = report.tallies["like"]["train"]
    assert (tally.rows, tally.in_space, tally.observed) == (ROWS, 500, 500)


def test_a_sample_space_that_is_never_true_is_an_error_and_its_typo_is_named() -> None:
    report = check(columns(), LabelSpec("click", "binary", "click", where="city == 'Olso'"), kinds={"age": "numeric"})
    errors, warnings = texts(report, "error"), texts(report, "warning")
    assert "sample space where = \"city == 'Olso'\" is true in none of the 1,000 train rows" in errors[0]
    assert "column 'city' never holds 'Olso' in 1,000 rows; did you mean 'Oslo'?" in warnings[0]


def test_broken_expressions_and_missing_columns_are_reported_together() -> None:
    labels = [
        LabelSpec("a", "binary", "clik"),
        LabelSpec("b", "binary", "city > 3"),
        LabelSpec("c", "binary", "click", where="age", weight="wieght", group="cty"),
    ]
    found = texts(check(columns(weight=np.ones(ROWS)), *labels), "error")
    assert any(text.startswith("tasks.a.label") and "'click'" in text for text in found)
    assert any(text.startswith("tasks.b.label") for text in found)
    assert any(text.startswith("tasks.c.where") and "not true or false" in text for text in found)
    assert any(text.startswith("tasks.c.weight") and "did you mean 'weight'" in text for text in found)
    assert any(text.startswith("tasks.c.group") and "did you mean 'city'" in text for text in found)


def test_nan_and_infinity_are_counted_with_the_rule_that_replaces_them() -> None:
    age = np.random.default_rng(0).random(ROWS)
    age[[5, 6]], age[2] = np.nan, -np.inf
    data = columns(age=age, size=np.where(np.arange(ROWS) == 8, np.nan, 1.5 + np.arange(ROWS)))
    report = check(data, kinds={**KINDS, "size": "numeric"})
    assert texts(report) == [
        "column 'age': 1 of 1,000 rows are infinite (first: row 2); "
        "they are replaced by the median; clip them if they mean something",
        "numeric columns: 2 of 2 have missing values, which are imputed: age 2 (0.2%, median), size 1 (0.1%, median)",
    ]


def test_bad_weights_are_errors_where_the_task_observes() -> None:
    weight = np.ones(ROWS)
    weight[[3, 4]], weight[7], weight[8] = -1.0, np.inf, np.nan
    spec = LabelSpec("click", "binary", "click", weight="weight")
    found = {problem.what: problem.severity for problem in check(columns(weight=weight), spec).problems}
    assert found["weight 'weight' is negative in 2 of 1,000 observed rows (first: row 3)"] == "error"
    assert found["weight 'weight' is infinite in 1 of 1,000 observed rows (first: row 7)"] == "error"
    assert found["weight 'weight' is missing in 1 of 1,000 observed rows (first: row 8)"] == "warning"
    zero = only(check(columns(weight=np.zeros(ROWS)), spec))
    assert zero.what == "all 1,000 weights in 'weight' are 0 or missing"
    assert "weights must be numbers" in only(check(columns(weight=["a"] * ROWS), spec)).remedy


# leaks


def leaky(**features: object) -> list[str]:
    kinds = {name: "categorical" if isinstance(values[0], str) else "numeric" for name, values in features.items()}  # type: ignore[index]
    return texts(check(columns(**features), kinds={**KINDS, **kinds}))


def test_copies_of_a_label_are_named_as_such() -> None:
    click = columns()["click"]
    assert isinstance(click, np.ndarray)
    (copy,) = leaky(twin=click)
    assert "column 'twin': is a copy of the label of 'click' (one label per value in all 1,000 sampled rows)" in copy
    assert "is a copy" in leaky(opposite=1 - click)[0]
    assert "is a copy" in leaky(word=np.where(click == 1, "bought", "not"))[0]


def test_an_almost_determining_number_is_found_by_its_auc() -> None:
    click = np.asarray(columns()["click"])
    noisy = click + np.random.default_rng(0).normal(0, 0.2, ROWS)
    (found,) = leaky(watch_ratio=noisy)
    assert "almost determines the label of 'click' by itself (AUC 0.99" in found and 'data.drop: "watch_ratio"' in found
    assert leaky(weak=click + np.random.default_rng(0).normal(0, 1.0, ROWS)) == []


def test_an_almost_determining_category_is_found_on_the_other_half() -> None:
    rng = np.random.default_rng(0)
    click = np.asarray(columns()["click"])
    codes = np.char.add(np.where(click == 1, "p", "n"), rng.integers(0, 9, ROWS).astype(str))
    assert "almost determines" in leaky(code=codes)[0]
    # an id that is new in almost every row explains its own half and says nothing on the other
    assert leaky(id=np.char.add("u", rng.integers(0, 900, ROWS).astype(str))) == []


def test_missingness_that_tells_the_label_is_found() -> None:
    click = np.asarray(columns()["click"])
    stay = np.where(click == 1, np.random.default_rng(0).random(ROWS), np.nan)
    found = [text for text in leaky(stay=stay) if "imputed" not in text]
    assert found[0].startswith("column 'stay': whether it is missing almost determines the label of 'click' (AUC 1.0")


def test_an_outcome_that_needs_the_label_is_noted() -> None:
    click = np.asarray(columns()["click"])
    share = ((np.random.default_rng(0).random(ROWS) < 0.2) & (click == 1)).astype(int)
    (found,) = leaky(share=share)
    assert "implies a positive label of 'click' (positive in all" in found


def test_regression_and_multiclass_leaks() -> None:
    rng = np.random.default_rng(0)
    seconds = rng.exponential(9.0, ROWS)
    kind = rng.integers(0, 4, ROWS)
    data = columns(seconds=seconds, ms=seconds * 1000, kind=kind, names=np.array(["a", "b", "c", "d"])[kind])
    labels = LabelSpec("time", "regression", "seconds"), LabelSpec("kind", "multiclass", "kind")
    report = check(data, *labels, kinds={**KINDS, "ms": "numeric", "names": "categorical"})
    assert [problem.where for problem in report.problems if "copy of the label" in problem.what] == [
        "column 'ms'",
        "column 'names'",
    ]
    assert any("correlation 1.00000" in text for text in texts(report))


def test_three_positives_prove_no_leak() -> None:
    click = np.zeros(ROWS, int)
    click[:3] = 1
    data = columns(click=click, rank=-np.arange(ROWS) / 3.0)
    assert texts(check(data, kinds={**KINDS, "rank": "numeric"})) == []


# splits and sizes


def test_a_part_without_positives_is_a_warning() -> None:
    empty = columns(click=np.zeros(ROWS, int), age=np.random.default_rng(5).random(ROWS))
    found = texts(check(columns(), validation=empty), "warning")
    assert found == [
        "tasks.click: no positive among 1,000 observed validation rows; "
        "AUC is undefined there; use a larger validation part or another split"
    ]
    unlabelled = {**empty, "click": pa.nulls(ROWS, pa.int64())}
    assert "no observed label in the test part" in texts(check(columns(), test=unlabelled), "warning")[0]


def test_classes_that_training_lacks_are_warned_about() -> None:
    train, test = columns(kind=np.arange(ROWS) % 3), columns(kind=np.arange(ROWS) % 4, age=np.arange(ROWS) / 7.0)
    (found,) = texts(check(train, LabelSpec("kind", "multiclass", "kind"), test=test))
    assert "classes in the test part that the train part lacks: 3 (250 rows, first: row 3)" in found


def test_a_split_that_leaks_time_is_warned_about_once() -> None:
    data = columns(time=np.arange(ROWS) + 1_650_000_000, day=np.arange(ROWS))
    source = open_source(data)
    for spec, expected in ((SplitSpec(), 1), (SplitSpec("time", column="time"), 0)):
        split = fit_split(spec, source)
        parts = {name: Part(source, split, code) for code, name in enumerate(("train", "validation", "test"))}
        report = check_data(parts, [LabelSpec("click", "binary", "click")], {"age": ColumnOptions("numeric")})
        found = [problem for problem in report.problems if problem.where == "data.split"]
        assert len(found) == expected
        for problem in found:
            assert problem.remedy == 'use split = { by = "time", column = "time" }'
            assert "split by random, the model learns from the future" in problem.what


@pytest.mark.parametrize(("name", "expected"), [("watched", 1), ("signup_at", 0)])
def test_the_only_timestamp_orders_rows_whatever_its_name(name: str, expected: int) -> None:
    source = open_source(columns(**{name: np.arange(ROWS).astype("datetime64[s]")}))
    split = fit_split(SplitSpec(), source)
    parts = {part: Part(source, split, code) for code, part in enumerate(("train", "validation", "test"))}
    report = check_data(parts, [LabelSpec("click", "binary", "click")], {"age": ColumnOptions("numeric")})
    assert len([problem for problem in report.problems if problem.where == "data.split"]) == expected


def test_a_part_without_rows_is_an_error_where_there_is_to_be_one() -> None:
    source = open_source(columns())
    split = fit_split(SplitSpec(), source)
    report = check_data(
        {"train": Part(source, split, 0), "validation": Part(source, split, 7)},
        [LabelSpec("click", "binary", "click")],
        {"age": ColumnOptions("numeric")},
    )
    found = {problem.where: problem.severity for problem in report.problems if "has no rows" in problem.what}
    assert found == {"the validation part": "error", "the test part": "warning"}


@pytest.mark.parametrize(
    ("changes", "spec", "where", "what"),
    [
        ({}, LabelSpec("a", "binary", "click", classes=("0", "1")), "tasks.a.label", "a value outside the classes"),
        ({}, LabelSpec("a", "multiclass", "click", classes=(0, 1, 1)), "tasks.a.classes", "[1] stand there more than"),
        ({"age": np.full(ROWS, np.inf)}, LabelSpec("a", "regression", "age"), "tasks.a.label", "rows are infinite"),
        (
            {"w": np.full(ROWS, np.nan)},
            LabelSpec("a", "binary", "click", weight="w"),
            "tasks.a.weight",
            "all 1,000 weights in 'w' are 0 or missing",
        ),
    ],
)
def test_labels_that_teach_nothing_are_errors(
    changes: dict[str, object], spec: LabelSpec, where: str, what: str
) -> None:
    found = [one for one in check(columns(**changes), spec).problems if one.severity == "error"]
    assert len(found) == 1 and found[0].where == where and what in found[0].what


def test_a_comparison_is_offered_that_divides_the_values() -> None:
    assert 'label = "click >= 2"' in only(check(columns(click=np.arange(ROWS) % 5 + 1))).remedy


def test_rows_that_stand_in_two_parts_are_counted() -> None:
    train = columns()
    half = {name: np.concatenate([np.asarray(values)[:500], np.asarray(columns(age=np.arange(ROWS) / 9)[name])[:500]])
            for name, values in train.items()}  # fmt: skip
    found = texts(check(train, test=half))
    assert found == [
        "the test part: 500 of 1,000 rows (50.00%) also stand in the train part, equal in all columns; "
        "scores may flatter: remove duplicates, or split by hash of a key"
    ]


def test_coincidences_of_a_coarse_table_are_a_note() -> None:
    rng = np.random.default_rng(0)

    def coarse() -> dict[str, object]:
        cities = rng.choice(["Oslo", "Rome"], ROWS)
        return {"age": rng.integers(0, 600, ROWS), "city": cities, "click": rng.integers(0, 2, ROWS)}

    (found,) = (problem for problem in check(coarse(), test=coarse()).problems if "also stand" in problem.what)
    assert found.severity == "note" and "of the train rows among themselves" in found.remedy


def test_small_data() -> None:
    one = {name: np.asarray(values)[:1] for name, values in columns().items()}
    assert "the train part: has one row only" in texts(check(one), "error")[0]
    report = check(columns(), settings=CheckSettings(batch_size=4096))
    assert texts(report) == [
        "train.batch_size: 4,096 is more than the 1,000 train rows, so that an epoch is a single step; "
        "try train.batch_size = 32"
    ]


def test_files_of_different_columns_and_types() -> None:
    other = {"age": ["young"] * ROWS, "click": np.arange(ROWS) % 2, "cty": ["Oslo"] * ROWS}
    found = texts(check(columns(), test=other), "error")
    assert any("column 'age': holds text in" in text and "but numbers in" in text for text in found)
    assert any("column 'city': does not exist in" in text and "did you mean 'cty'" in text for text in found)


def test_given_roles_must_fit_the_values() -> None:
    data = columns(when=["soon"] * ROWS, items=[[1]] * ROWS, size=["1.5", "2e3"] * (ROWS // 2))
    kinds = {"city": "numeric", "when": "datetime", "items": "categorical", "age": "sequence", "size": "numeric"}
    found = texts(check(data, kinds=kinds, settings=CheckSettings(8, given=kinds)), "error")
    assert [text.split(":")[0] for text in found] == [
        "features.city",
        "features.when",
        "features.items",
        "features.age",
    ]
    assert "holds text that is no number in 1,000 of 1,000 sampled rows" in found[0]


def test_losses_of_very_different_scale() -> None:
    pay = np.random.default_rng(0).exponential(1000.0, ROWS)
    labels = LabelSpec("click", "binary", "click"), LabelSpec("pay", "regression", "pay")
    data = columns(pay=pay)
    problem = only(check(data, *labels, settings=CheckSettings(8, unscaled=["pay"])))
    assert (
        problem.where == "tasks.pay"
        and 'use = "uncertainty"' in problem.remedy
        and 'scaling = "standard"' in problem.remedy
    )
    assert texts(check(data, *labels)) == []  # scaled targets
    assert texts(check(data, *labels, settings=CheckSettings(8, balancer="uncertainty", unscaled=["pay"]))) == []


# the parts themselves


def test_one_table_is_read_once_and_every_row_belongs_to_one_part() -> None:
    source = open_source({"x": np.arange(200_000)})
    split = fit_split(SplitSpec(), source)
    parts = Parts(
        {
            name: Part(source, split, code)
            for name, code in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))
        }
    )
    seen = np.concatenate([piece.rows for piece in parts.scan(["x"])])
    assert len(parts.sources) == 1 and sorted(seen.tolist()) == list(range(200_000))
    for piece in parts.scan(["x"]):
        assert piece.batch.column("x").to_pylist()[:3] == piece.rows[:3].tolist()
    sample = parts.sample(["x"], 5_000)
    assert 4_000 < sum(table.num_rows for table in sample.values()) < 6_000
    assert max(sample["train"]["x"].to_pylist()) > 150_000  # from all over the table


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_ordered_pairs(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([float(score) for score, _ in rows]), np.array([flag for _, flag in rows])
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    if pairs:
        assert auc(scores, positive) == pytest.approx(np.mean(pairs))
    else:
        assert np.isnan(auc(scores, positive))


def test_unknown_codes_get_the_overall_mean() -> None:
    codes, values = np.array([0, 0, 1, 1, 2]), np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    fit = np.array([True, True, True, False, False])
    assert held_out_means(codes, values, fit).tolist() == pytest.approx([1.0, 2 / 3])
    assert held_out_majority(codes, np.array([1, 1, 0, 0, 1]), fit) == 1.0


@pytest.mark.skipif("POLYTASK_DATA" not in os.environ, reason="POLYTASK_DATA does not name the real data")
def test_census_income_has_no_errors(tmp_path_factory: pytest.TempPathFactory) -> None:
    from polytask.tables import open_tables

    tasks = {"income": {"kind": "binary", "label": "income == '50000+.'"}}
    tables = open_tables(parse_config({"data": {"source": "census-income"}, "tasks": tasks}, components=False))
    report = check_data(tables.parts, tables.labels, tables.roles)
    assert [problem for problem in report.problems if problem.severity != "note"] == []
    assert report.tallies["income"]["train"].rate(True) == pytest.approx(0.06206, abs=1e-5)
