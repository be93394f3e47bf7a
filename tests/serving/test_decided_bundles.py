"""Bundles with calibration, thresholds and a fused score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polytask.config import Config
from polytask.decisions import Calibrated, Decisions, Fusion, Isotonic, Platt, Scale, Temperature, Threshold
from polytask.errors import UserError
from polytask.evaluation import evaluate
from polytask.serving import Bundle, load_bundle, predict_to
from polytask.training.run import train_run

NOTHING: dict[str, float | None] = {"log_loss": None, "ece": None}
DECISIONS = Decisions(
    {
        "click": Calibrated(Isotonic((0.2, 0.6), (0.1, 0.7)), 90, {"log_loss": 0.5, "ece": 0.1}, NOTHING),
        "topic": Calibrated(Temperature(2.5), 90, NOTHING, NOTHING),
    },
    {"click": Threshold(0.4, {"cost": (1.0, 5.0)}, {"precision": 0.5, "recall": None, "rows": 90})},
    Fusion(
        "product", {"click": 0.25, "spend": 0.75}, {"spend": Scale((-2.0, 4.0), (0.1, 1.0))}, value="visits",
        group="user", floors={"click": 0.5}, reached={"objective": 0.9, "click": 0.6},
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, new_config: Callable[..., Config], new_table: Callable[..., pa.Table]
) -> Bundle:
    """A bundle with every kind of task, which decides nothing."""
    folder = tmp_path_factory.mktemp("plain")
    train_run(new_config(train={"epochs": 1}), folder / "run", data=new_table(), check=False)
    assert json.loads((folder / "run" / "bundle" / "schema.json").read_text())["format"] == 1
    return load_bundle(folder / "run")


@pytest.fixture(scope="module")
def decided(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with `DECISIONS`, on disk; tests must not write to it."""
    return replace(plain, decisions=DECISIONS).save(tmp_path_factory.mktemp("decided") / "bundle")


def test_the_round_trip_is_exact(decided: Path, table: pa.Table, tmp_path: Path) -> None:
    first = load_bundle(decided)
    again = load_bundle(first.save(tmp_path / "again"))
    assert first.decisions == again.decisions == DECISIONS
    assert first.predict(table).equals(again.predict(table))
    assert json.loads((decided / "schema.json").read_text())["format"] == 2


def test_predictions_are_those_of_the_model_after_the_decisions(plain: Bundle, decided: Path, table: pa.Table) -> None:
    raw, found = plain.predict(table), load_bundle(decided).predict(table)
    assert found.column_names == [*raw.column_names, "click_label", "score"]
    click = np.interp(raw["click"].to_numpy(), (0.2, 0.6), (0.1, 0.7))
    np.testing.assert_allclose(found["click"].to_numpy(), click, rtol=1e-6)
    assert found.schema.field("click_label").type == pa.int8() and found.schema.field("score").type == pa.float32()
    assert (found["click_label"].to_numpy() == (found["click"].to_numpy().astype(np.float64) >= 0.4)).all()
    spend = np.interp(raw["spend"].to_numpy(), (-2.0, 4.0), (0.1, 1.0))
    np.testing.assert_allclose(found["score"].to_numpy(), click**0.25 * spend**0.75, rtol=1e-5)
    names = ["topic_art", "topic_music", "topic_sport"]
    before, after = (np.stack([one[name].to_numpy() for name in names], 1) for one in (raw, found))
    np.testing.assert_allclose(after, before**0.4 / (before**0.4).sum(1, keepdims=True), rtol=1e-5)
    for name in ("stars_0", "spend", "visits", "row"):
        assert found[name].equals(raw[name])


