"""The benchmark at tiny sizes, with the runners that need no peer."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.common import Spec, auc, dense_flops, load_arrays
from benchmarks.parts import Options
from benchmarks.peers.floor import Network
from benchmarks.processes import VENVS, Child, interpreter
from benchmarks.synthetic import CATEGORICAL, LABELS, NUMERIC, TableSpec, draw_truth, write_table
from benchmarks.table_training import format_rows, measure, parse

TINY = TableSpec(rows=2_000, heldout=500, ids=3_000)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def spec(work: Path) -> Spec:
    return Spec("mmoe", 2, str(write_table(TINY, work)), TINY, batch=256)


def test_table_has_the_published_shape() -> None:
    full = TableSpec()
    assert len(CATEGORICAL) == 26
    assert len(NUMERIC) == 13
    assert (min(full.vocabularies), max(full.vocabularies), sum(full.vocabularies)) == (10, 200_000, 611_077)


def test_table_is_written_once_and_the_same_each_time(work: Path, spec: Spec, tmp_path: Path) -> None:
    again = write_table(TINY, tmp_path)
    assert pq.read_table(again / "train.parquet").equals(pq.read_table(spec.train_file))
    before = spec.train_file.stat().st_mtime_ns
    write_table(TINY, work)
    assert spec.train_file.stat().st_mtime_ns == before


def test_ids_fit_their_vocabularies_and_held_out_rows_are_others(spec: Spec) -> None:
    train, heldout = load_arrays(spec.train_file, spec), load_arrays(spec.heldout_file, spec)
    assert (len(train.labels), len(heldout.labels)) == (2_000, 500)
    for values, size in zip(train.ids.values(), TINY.vocabularies, strict=True):
        assert values.min() >= 0
        assert values.max() < size
    first = next(iter(train.numerics))
    assert not np.isin(heldout.numerics[first], train.numerics[first]).any()


def test_base_rates_are_the_announced_ones(tmp_path: Path) -> None:
    table = TableSpec(rows=50_000, heldout=1, ids=3_000)
    labels = pq.read_table(write_table(table, tmp_path) / "train.parquet", columns=list(LABELS))
    rates = [float(np.mean(labels[name].to_numpy())) for name in LABELS]
    np.testing.assert_allclose(rates, (0.30, 0.12, 0.40, 0.22, 0.10, 0.17), atol=0.02)


def test_tasks_are_related_but_not_the_same() -> None:
    direction = draw_truth(TINY).direction
    cosines = (direction @ direction.T)[np.triu_indices(len(direction), 1)]
    assert cosines.mean() > 0.3
    assert cosines.max() < 0.999


def test_auc_agrees_with_scikit_learn_on_ties() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 500), rng.integers(0, 20, 500) / 20
    assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert np.isnan(auc(np.ones(3), np.arange(3)))


@pytest.mark.parametrize("architecture", ["mmoe", "ple"])
@pytest.mark.parametrize("tasks", [2, 6])
def test_arithmetic_counts_the_dense_weights_of_the_floor(architecture: str, tasks: int) -> None:
    spec = Spec(architecture, tasks, "", TINY)  # type: ignore[arg-type]
    network = Network(spec, sparse=False)
    matrices = sum(p.numel() for n, p in network.named_parameters() if n != "table.weight" and not n.endswith("bias"))
    assert dense_flops(spec, spec.input_width) == 2 * matrices


def test_spec_survives_the_pipe(spec: Spec) -> None:
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_floors_train_score_and_are_compared(work: Path, spec: Spec) -> None:
    ple = replace(spec, architecture="ple")
    options = Options(
        work, VENVS, threads=1, repeats=2, warm_rows=500, rows=500, infer_rows=500, curve=(500, 2_000), gemm=64
    )
    floor, sparse = rows = json.loads(json.dumps(measure(["floor", "floor_sparse"], ple, options)))
    assert (floor["runner"], sparse["runner"]) == ("floor", "floor_sparse")
    assert floor["train_best_x_floor"] == 1.0
    assert floor["train_best_x_peer"] is None
    assert sparse["train_best_x_floor"] == pytest.approx(sparse["train_best"] / floor["train_best"])
    assert len(floor["train_rates"]) == 2
    assert floor["train_share"] > 0
    assert list(floor["auc"]) == ["500", "2000"]
    assert all(0 <= score <= 1 for score in floor["auc"]["2000"])
    text = format_rows(rows)
    assert "PLE, 2 tasks, 1 threads" in text
    assert "2,000: " in text


def test_a_child_that_fails_says_why(spec: Spec) -> None:
    with (
        Child("floor", spec, threads=1) as child,
        pytest.raises(SystemExit, match="3000 rows asked for, the table has"),
    ):
        child.ask("load")
        child.ask("start", seed=0)
        child.ask("train", rows=3_000)


def test_a_missing_environment_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"deepctr: .* is missing; run with --setup first"):
        interpreter("deepctr", tmp_path)


def test_the_published_configuration_is_the_default() -> None:
    args = parse([])
    assert (args.part, args.architectures, args.tasks, args.curve) == (
        "table",
        ["mmoe", "ple"],
        [2, 6],
        [102_400, 400_000],
    )
    assert args.table_rows == 400_000
