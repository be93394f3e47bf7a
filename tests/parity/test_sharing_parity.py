"""Values and gradients of every architecture against loops over tasks and experts with the same weights."""

import loops
import pytest
import torch

from polytask.sharing import asymmetric, cgc, customized, masked, ml_mmoe, mmoe, omoe, ple, shared_bottom, single_task
from polytask.sharing.gates import Softmax

WIDTHS = (5, 4)
CASES = {
    "single_task": (single_task(3, 6, widths=WIDTHS), loops.single_task),
    "shared_bottom": (shared_bottom(3, 6, widths=WIDTHS), loops.shared_bottom),
    "omoe": (omoe(3, 6, experts=4, widths=WIDTHS), loops.omoe),
    "mmoe": (mmoe(3, 6, experts=4, widths=WIDTHS), loops.mmoe),
    "mmoe with gate bias": (mmoe(3, 6, experts=4, widths=(4,), gate=Softmax(bias=True, temperature=0.5)), loops.mmoe),
    "cgc": (cgc(3, 6, experts=2, shared_experts=1, widths=WIDTHS), loops.mmoe),
    "asymmetric": (
        asymmetric(3, 6, names="abc", reads={"a": ["a"], "b": ["c"], "c": ["a", "c"]}, widths=WIDTHS),
        lambda sharing, x: loops.concatenated(sharing, x, [[0], [1], [0, 1]]),
    ),
    "asymmetric mean": (
        asymmetric(3, 6, names="abc", reads={"a": ["a", "b", "c"]}, widths=WIDTHS, fusion="mean"),
        lambda sharing, x: loops.averaged(sharing, x, [[0, 1, 2], [1], [2]]),
    ),
    "customized": (
        customized(3, 6, widths=WIDTHS),
        lambda sharing, x: loops.concatenated(sharing, x, [[0, 3], [1, 3], [2, 3]]),
    ),
    "masked": (masked(3, 6, visible=[[1, 0, 1], [0, 1, 1], [1, 1, 1]], widths=WIDTHS), loops.mmoe),
    "masked where rows see one or two of four": (
        masked(3, 6, visible=[[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]], widths=WIDTHS, gate=Softmax(bias=True)),
        loops.mmoe,
    ),
    "masked with temperature": (
        masked(3, 6, visible=[[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]], widths=(4,), gate=Softmax(temperature=0.5)),
        loops.mmoe,
    ),
    "ml_mmoe": (ml_mmoe(3, 6, experts=(4, 3, 2), widths=WIDTHS), loops.ml_mmoe),
    "ple": (
        ple(3, 6, levels=3, experts=2, shared_experts=1, widths=WIDTHS),
        lambda sharing, x: loops.ple(sharing, x, own=2, shared=1),
    ),
    "ple without own experts": (
        ple(3, 6, levels=2, experts=0, shared_experts=2, widths=WIDTHS),
        lambda sharing, x: loops.ple(sharing, x, own=0, shared=2),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 9])
def test_values_and_gradients(name, batch):
    sharing, plain = CASES[name]
    sharing = sharing.double()
    torch.manual_seed(3)
    for parameter in sharing.parameters():
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(batch, 6, dtype=torch.float64, requires_grad=True)
    found, wanted = sharing(x).value, plain(sharing, x)
    torch.testing.assert_close(found, wanted)
    down = torch.randn_like(wanted)
    leaves = [x, *sharing.parameters()]
    names = ["x", *(key for key, _ in sharing.named_parameters())]
    pairs = zip(names, torch.autograd.grad(found, leaves, down), torch.autograd.grad(wanted, leaves, down), strict=True)
    for key, ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, msg=lambda text, key=key: f"{key}: {text}")


def test_gates_of_the_shared_row_are_reported():
    sharing = ple(2, 6, levels=2, experts=1, shared_experts=1, widths=(4,)).double()
    x = torch.randn(5, 6, dtype=torch.float64)
    gates = sharing(x).gates
    assert {name: tuple(weights.shape) for name, weights in gates.items()} == {"level1": (5, 3, 3), "level2": (5, 2, 3)}
    torch.testing.assert_close(gates["level1"][:, 2], loops.gate(sharing.levels[0], 2, x).detach())
    assert not gates["level1"][:, 0, 1].any()  # task 0 does not see the expert of task 1
