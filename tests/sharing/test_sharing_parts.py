"""The parts of gated layers: starts, gates, owners, closed forms, doors, and what wrong options are told."""

import gc
import math
import weakref

import pytest
import torch

import polytask.sharing
from polytask.errors import UserError
from polytask.sharing import cgc, closed_form, mmoe, ple
from polytask.sharing.gates import Softmax
from polytask.sharing.gates.softmax import SoftmaxGates
from polytask.sharing.wiring import SHARED, Wiring, trace_owners
from polytask.stack import Stack


def test_experts_start_differently_and_with_the_fan_in_of_one():
    torch.manual_seed(0)
    weight = mmoe(2, 50, experts=8, widths=(64,)).levels[0].experts.first.weight
    bound = math.sqrt(6 / 50)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert len({expert.sum().item() for expert in weight}) == 8


@pytest.mark.parametrize("name", polytask.sharing.__all__)
def test_the_seed_fixes_everything(name):
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        sharing = getattr(polytask.sharing, name)(3, 6, widths=(4, 4), dropout=0.5)
        value = sharing(torch.randn(5, 6)).value
        value.square().sum().backward()
        found.append([value, *[parameter.grad for parameter in sharing.parameters()]])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_dropout_is_off_in_evaluation():
    sharing = mmoe(2, 6, dropout=0.5)
    x = torch.randn(5, 6)
    assert not torch.equal(sharing(x).value, sharing(x).value)
    sharing.eval()
    assert torch.equal(sharing(x).value, sharing(x).value)


def test_invisible_experts_get_exactly_nothing():
    gates = SoftmaxGates(torch.tensor([[True, False, True], [True, True, True]]), 4)
    weights, _ = gates(torch.tensor([[[0.0, 1e30, 0.0], [0.0, 0.0, math.log(2)]]]))
    assert weights[0].tolist()[0] == [0.5, 0.0, 0.5]
    assert weights[0].tolist()[1] == pytest.approx([0.25, 0.25, 0.5])


def test_temperature_evens_gates_out():
    visible = torch.ones(1, 2, dtype=torch.bool)
    logits = torch.tensor([[[0.0, 2.0]]])
    assert torch.equal(SoftmaxGates(visible, 4, temperature=2.0)(logits)[0], torch.softmax(logits / 2, -1))


def test_a_blind_row_is_refused():
    with pytest.raises(UserError, match=r"visible: rows \[1\] see no expert"):
        SoftmaxGates(torch.tensor([[True], [False]]), 4)


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"widths": ()}, [r"widths: \(\) given; give one positive width per layer"]),
        ({"activation": "rellu"}, ["activation: 'rellu' is unknown; did you mean 'relu'"]),
        (
            {"norm": "group", "dropout": 1.0},
            ["2 problems", "norm: 'group' is unknown", "dropout: 1.0 given; choose a share"],
        ),
        ({"experts": 0}, ["experts: 0 given; at least one expert is needed"]),
        ({"gate": Softmax(temperature=0.0)}, [r"gate.temperature: is 0.0; give a number above 0"]),
    ],
)
def test_wrong_options_of_mmoe(options, messages):
    for message in messages:
        with pytest.raises(UserError, match=message):
            mmoe(2, 6, **options)


def test_wrong_options_of_cgc_and_ple():
    with pytest.raises(UserError, match="experts: 0 of each task's own and 0 shared given"):
        cgc(2, 6, experts=0, shared_experts=0)
    with pytest.raises(UserError, match="levels: 0 given; choose at least one"):
        ple(2, 6, levels=0)


def test_owners_of_progressive_levels():
    """In the last level own experts are private; below it the shared row reads all experts, so none is."""
    top = torch.tensor([[1, 0, 1], [0, 1, 1]]).bool()
    below = torch.cat([top, torch.ones(1, 3, dtype=torch.bool)])
    upper = Wiring(top, (0, 1, 2), (0, 1))
    middle = Wiring(below, (0, 1, 2), (0, 1, 2))
    lowest = Wiring(below, (0, 0, 0), (0, 0, 0))
    found = trace_owners([lowest, middle, upper], [1, 3, 3], [0, 1])
    assert found[2].rows == (0, 1)
    assert found[2].experts == (0, 1, SHARED)
    assert found[2].streams == found[1].rows == (0, 1, SHARED)
    assert found[1].experts == (SHARED,) * 3
    assert found[1].streams == found[0].rows == (SHARED,) * 3
    assert found[0].streams == (SHARED,)


