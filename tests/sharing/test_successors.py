"""AdaTT, SNR, POSO, PEPNet, HoME, STEM and batch normalisation: equalities, switches, columns, categories, streams."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import nn

import polytask.testing.sharing
from polytask.encoders import table as table_encoder
from polytask.errors import UserError
from polytask.serving.bundle import fitted_model
from polytask.sharing import adatt, home, mmoe, pepnet, poso, single_task, snr, stem
from polytask.sharing.snr import HardConcrete
from polytask.specs import FeatureSpec, SequenceSpec
from polytask.stack import StackBatchNorm, matrices
from polytask.testing import check_sharing
from polytask.types import Features, Ragged

TASKS, WIDTH = 3, 8
OPTIONS: dict[str, Any] = {"widths": (5, 4), "norm": "layer", "activation": "gelu"}
SLICES = {"user": slice(0, 2), "tab": slice(2, 6), "age": slice(6, 8)}
TWO = {"watch": ["0", "2"], "inter": ["1"]}


def several(tasks: int) -> Any:
    """Two categories of three tasks, one of one."""
    return TWO if tasks == TASKS else None


VARIANTS = {
    "adatt of one expert each": lambda tasks, width: adatt(tasks, width, experts=1, levels=3, widths=(4,)),
    "adatt of one level": lambda tasks, width: adatt(tasks, width, levels=1, shared_experts=1, **OPTIONS),
    "snr of one level": lambda tasks, width: snr(tasks, width, levels=1, **OPTIONS),
    "snr with batch statistics": lambda tasks, width: snr(tasks, width, widths=(4,), norm="batch"),
    "poso on columns": lambda tasks, width: poso(tasks, width, columns=["age", "user"], slices=SLICES, **OPTIONS),
    "pepnet on columns": lambda tasks, width: pepnet(tasks, width, columns=["tab"], slices=SLICES, **OPTIONS),
    "home of two categories": lambda tasks, width: home(tasks, width, categories=several(tasks), **OPTIONS),
    "home with batch statistics": lambda tasks, width: home(tasks, width, widths=(4,), categories=several(tasks)),
    "stem of several streams": lambda tasks, width: stem(tasks, width, streams=tasks + 1, experts=2, **OPTIONS),
    "stem of two levels": lambda tasks, width: stem(tasks, width, streams=tasks + 1, levels=2, **OPTIONS),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_contract_of_variants(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polytask.testing.sharing, "WIDTH", WIDTH)
    check_sharing(VARIANTS[name])


def run(sharing: nn.Module, weights: tuple[float, ...] = (1.0, 2.0, 3.0)) -> list[torch.Tensor]:
    """The value, and the gradient of the input with weights at the cut."""
    torch.manual_seed(1)
    x = torch.randn(7, WIDTH, requires_grad=True)
    representation = sharing(x)
    representation.cut.weights = torch.tensor(weights)
    (grad,) = torch.autograd.grad(representation.value, x, torch.randn(representation.value.shape))
    return [representation.value.detach(), grad]


# AdaTT


def test_adatt_whose_residuals_are_0_is_mmoe() -> None:
    one, other = adatt(TASKS, WIDTH, levels=1, experts=2, **OPTIONS), mmoe(TASKS, WIDTH, experts=6, **OPTIONS)
    found = one.load_state_dict(other.state_dict(), strict=False)
    assert found.missing_keys == ["levels.0.gates.residual.weight"] and not found.unexpected_keys
    torch.nn.init.zeros_(one.get_parameter("levels.0.gates.residual.weight"))
    torch.testing.assert_close(run(one), run(other))


def test_adatt_of_one_expert_adds_it_once() -> None:
    sharing, alone = adatt(TASKS, WIDTH, levels=1, experts=1, **OPTIONS), single_task(TASKS, WIDTH, **OPTIONS)
    for name, parameter in alone.named_parameters():
        sharing.get_parameter(name).data.copy_(parameter)
    x = torch.randn(6, WIDTH)
    gate = sharing(x).gates["level1"]
    torch.testing.assert_close(gate.sum(2), torch.full((6, TASKS), 2.0))
    own = alone(x).value
    mixed = torch.einsum("bre,ebh->rbh", gate - torch.eye(TASKS), own)
    torch.testing.assert_close(sharing(x).value, mixed + own)
    assert "levels.0.gates.residual.weight" not in dict(sharing.named_parameters())


# SNR


def test_switches_are_hard_concrete() -> None:
    torch.manual_seed(0)
    switches = HardConcrete(200, 200, keep=0.5)
    z = switches().detach()
    assert float(z.min()) == 0.0 and float(z.max()) == 1.0
    shut = 1.0 / (1.0 + math.exp(-(2 / 3) * math.log(1 / 11)))  # P(z = 0) at log_alpha = 0
    assert float((z == 0).float().mean()) == pytest.approx(shut, abs=0.01)
    assert float(switches.expected_l0().detach()) == pytest.approx(40_000 * (1.0 - shut), rel=1e-4)
    assert not torch.equal(switches(), z)
    torch.testing.assert_close(switches.eval()(), torch.full((200, 200), 0.5))
    torch.testing.assert_close(HardConcrete(1, 1, keep=0.9).eval()(), torch.tensor([[0.9]]))


def test_snr_is_random_in_training_and_penalised() -> None:
    sharing, x = snr(TASKS, WIDTH, experts=3, l0=0.5, **OPTIONS), torch.randn(4, WIDTH)
    assert not torch.equal(sharing(x).value, sharing(x).value)
    penalty = sharing(x).penalty
    expected = sum(float(routing.switches.expected_l0().detach()) for _, routing in sharing.levels)
    assert float(penalty.detach()) == pytest.approx(0.5 * expected)
    log_alpha = sharing.levels[0][1].switches.log_alpha
    assert (torch.autograd.grad(penalty, log_alpha)[0] > 0).all()
    assert sharing.eval()(x).penalty is None and snr(TASKS, WIDTH, l0=0.0, **OPTIONS)(x).penalty is None
    assert {id(parameter) for parameter, _ in sharing.learning_rates()} == {
        id(routing.switches.log_alpha) for _, routing in sharing.levels
    }


def test_snr_with_one_switch_per_task_open_is_single_task() -> None:
    sharing, alone = (
        snr(TASKS, WIDTH, levels=1, experts=TASKS, mode="aver", **OPTIONS),
        single_task(TASKS, WIDTH, **OPTIONS),
    )
    for name, parameter in alone.get_submodule("levels.0.experts").named_parameters():
        sharing.get_parameter(f"banks.0.{name}").data.copy_(parameter)
    log_alpha = sharing.get_parameter("routings.0.switches.log_alpha")
    log_alpha.data.copy_(20.0 * (2.0 * torch.eye(TASKS) - 1.0))
    torch.testing.assert_close(run(sharing.eval(), (1.0,) * 3), run(alone, (1.0,) * 3))


# POSO and PEPNet


@pytest.mark.parametrize("builder", [poso, pepnet])
def test_gates_read_their_columns(builder: Callable[..., Any]) -> None:
    """Other columns reach POSO's gates not at all, PEPNet's through a copy without a gradient."""
    sharing = builder(TASKS, WIDTH, columns=["tab"], slices=SLICES, **OPTIONS)
    x = torch.randn(5, WIDTH)
    torch.testing.assert_close(sharing.prior(x), x[:, 2:6])
    if builder is poso:
        changed = x.clone()
        changed[:, [0, 1, 6, 7]] += 1.0
        assert torch.equal(sharing(x).gates["level1"], sharing(changed).gates["level1"])
        changed[:, 2] += 1.0
        assert not torch.equal(sharing(x).gates["level1"], sharing(changed).gates["level1"])


@pytest.mark.parametrize("builder", [poso, pepnet])
def test_unknown_columns(builder: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"no column of the input is named 'tap'.*did you mean 'tab'"):
        builder(TASKS, WIDTH, columns=["user", "tap"], slices=SLICES)
    with pytest.raises(UserError, match="nothing says which part of the input"):
        builder(TASKS, WIDTH, columns=["user"])


def test_poso_half_open_is_the_mean_of_its_modules() -> None:
    sharing = poso(TASKS, WIDTH, experts=4, **OPTIONS)
    for parameter in sharing.gates.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(5, WIDTH)
    one = mmoe(TASKS, WIDTH, experts=4, **OPTIONS)
    one.get_submodule("levels.0.experts").load_state_dict(sharing.experts.state_dict())
    torch.nn.init.zeros_(one.get_parameter("levels.0.gates.weight"))
    torch.testing.assert_close(sharing(x).value, one(x).value)


def test_pepnet_whose_gates_say_nothing_is_single_task() -> None:
    sharing, alone = pepnet(TASKS, WIDTH, **OPTIONS), single_task(TASKS, WIDTH, **OPTIONS)
    sharing.networks.load_state_dict(alone.get_submodule("levels.0.experts").state_dict())
    for unit in [sharing.input_gate, *sharing.units]:
        torch.nn.init.zeros_(unit.out.weight)
    torch.testing.assert_close(run(sharing), run(alone))


# HoME


def test_home_keeps_categories_apart() -> None:
    """A task's own experts see its category's state, and no category reaches another but through the shared state."""
    sharing = home(TASKS, WIDTH, categories=TWO, **OPTIONS)
    assert sharing(torch.randn(2, WIDTH)).gates["level1"].shape == (2, 3, 6)
    seen = sharing.upper_gates.visible.int()[:, ::2].tolist()  # shared, two categories, three tasks
    assert seen == [[1, 1, 0, 1, 0, 0], [1, 0, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1]]


def test_self_gates_add_to_the_sum_of_the_weights() -> None:
    for level in home(TASKS, WIDTH, categories=TWO, **OPTIONS)(torch.randn(4, WIDTH)).gates.values():
        torch.testing.assert_close(level.sum(2), torch.full(level.shape[:2], 2.0))


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ({"watch": ["click", "vew"]}, "categories.watch: no task is named 'vew'.*did you mean 'view'"),
        ({"watch": ["click"]}, "task 'view' stands in 0 categories"),
        ({"watch": ["click", "view"], "inter": ["view"]}, "task 'view' stands in 2 categories"),
        ({"watch": ["click", "view"], "inter": []}, "categories.inter: lists no task"),
    ],
)
def test_wrong_categories(categories: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        home(2, WIDTH, names=["click", "view"], categories=categories)


# STEM


def test_no_task_moves_what_belongs_to_another() -> None:
    sharing = stem(TASKS, WIDTH, streams=4, **OPTIONS)
    x = torch.randn(5, WIDTH, requires_grad=True)
    sharing(x).value[1].sum().backward()
    moved = x.grad.view(5, 4, 2).abs().sum((0, 2)) > 0
    assert moved.tolist() == [False, True, False, True]
    experts = sharing.levels[0].experts.first.weight.grad.abs().sum((1, 2)) > 0
    assert experts.tolist() == [False, True, False, True]


def test_stem_of_one_input_has_the_values_of_mmoe() -> None:
    sharing, other = stem(TASKS, WIDTH, **OPTIONS), mmoe(TASKS, WIDTH, experts=4, **OPTIONS)
    state = other.state_dict()
    state["levels.0.gates.weight"] = state["levels.0.gates.weight"] / 2  # the gates read x + x
    sharing.load_state_dict(state)
    x = torch.randn(5, WIDTH)
    torch.testing.assert_close(sharing(x).value, other(x).value)


def test_streams_must_fit() -> None:
    with pytest.raises(UserError, match="streams: is 3 for 3 tasks"):
        stem(TASKS, WIDTH, streams=3)
    with pytest.raises(UserError, match="streams: is 4 for 3 tasks and an input of width 9"):
        stem(TASKS, 9, streams=4)


# The encoder's side


IDS, NUMBERS = torch.tensor([[2, 7], [3, 8], [2, 9]]), torch.tensor([[0.5], [0.0], [-3.0]])
HISTORY = Ragged(torch.tensor([7, 8, 9, 7]), torch.tensor([0, 2, 2, 4]))
SPEC = FeatureSpec(
    ("user", "item"), rows=10, numerics=("age",), unseen=(0, 5),
    sequences=(SequenceSpec("history"), SequenceSpec("asked", "attention", target=1)),
)  # fmt: skip


def test_slices_say_where_columns_are() -> None:
    encoder = table_encoder(SPEC, embedding=3, norm="none")
    found = encoder(Features(IDS, NUMBERS, {"history": HISTORY, "asked": HISTORY}))
    assert list(encoder.slices) == ["user", "item", "age", "history", "asked"]
    torch.testing.assert_close(found[:, encoder.slices["item"]], encoder.table[IDS[:, 1]])
    torch.testing.assert_close(found[:, encoder.slices["age"]], NUMBERS)
    assert encoder.slices["asked"].stop == encoder.out_features


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_streams_are_encoders_side_by_side(norm: str) -> None:
    together = table_encoder(SPEC, embedding=3, norm=norm, streams=2)
    features = Features(IDS, NUMBERS, {"history": HISTORY, "asked": HISTORY})
    parts = []
    for number in range(2):
        alone = table_encoder(SPEC, embedding=3, norm=norm)
        state = together.state_dict()
        alone.load_state_dict({**state, "table": state["table"][:, 3 * number : 3 * number + 3]})
        parts.append(alone(features))
    torch.testing.assert_close(together(features), torch.cat(parts, 1))
    assert together(Features(IDS[:0], NUMBERS[:0], {"history": EMPTY, "asked": EMPTY})).shape == (0, 26)


EMPTY = Ragged(torch.tensor([], dtype=torch.int64), torch.tensor([0]))


@pytest.mark.parametrize(
    "sharing",
    [
        {"use": "stem", "widths": [6]},
        {"use": "poso", "widths": [6], "columns": ["user"]},
        {"use": "pepnet", "widths": [6], "columns": ["user"]},
        {"use": "home", "widths": [6], "categories": {"one": ["click"], "two": ["spend"]}},
    ],
    ids=lambda sharing: str(sharing["use"]),
)
def test_models_of_configurations(
    sharing: dict[str, Any], new_config: Callable[..., Any], prepared_run: Callable[..., Any], table: pa.Table
) -> None:
    config = new_config(("click", "spend"), sharing=sharing)
    model = fitted_model(config, prepared_run(config, table).preprocessor)
    rows = model.encoder.table.shape[1]
    assert rows == (12 if sharing["use"] == "stem" else 4)
    if "columns" in sharing:
        assert model.sharing.prior.out_features == 4


# Batch normalisation


def test_batch_normalisation_is_that_of_torch() -> None:
    ours, theirs = StackBatchNorm(2, 3), [nn.BatchNorm1d(3) for _ in range(2)]
    with torch.no_grad():
        ours.weight.uniform_(), ours.bias.uniform_()
        for entry, one in enumerate(theirs):
            one.weight.copy_(ours.weight[entry, 0]), one.bias.copy_(ours.bias[entry, 0])
    for training in (True, True, False):
        ours.train(training)
        x = torch.randn(2, 6, 3) * 2.0 + 1.0
        expected = torch.stack([one.train(training)(rows) for one, rows in zip(theirs, x, strict=True)])
        torch.testing.assert_close(ours(x), expected)
    for entry, one in enumerate(theirs):
        torch.testing.assert_close(ours.mean[entry, 0], one.running_mean)
        torch.testing.assert_close(ours.variance[entry, 0], one.running_var)


@pytest.mark.parametrize("rows", [0, 1])
def test_batches_without_a_variance_leave_the_statistics_alone(rows: int) -> None:
    norm = StackBatchNorm(2, 3)
    norm(torch.randn(2, 5, 3))
    before = norm.mean.clone()
    x = torch.randn(2, rows, 3)
    torch.testing.assert_close(norm(x), norm.eval()(x))
    assert torch.equal(norm.mean, before)


def test_batch_normalisation_does_not_decay() -> None:
    sharing = home(2, WIDTH, widths=(4,))
    norms = [module for module in sharing.modules() if isinstance(module, StackBatchNorm)]
    assert len(norms) == 2
    assert not {id(norm.weight) for norm in norms} & {id(parameter) for parameter in matrices(sharing)}
