from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch

from polytask.balancing import equal, uncertainty
from polytask.config import TrainConfig
from polytask.model import Model
from polytask.serving.bundle import fitted_model
from polytask.training.optimization import Curve, Optimization
from polytask.training.rowwise import coalesce
from polytask.training.step import train_step
from polytask.types import Batch


@pytest.fixture
def small(new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table) -> tuple[Model, Batch]:
    config = new_config(("click", "spend"))
    prepared = prepared_run(config, table)
    torch.manual_seed(0)
    return fitted_model(config, prepared.preprocessor), next(prepared.reader("train").shuffled(64, seed=0))[1]


def total_norm(model: Model) -> float:
    """Of the gradients as one vector, with repeated ids added up."""
    norms = []
    for parameter in model.parameters():
        if parameter.grad is not None:
            grad = coalesce(parameter.grad)[1] if parameter.grad.is_sparse else parameter.grad
            norms.append(grad.norm())
    return float(torch.stack(norms).norm())


@pytest.mark.parametrize("decay", ["cosine", "linear", "none"])
def test_the_curve_rises_to_one_and_falls(decay: str) -> None:
    shares = [Curve(100, 0.1, decay).at(step) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(shares) == 1.0
    assert all(later <= earlier for earlier, later in itertools.pairwise(shares[9:]))
    assert shares[-1] == 1.0 if decay == "none" else 0.0 < shares[-1] < 0.02


def test_clipping_limits_the_norm_of_all_gradients_together(small: tuple[Model, Batch]) -> None:
    model, batch = small
    optimization = Optimization(model, equal(), TrainConfig(clip_norm=0.01), steps=10)
    _, _, seen = train_step(model, equal(), [batch], number=0, epoch=0, seed=0)
    assert total_norm(model) > 0.05
    optimization.step(0, seen.present)
    assert total_norm(model) == pytest.approx(0.01, rel=1e-3)


def test_weight_decay_moves_matrices_only(small: tuple[Model, Batch]) -> None:
    model, _ = small
    balancer = uncertainty(["binary", "regression"])
    config = TrainConfig(weight_decay=0.5, learning_rate=0.1, warmup=0.0, decay="none")
    optimization = Optimization(model, balancer, config, steps=10)
    with torch.no_grad():
        for parameter in (*model.parameters(), *balancer.parameters()):
            parameter.fill_(1.0)
            parameter.grad = None if parameter is model.encoder.table else torch.zeros_like(parameter)
    optimization.step(0, torch.tensor([True, True]))
    for name, parameter in model.named_parameters():
        decays = name != "encoder.table" and not name.endswith("bias") and "norm" not in name
        assert parameter.flatten()[0].item() == pytest.approx(0.95 if decays else 1.0), name
    assert balancer.log_variance.tolist() == [1.0, 1.0]


def test_the_embedding_table_has_its_own_learning_rate(small: tuple[Model, Batch]) -> None:
    model, batch = small
    before = model.encoder.table.detach().clone()
    optimization = Optimization(model, equal(), TrainConfig(embedding_learning_rate=1e-30, warmup=0.0), steps=10)
    _, _, seen = train_step(model, equal(), [batch], number=0, epoch=0, seed=0)
    optimization.step(0, seen.present)
    torch.testing.assert_close(model.encoder.table.detach(), before, rtol=0, atol=1e-6)
