"""A bank computed group by group against the same bank operation by operation."""

import pytest
import torch

from polytask.sharing import adatt, cgc, ml_mmoe, ple, poso, single_task, snr, stem
from polytask.sharing.experts import Experts
from polytask.sharing.functions import TaskScale
from polytask.testing import check_sharing

EXPERTS, WIDTH, BATCH = 5, 7, 9
STREAMS = {"one": None, "own": None, "by number": [2, 0, 0, 1, 2]}


@pytest.fixture(params=[1, 9, 1000], autouse=True)
def columns(request, monkeypatch):
    """Groups of one expert, of a few, and of all."""
    monkeypatch.setattr("polytask.sharing.bank.COLUMNS", request.param)


def built(widths):
    torch.manual_seed(1)
    bank = Experts(EXPERTS, WIDTH, widths).double()
    for parameter in bank.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return bank


@pytest.mark.parametrize("widths", [(4,), (4, 3), (4, 6, 3)], ids=str)
@pytest.mark.parametrize("streams", STREAMS)
def test_values_and_gradients(streams, widths):
    bank, index = built(widths), STREAMS[streams]
    index = None if index is None else torch.tensor(index)
    shape = (BATCH, WIDTH) if streams == "one" else (EXPERTS if index is None else 3, BATCH, WIDTH)
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    read = x.expand(EXPERTS, BATCH, WIDTH) if streams == "one" else x if index is None else x[index]
    wanted = bank.finish(bank.first(read))
    found = bank.by_group(x, index, None, None, None, TaskScale())[0]
    torch.testing.assert_close(found, wanted)
    down = torch.randn_like(wanted.transpose(0, 1)).transpose(0, 1)  # as a mixture sends it
    leaves = [x, *bank.parameters()]
    ours, theirs = torch.autograd.grad(found, leaves, down), torch.autograd.grad(wanted, leaves, down)
    torch.testing.assert_close(ours, theirs)


def test_gradients_of_the_input_weigh_each_column_by_its_owner():
    bank, scale = built((4, 3)), TaskScale(torch.tensor([2.0, 3.0], dtype=torch.float64))
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
    gate = torch.randn(6, WIDTH, dtype=torch.float64, requires_grad=True)
    experts = torch.tensor([0, 0, 1, 1, -1])
    values, a = bank.by_group(x, None, gate, experts.repeat_interleave(4), torch.arange(6) % 2, scale)
    first = torch.autograd.grad(values.sum() + a.sum(), [x, gate, *bank.parameters()])
    plain = bank.finish(bank.first(x.expand(EXPERTS, -1, -1)))
    weighed = plain * torch.tensor([2.0, 2.0, 3.0, 3.0, 1.0]).view(-1, 1, 1)
    weighed_gates = (x @ gate.T) * torch.tensor([2.0, 3.0]).repeat(3)
    torch.testing.assert_close(
        first[0], torch.autograd.grad(weighed.sum() + weighed_gates.sum(), x, retain_graph=True)[0]
    )
    own = torch.autograd.grad(plain.sum() + (x @ gate.T).sum(), [gate, *bank.parameters()])
    torch.testing.assert_close(first[1:], own)


def test_frozen_parameters_and_inputs_get_no_gradient():
    bank = built((4, 3))
    bank.first.weight.requires_grad_(False)
    bank.upper[0].bias.requires_grad_(False)
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64)
    bank.by_group(x, None, None, None, None, TaskScale())[0].sum().backward()
    assert [part.grad is None for part in bank.parameters()] == [True, False, False, True]


def test_the_last_layer_is_the_nearest_one_in_the_graph():
    bank = built((4, 6, 3))
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
    level, found = [bank.by_group(x, None, None, None, None, TaskScale())[0].grad_fn], []
    while level:
        level = [following for node in level for following, _ in node.next_functions if following is not None]
        found += [node.variable for node in level if hasattr(node, "variable")]
    stacks = (bank.upper[1], bank.upper[0], bank.first)
    parts = [part for stack in stacks for part in (stack.weight, stack.bias)]
    assert [id(leaf) for leaf in found] == [id(leaf) for leaf in (*parts, x)]


@pytest.mark.parametrize(
    "build",
    [
        lambda tasks, width: single_task(tasks, width, widths=(5, 4)),
        lambda tasks, width: cgc(tasks, width, experts=2, widths=(5, 4)),
        lambda tasks, width: ple(tasks, width, widths=(4,)),
        lambda tasks, width: ple(tasks, width, levels=3, experts=1, widths=(5, 4)),
        lambda tasks, width: ml_mmoe(tasks, width, experts=(4, 3), widths=(4,)),
        lambda tasks, width: adatt(tasks, width, widths=(4,)),
        lambda tasks, width: snr(tasks, width, experts=3, widths=(4,)),
        lambda tasks, width: stem(tasks, width, widths=(5, 4)),
        lambda tasks, width: poso(tasks, width, widths=(5, 4)),
    ],
    ids=["single_task", "cgc", "ple", "ple of three levels", "ml_mmoe", "adatt", "snr", "stem", "poso"],
)
def test_contract_in_groups(build):
    check_sharing(build)


@pytest.mark.parametrize("trained", [False, True])
def test_other_experts_go_operation_by_operation(trained):
    x = torch.randn(BATCH, WIDTH, requires_grad=trained)
    assert Experts(2, WIDTH, (4,)).in_groups(x)
    for options in ({"activation": "silu"}, {"norm": "layer"}, {"dropout": 0.1}):
        assert not Experts(2, WIDTH, (4,), **options).in_groups(x)
    with torch.no_grad():
        assert not Experts(2, WIDTH, (4,)).in_groups(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not Experts(2, WIDTH, (4,)).in_groups(x)