def test_files_streams_and_tables_agree(decided: Path, table: pa.Table, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    bundle = load_bundle(decided)
    predict_to(bundle, table, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(bundle.predict(table))
    assert bundle.columns == tuple(bundle.predict(table, keys=[]).column_names)


def test_scores_are_of_what_is_predicted(decided: Path, table: pa.Table) -> None:
    from sklearn.metrics import log_loss, precision_score

    found, predicted = evaluate(decided, table), load_bundle(decided).predict(table)
    seen = table["click"].is_valid().to_numpy()
    y, p = table["click"].drop_null().to_numpy(), predicted["click"].to_numpy()[seen].astype(np.float64)
    assert found["click"]["log_loss"] == pytest.approx(log_loss(y, p), rel=1e-5)
    labels = predicted["click_label"].to_numpy()[seen]
    assert found["click"]["precision"] == pytest.approx(precision_score(y, labels))
    assert found["click"]["accuracy"] == pytest.approx((labels == y).mean())
    assert found["score"].keys() == {"ndcg", "click_gauc", "rows"} and found["score"]["rows"] == 600


def test_a_key_cannot_have_the_name_of_a_decided_column(decided: Path, table: pa.Table) -> None:
    with_score = table.append_column("score", pa.array([1.0] * len(table)))
    with pytest.raises(UserError, match="'score' is the name of a prediction as well"):
        load_bundle(decided).predict(with_score, keys=["score"])


def test_the_card_says_what_is_decided(decided: Path, plain: Bundle, tmp_path: Path) -> None:
    card = (decided / "MODEL_CARD.md").read_text()
    assert "- click: isotonic calibration on 90 rows, cross-fitted log loss 0.5 to -, ECE 0.1 to -." in card
    assert "- click: yes from 0.4 on (cost 1 : 5), with precision 0.5 and recall -." in card
    assert "click 0.25, spend 0.75; ndcg 0.9 of `visits` within `user`; ranks click 0.6 (floor 0.5)." in card
    assert "Decisions" not in (plain.save(tmp_path / "plain") / "MODEL_CARD.md").read_text()


def edited(decided: Path, to: Path, change: Callable[[Any], Any]) -> Path:
    folder = Path(shutil.copytree(decided, to))
    schema = json.loads((folder / "schema.json").read_text())
    change(schema)
    (folder / "schema.json").write_text(json.dumps(schema))
    return folder


def at(*path: str, value: Any) -> Callable[[Any], None]:
    def change(schema: Any) -> None:
        for part in path[:-1]:
            schema = schema[part]
        schema[path[-1]] = value

    return change


CLICK = ("decisions", "calibration", "click", "map")
HOSTILE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no number": (at(*CLICK, "x", value=[0.2, float("nan")]), "a knot is no probability"),
    "infinite": (at(*CLICK, "y", value=[0.2, float("inf")]), "a knot is no probability"),
    "outside": (at(*CLICK, "y", value=[0.2, 1.5]), "a knot is no probability"),
    "falling": (at(*CLICK, "y", value=[0.7, 0.1]), "the knots do not increase"),
    "doubled": (at(*CLICK, "x", value=[0.2, 0.2]), "the knots do not increase"),
    "uneven": (at(*CLICK, "x", value=[0.2]), "1 and 2 knots"),
    "empty": (lambda s: (at(*CLICK, "x", value=[])(s), at(*CLICK, "y", value=[])(s)), "0 and 0 knots"),
    "huge": (
        lambda s: (at(*CLICK, "x", value=[0.0] * 200_000)(s), at(*CLICK, "y", value=[0.0] * 200_000)(s)),
        "200000 and 200000 knots, expected 1 to 100000",
    ),
    "another method": (at(*CLICK, "method", value="magic"), "calibration.click.map"),
    "text": (at(*CLICK, "x", value="0.2"), "calibration.click.map"),
    "unknown task": (
        lambda s: s["decisions"]["calibration"].update(clikc=s["decisions"]["calibration"].pop("click")),
        "isotonic calibration of 'clikc', which is no such prediction",
    ),
    "wrong kind": (
        lambda s: s["decisions"]["calibration"].update(spend=s["decisions"]["calibration"]["click"]),
        "isotonic calibration of 'spend'",
    ),
    "classes": (
        lambda s: s["decisions"]["calibration"].update(click=s["decisions"]["calibration"]["topic"]),
        "temperature calibration of 'click'",
    ),
    "temperature": (at("decisions", "calibration", "topic", "map", "temperature", value=0.0), "no positive number"),
    "threshold": (at("decisions", "thresholds", "click", "value", value=float("nan")), "no number from 0 to 2"),
    "threshold of": (
        lambda s: s["decisions"]["thresholds"].update(topic=s["decisions"]["thresholds"]["click"]),
        "a threshold for 'topic', which is no probability",
    ),
    "weights": (at("decisions", "fusion", "weights", "click", value=-1.0), "weights must be finite, not negative"),
    "no weights": (at("decisions", "fusion", "weights", value={}), "weights must be finite"),
    "weight of": (at("decisions", "fusion", "weights", "topic", value=1.0), "fusion reads 'topic'"),
    "scale of": (lambda s: s["decisions"]["fusion"].update(scales={}), "fusion reads 'spend'"),
    "scale": (at("decisions", "fusion", "scales", "spend", "x", value=[4.0, -2.0]), "knots of a scale do not increase"),
    "share": (at("decisions", "fusion", "scales", "spend", "y", value=[0.0, 1.0]), "outside (0, 1]"),
    "form": (at("decisions", "fusion", "form", value="maximum"), "fusion.form"),
    "more": (at("decisions", "exec", value="import os"), "exec"),
    "a list": (at("decisions", value=[1, 2]), "decisions"),
    "old format": (at("format", value=1), "format 1 goes with no decisions"),
    "nothing decided": (at("decisions", value={}), "format 2 goes with decisions"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_decisions_are_refused_in_words(name: str, decided: Path, tmp_path: Path) -> None:
    change, words = HOSTILE[name]
    with pytest.raises(UserError) as caught:
        load_bundle(edited(decided, tmp_path / "bundle", change))
    text = str(caught.value)
    assert "is damaged or not a polytask bundle" in text and words in text


def test_names_must_not_clash(plain: Bundle, tmp_path: Path) -> None:
    keyed = plain.config.model_copy(update={"data": plain.config.data.model_copy(update={"keys": ("click_label",)})})
    with pytest.raises(ValueError, match="two columns of the predictions would be called click_label"):
        replace(plain, config=keyed, decisions=Decisions(thresholds={"click": Threshold(0.5, 0.5)})).check_decisions()


def test_platt_maps_to_the_ends_without_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        found = Platt(50.0, 3.0)(np.array([0.0, 1e-30, 0.5, 1.0]))
    assert 0 <= found[0] < 1e-100
    assert found[-1] == 1.0 and 0.9 < found[2] < 1.0
