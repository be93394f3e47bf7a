"""Look-ahead affinity against copies of the model that are really moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import torch

from polytask.model import Model
from polytask.serving.bundle import fitted_model
from polytask.training.affinity import lookahead_affinity
from polytask.training.step import targets, task_losses
from polytask.types import Batch

MIXED = ("click", "spend", "visits")
CHAIN: Mapping[str, Any] = {
    "click": {"kind": "binary", "label": "click"},
    "buy": {"kind": "binary", "label": "stars >= 3", "after": "click"},
}


@pytest.fixture
def made(new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table) -> Callable[..., Any]:
    def build(tasks: Any = MIXED, **sections: Any) -> tuple[Model, Batch]:
        config = new_config(tasks, **sections)
        prepared = prepared_run(config, table)
        torch.manual_seed(0)
        model = fitted_model(config, prepared.preprocessor)
        _, batch = next(prepared.reader("train").shuffled(64, seed=0))
        return model, batch

    return build


def by_hand(model: Model, batch: Batch, learning_rate: float, private: str = "nothing") -> torch.Tensor:
    """Moves a copy of the model per task, along everything below the towers but what is named as private."""

    def losses_of(one: Model) -> torch.Tensor:
        (losses,), _, _ = task_losses(one, [(batch, targets(one, batch))])
        return losses

    model = deepcopy(model).eval()
    before = losses_of(model)
    rows = []
    for task in range(len(before)):
        moved = deepcopy(model)
        shared = [
            parameter
            for name, parameter in moved.named_parameters()
            if name.startswith(("encoder", "sharing")) and private not in name
        ]
        grads = torch.autograd.grad(losses_of(moved)[task], shared, allow_unused=True)
        with torch.no_grad():
            for parameter, grad in zip(shared, grads, strict=True):
                if grad is not None:
                    parameter -= learning_rate * (grad.to_dense() if grad.is_sparse else grad)
            rows.append(1.0 - losses_of(moved) / before.detach())
    return torch.stack(rows).double()


ARCHITECTURES = [({"use": "shared_bottom", "widths": [8]}, "nothing"), ({"use": "mmoe", "experts": 2}, "gate")]


@pytest.mark.parametrize(("sharing", "private"), ARCHITECTURES, ids=["shared_bottom", "mmoe"])
def test_it_is_what_really_moving_copies_gives(made: Callable[..., Any], sharing: Any, private: str) -> None:
    model, batch = made(sharing=sharing)
    found = lookahead_affinity(model, batch, 0.1)
    torch.testing.assert_close(found, by_hand(model, batch, 0.1, private), rtol=1e-3, atol=1e-5)
    assert (found.diagonal() > 0).all()  # a step along its own gradient helps


@pytest.mark.parametrize("chain", ["plain", "esmm", "aitm"])
def test_chains_have_it_too(made: Callable[..., Any], chain: str) -> None:
    model, batch = made(CHAIN, sharing={"use": "shared_bottom", "widths": [8]}, chain={"use": chain})
    found = lookahead_affinity(model, batch, 0.1)
    torch.testing.assert_close(found, by_hand(model, batch, 0.1), rtol=1e-3, atol=1e-5)


def test_an_absent_task_has_none(made: Callable[..., Any]) -> None:
    model, batch = made()
    observed = {name: mask & (name != "spend") for name, mask in batch.observed.items()}
    found = lookahead_affinity(model, replace(batch, observed=observed), 0.1)
    assert found.isnan().tolist() == [[False, True, False], [True, True, True], [False, True, False]]
    whole = lookahead_affinity(model, batch, 0.1)
    torch.testing.assert_close(found[0, [0, 2]], whole[0, [0, 2]])


def test_the_model_is_left_bit_by_bit(made: Callable[..., Any]) -> None:
    model, batch = made(encoder={"dropout": 0.5})
    model.train()
    model.towers.eval()
    parameters = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    lookahead_affinity(model, batch, 10.0)
    assert all(torch.equal(parameters[name], value) for name, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_without_anything_shared_no_task_moves_another(made: Callable[..., Any]) -> None:
    model, batch = made()
    for parameter in (*model.encoder.parameters(), *model.sharing.parameters()):
        parameter.requires_grad_(False)
    found = lookahead_affinity(model, batch, 0.1)
    assert torch.equal(found, torch.zeros_like(found))