def test_both_ways_to_the_gramian_at_the_input_agree():
    torch.manual_seed(0)
    a, matrix = torch.randn(3000, 12).double(), torch.randn(12, 5).double()
    owner = torch.tensor([2, 0, 0, 1, 2, 2, 0, 1, 1, 1, 2, 2])
    one, two = closed_form._by_columns(a, matrix, owner, 4), closed_form._by_tasks(a, matrix, owner, 4)
    torch.testing.assert_close(one, two)
    assert not one[3].any()  # a task without columns
    kept = closed_form.read(a, matrices=[matrix], owners=[torch.where(owner == 2, SHARED, owner)], tasks=4)
    torch.testing.assert_close(kept[:2, :2], one[:2, :2])
    assert not kept[2].any()


def test_a_closed_cut_refuses_to_weigh():
    sharing = mmoe(2, 6)
    with torch.no_grad():
        representation = sharing(torch.randn(4, 6))
    with pytest.raises(RuntimeError, match="this cut is closed: the forward pass ran without gradients"):
        representation.cut.weights = torch.ones(2)
    with pytest.raises(RuntimeError, match="this cut is closed"):
        representation.cut.gramian(representation.value)


@pytest.mark.parametrize("name", ["mmoe", "ple", "single_task"])
def test_the_graph_dies_with_the_representation(name):
    """Functions refer to the weights and not to the cut; otherwise every step would leak its activations."""
    sharing = getattr(polytask.sharing, name)(2, 6, widths=(4,))
    x = torch.randn(4, 6, requires_grad=True)
    gc.disable()
    try:
        representation = sharing(x)
        watched = weakref.ref(representation.cut)
        value = weakref.ref(representation.value)
        representation.value.sum().backward()
        del representation
        assert watched() is None
        assert value() is None
    finally:
        gc.enable()


def test_stack_is_a_linear_layer_per_entry():
    stack = Stack(3, 5, 2)
    x = torch.randn(3, 4, 5)
    wanted = [torch.nn.functional.linear(x[s], stack.weight[s], stack.bias[s]) for s in range(3)]
    torch.testing.assert_close(stack(x), torch.stack(wanted))


def test_compiled_and_plain_agree_in_evaluation():
    sharing = mmoe(2, 6, widths=(4,)).eval()
    x = torch.randn(4, 6)
    with torch.inference_mode():
        inference = sharing(x).value
    torch.testing.assert_close(inference, sharing(x).value.detach())


@pytest.mark.parametrize("name", polytask.sharing.__all__)
@pytest.mark.parametrize("how", ["autocast", "bfloat16"])
def test_half_precision(name, how):
    """Training, weights and Gramian in bfloat16 stay near those of float32."""
    torch.manual_seed(2)
    sharing = getattr(polytask.sharing, name)(
        2, 16, widths=(16, 16), activation="gelu"
    )  # no units that a narrow type switches off
    sharing.train(name != "snr")  # which draws its switches
    x, down = torch.randn(32, 16), torch.randn(2, 32, sharing.out_features)
    found = []
    for narrow in (False, True):
        if narrow and how == "bfloat16":
            sharing, x = sharing.to(torch.bfloat16), x.to(torch.bfloat16)
        x = x.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow and how == "autocast"):
            representation = sharing(x)
        down = down.to(representation.value.dtype)
        gramian = representation.cut.gramian(down)
        representation.cut.weights = torch.tensor([1.0, 3.0])
        torch.autograd.backward(representation.value, down)
        assert all(parameter.grad.dtype == parameter.dtype for parameter in sharing.parameters())
        assert gramian.dtype == torch.float32
        found.append((gramian, x.grad.float()))
        sharing.zero_grad()
    for exact, near in zip(*found, strict=True):
        assert (near - exact).norm() < 0.1 * exact.norm()
