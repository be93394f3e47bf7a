from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch

from polytask.config import Config
from polytask.errors import UserError
from polytask.training.loop import SKIPPED, EvaluationRecord, Record, Training
from polytask.training.single import new_training
from polytask.training.step import StepRecord

TASKS = ("click", "spend")


@pytest.fixture
def new_run(
    new_config: Callable[..., Config], prepared_run: Callable[..., Any], table: pa.Table
) -> Callable[..., Training]:
    def build(data: pa.Table | None = None, seed: int = 0, **sections: Any) -> Training:
        config = new_config(sections.pop("tasks", TASKS), **sections)
        return new_training(config, prepared_run(config, table if data is None else data), seed)

    return build


def evaluations(records: list[Record]) -> list[int]:
    return [record.step for record in records if isinstance(record, EvaluationRecord)]


def steps(records: list[Record]) -> list[int]:
    return [record.step for record in records if isinstance(record, StepRecord)]


def scripted(run: Training, monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Evaluations give these selection scores, one after the other."""
    from polytask.training import loop

    values = iter(scores)
    monkeypatch.setattr(loop, "selection_score", lambda found, weights: next(values))


def test_it_evaluates_after_every_epoch(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 3})
    records = list(run)
    assert run.epoch_steps == 8
    assert evaluations(records) == [8, 16, 24] and steps(records) == list(range(1, 25))
    assert [record.epoch for record in records if isinstance(record, StepRecord)] == [0] * 8 + [1] * 8 + [2] * 8


def test_evaluate_every_and_a_last_evaluation(new_run: Callable[..., Training]) -> None:
    records = list(new_run(train={"epochs": 2, "evaluate_every": 5}))
    assert evaluations(records) == [5, 10, 15, 16]


@pytest.mark.parametrize(("given", "done"), [(11, 11), (1, 1), (1000, 16)])
def test_steps_limit_the_run(given: int, done: int, new_run: Callable[..., Training]) -> None:
    records = list(new_run(train={"epochs": 2, "steps": given}))
    assert len(steps(records)) == done and evaluations(records)[-1] == done


def test_patience_stops_and_the_best_step_is_known(
    new_run: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(train={"epochs": 9, "evaluate_every": 2, "patience": 2})
    scripted(run, monkeypatch, [0.1, 0.3, 0.2, 0.3, 0.9])
    records = list(run)
    assert evaluations(records) == [2, 4, 6, 8] and run.step == 8
    assert [record.best for record in records if isinstance(record, EvaluationRecord)] == [True, True, False, False]
    assert (run.best_step, run.best_score) == (4, 0.3)


def test_an_undefined_score_is_beaten_by_any_other(
    new_run: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(train={"epochs": 9, "evaluate_every": 2, "steps": 8})
    scripted(run, monkeypatch, [math.nan, math.nan, -5.0, math.nan])
    list(run)
    assert (run.best_step, run.best_score) == (6, -5.0)


def test_the_seed_decides_everything(new_run: Callable[..., Training]) -> None:
    def weights(seed: int) -> torch.Tensor:
        run = new_run(seed=seed, train={"epochs": 1}, encoder={"embedding": 4, "dropout": 0.2})
        list(run)
        return torch.cat([parameter.detach().flatten() for parameter in run.model.parameters()])

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_a_batch_larger_than_the_data_is_the_whole_data(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 2, "batch_size": 100_000})
    records = list(run)
    assert steps(records) == [1, 2] and 400 < records[0].rows < 600  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "sharing", [{"use": "mmoe", "norm": "layer"}, {"use": "ple"}, {"use": "shared_bottom", "widths": [8]}]
)
def test_batches_of_one_row(sharing: dict[str, Any], new_run: Callable[..., Training], table: pa.Table) -> None:
    run = new_run(table.slice(0, 30), train={"epochs": 1, "batch_size": 1}, sharing=sharing)
    records = [record for record in run if isinstance(record, StepRecord)]
    assert {record.rows for record in records} == {1}
    # most batches lack one of the labels: nan, not 0
    assert any(math.isnan(loss) for record in records for loss in record.losses)
    assert all(weight == 0.0 for r in records for loss, weight in zip(r.losses, r.weights, strict=True) if loss != loss)


def test_one_task_only(new_run: Callable[..., Training]) -> None:
    records = list(new_run(tasks=("click",), train={"epochs": 4}))
    assert isinstance(records[-1], EvaluationRecord) and records[-1].scores["click"]["auc"] > 0.6


def test_the_embedding_of_untouched_rows_does_not_move(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 1, "steps": 1, "batch_size": 16, "embedding_weight_decay": 0.1})
    before = run.model.encoder.table.detach().clone()
    list(run)
    moved = (run.model.encoder.table.detach() != before).any(1)
    assert 0 < moved.sum() < 0.8 * len(moved)


def test_bf16_learns_about_the_same(new_run: Callable[..., Training]) -> None:
    found = {}
    for precision in ("float32", "bf16"):
        run = new_run(train={"epochs": 4, "precision": precision, "learning_rate": 0.01})
        records = list(run)
        assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())
        found[precision] = records[-1].scores  # type: ignore[union-attr]
    assert found["bf16"] != found["float32"]
    assert found["bf16"]["click"]["auc"] == pytest.approx(found["float32"]["click"]["auc"], abs=0.03)
    assert found["bf16"]["spend"]["rmse"] == pytest.approx(found["float32"]["spend"]["rmse"], rel=0.1)


def test_bf16_with_a_balancer_of_gradients(new_run: Callable[..., Training]) -> None:
    records = list(new_run(train={"epochs": 1, "precision": "bf16"}, balancer={"use": "mgda"}))
    assert all(sum(record.weights) == pytest.approx(1.0, abs=0.01) for record in records if hasattr(record, "weights"))


def test_a_diverging_run_says_which_task_and_what_to_do(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 50, "learning_rate": 1e18, "warmup": 0.0})
    with pytest.raises(UserError, match=r"its loss is not finite in step \d+; lower train.learning_rate"):
        list(run)


def test_a_diverging_run_may_skip_but_not_for_ever(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 50, "learning_rate": 1e18, "warmup": 0.0, "non_finite": "skip"})
    seen = []
    with pytest.raises(UserError, match="its loss is not finite"):
        seen.extend(run)
    skipped = [record for record in seen if isinstance(record, StepRecord) and math.isnan(record.losses[0])]
    assert len(skipped) == SKIPPED
    assert all(not any(record.weights) for record in skipped)


def losses_of(run: Training) -> list[tuple[float, ...]]:
    return [record.losses for record in run if isinstance(record, StepRecord)]


@pytest.mark.parametrize("balancer", ["equal", "mgda"])
def test_steps_computed_in_pieces_are_the_same_steps(new_run: Callable[..., Training], balancer: str) -> None:
    whole, pieces = (
        losses_of(new_run(train={"epochs": 1, "steps": 4, "micro_batches": count}, balancer={"use": balancer}))
        for count in (1, 3)
    )
    for one, other in zip(whole, pieces, strict=True):
        assert other == pytest.approx(one, rel=1e-3)


def test_gradients_compared_on_a_part_and_now_and_then(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 1, "steps": 6}, balancer={"use": "mgda", "every": 3, "share": 0.5})
    weights = [record.weights for record in run if isinstance(record, StepRecord)]
    assert weights[0] == weights[1] == weights[2] != weights[3] == weights[4] == weights[5]


def test_balancers_see_how_the_tasks_perform(new_run: Callable[..., Training]) -> None:
    run = new_run(train={"epochs": 2, "evaluate_every": 3}, balancer={"use": "dtp"})
    records = list(run)
    first = next(n for n, record in enumerate(records) if isinstance(record, EvaluationRecord))
    auc = records[first].scores["click"]["auc"]  # type: ignore[union-attr]
    after = records[first + 1]
    assert isinstance(after, StepRecord)
    assert after.weights[0] == pytest.approx(-(1 - auc) * math.log(auc), rel=1e-4)


def test_an_unknown_indicator_is_refused(new_config: Callable[..., Config], prepared_run: Callable[..., Any],
                                         table: pa.Table) -> None:  # fmt: skip
    tasks = {"click": {"kind": "binary", "label": "click", "kpi": "log_loss"}}
    config = new_config(tasks)
    with pytest.raises(UserError, match=r"tasks.click.kpi: 'log_loss' is no metric .* whose best value is 1; choose"):
        new_training(config, prepared_run(config, table), 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
def test_gradient_balancers_with_compiled_towers(new_run: Callable[..., Training]) -> None:
    found = []
    for compiled in (False, True):
        found.append(losses_of(new_run(train={"steps": 3, "compile": compiled}, balancer={"use": "mgda"})))
        torch.compiler.reset()
    for plain, compiled_losses in zip(*found, strict=True):
        assert compiled_losses == pytest.approx(plain, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
def test_a_compiled_model_learns_the_same(new_run: Callable[..., Training]) -> None:
    found = []
    for compiled in (False, True):
        run = new_run(train={"epochs": 1, "steps": 3, "compile": compiled})
        found.append([record.losses for record in run if isinstance(record, StepRecord)])
        torch.compiler.reset()
    for plain, compiled_losses in zip(*found, strict=True):
        assert compiled_losses == pytest.approx(plain, rel=1e-4)


def test_what_a_balancer_draws_follows_the_seed_of_the_run(new_run: Callable[..., Training]) -> None:
    def drawn(run_seed: int, **balancer: Any) -> list[tuple[float, ...]]:
        run = new_run(seed=run_seed, balancer={"use": "random_weights", **balancer}, train={"steps": 2})
        return [record.weights for record in run if isinstance(record, StepRecord)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1, seed=5) == drawn(2, seed=5)


def test_options_of_a_balancer_are_named_with_their_table(new_run: Callable[..., Training]) -> None:
    with pytest.raises(UserError, match=r"^balancer\.weights\.clik: no task has this name"):
        new_run(balancer={"use": "constant", "weights": {"clik": 1.0, "click": 1.0, "spend": 1.0}})
