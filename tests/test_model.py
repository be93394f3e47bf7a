from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch

from polytask.config import Config
from polytask.errors import UserError
from polytask.model import PIECE, Model, build_model, build_tasks
from polytask.serving.bundle import fitted_model
from polytask.types import Features, Ragged


@pytest.fixture
def model(new_config: Callable[..., Config], prepared_run: Callable[..., Any], table: pa.Table) -> Model:
    config = new_config()
    torch.manual_seed(0)
    return fitted_model(config, prepared_run(config, table).preprocessor).eval()


def features(model: Model, rows: int) -> Features:
    generator = torch.Generator().manual_seed(1)
    spec = model.encoder.spec
    ids = torch.randint(0, spec.rows, (rows, len(spec.columns)), generator=generator, dtype=torch.int32)
    items = torch.randint(0, spec.rows, (2 * rows,), generator=generator, dtype=torch.int32)
    offsets = torch.arange(0, 2 * rows + 1, 2)
    return Features(
        ids, torch.randn(rows, len(spec.numerics), generator=generator), {"history": Ragged(items, offsets)}
    )


def test_an_untrained_model_predicts_the_training_rates(model: Model) -> None:
    with torch.no_grad():
        for layer in model.heads.layers:
            layer.weight.zero_()
    found = model.predict(features(model, 7))
    for task in model.tasks:
        expected = task.constant_prediction.float()
        torch.testing.assert_close(found[task.name], expected.expand_as(found[task.name]), rtol=1e-4, atol=1e-5)


def test_logits_come_per_stack_and_predictions_per_task_in_order(model: Model) -> None:
    output = model(features(model, 7))
    assert [logits.shape[:2] for logits in output.logits] == [(len(group.indices), 7) for group in model.task_stacks]
    assert output.representation.value.shape == (5, 7, 8)
    assert list(model.predict(features(model, 7))) == ["click", "topic", "stars", "spend", "visits"]


@pytest.mark.parametrize("rows", [0, 1, PIECE, PIECE + 1, 2 * PIECE + 5])
def test_predicting_in_pieces_changes_nothing(rows: int, model: Model) -> None:
    from polytask.tasks import predict

    given = features(model, rows)
    with torch.no_grad():
        whole = predict(model.task_stacks, model(given).logits)
    found = model.predict(given)
    assert found.keys() == whole.keys()
    for name, values in whole.items():
        assert found[name].shape[0] == rows
        torch.testing.assert_close(found[name], values)


def test_the_same_seed_gives_the_same_weights(
    new_config: Callable[..., Config], prepared_run: Callable[..., Any], table: pa.Table
) -> None:
    config = new_config()
    prepared = prepared_run(config, table)
    weights = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        weights.append(fitted_model(config, prepared.preprocessor).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_wrong_options_name_their_key(new_config: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=r"tasks.click.gama: unknown option of binary .*did you mean 'gamma'"):
        new_config({"click": {"kind": "binary", "label": "click", "gama": 1.0}})
    with pytest.raises(UserError, match=r"towers.width: unknown option .*did you mean 'widths'"):
        new_config(towers={"width": [4]})


def test_parts_of_a_configuration(
    new_config: Callable[..., Config], prepared_run: Callable[..., Any], table: pa.Table
) -> None:
    config = new_config(("click", "spend"), towers={"widths": []}, sharing={"use": "ple", "widths": [6]})
    prepared = prepared_run(config, table)
    tasks = build_tasks(config)
    assert [task.kind for task in tasks] == ["binary", "regression"] and tasks[0].stats is None
    fitted = [task.fitted(prepared.preprocessor.stats[task.name]) for task in tasks]
    model = build_model(config, prepared.preprocessor.spec, fitted)
    assert model.sharing.out_features == 6 and not list(model.towers.parameters())
