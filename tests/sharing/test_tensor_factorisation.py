"""What only tensor factorisation has: its ranks, its start, and single-task networks as a special case."""

import pytest
import torch

from polytask.errors import UserError
from polytask.sharing import single_task, tensor_factorisation
from polytask.sharing.doors import Doors
from polytask.stack import bound_of

TASKS, WIDTH = 3, 6


def matrices(layer):
    """All ``W_t``, without a cut."""
    return layer.weights(Doors(len(layer.mixing), open=False))


def rank(matrix):
    return int(torch.linalg.matrix_rank(matrix.detach()))


def test_full_ranks_with_unit_factors_are_single_task():
    options = {"widths": (5, 4), "norm": "layer", "activation": "gelu"}
    networks = single_task(TASKS, WIDTH, **options)
    factorised = tensor_factorisation(TASKS, WIDTH, ranks=(99, 99, 99), **options)
    bank = networks.levels[0].experts
    factorised.finishes.load_state_dict(bank.finishes.state_dict())
    with torch.no_grad():
        for layer, source in zip(factorised.layers, [bank.first, *bank.upper], strict=True):
            layer.core.copy_(source.weight)
            for factor in (layer.inside, layer.outside, layer.mixing):
                factor.copy_(torch.eye(len(factor)))
            layer.bias.copy_(source.bias + 0.1)
            source.bias.add_(0.1)
    found = []
    for sharing in (networks, factorised):
        torch.manual_seed(1)
        x = torch.randn(7, WIDTH, requires_grad=True)
        representation = sharing(x)
        representation.cut.weights = torch.tensor([1.0, 2.0, 3.0])
        down = torch.randn(representation.value.shape)
        found.append((representation.value.detach(), *torch.autograd.grad(representation.value, x, down)))
    torch.testing.assert_close(found[0], found[1])


def test_ranks_are_those_of_the_tensor():
    tensor = matrices(tensor_factorisation(5, 12, ranks=(3, 4, 2), widths=(8,)).double().layers[0])  # [T, out, in]
    unfolded = [tensor.movedim(axis, 0).flatten(1) for axis in (2, 1, 0)]
    assert [rank(matrix) for matrix in unfolded] == [3, 4, 2]


def test_a_rank_is_at_most_its_axis_and_may_differ_by_layer():
    layers = tensor_factorisation(2, 6, ranks=[(3, 99, 1), (2, 2, 9)], widths=(5, 4)).layers
    assert [tuple(layer.core.shape) for layer in layers] == [(1, 5, 3), (2, 2, 2)]


def test_tasks_of_rank_one_read_multiples_of_one_matrix():
    layer = tensor_factorisation(3, 6, ranks=(6, 5, 1), widths=(5,)).layers[0]
    first, second, _ = matrices(layer)
    torch.testing.assert_close(second, first * (layer.mixing[1] / layer.mixing[0]))


@pytest.mark.parametrize("init", ["he", "xavier", "lecun", "torch"])
@pytest.mark.parametrize("ranks", [(200, 100, 6), (16, 16, 4), (200, 100, 2)])
def test_every_matrix_starts_with_the_variance_of_its_kind(init, ranks):
    torch.manual_seed(0)
    weights = matrices(tensor_factorisation(6, 200, ranks=ranks, widths=(100,), init=init).layers[0])
    variance = bound_of(init, 200, 100) ** 2 / 3
    ratio = weights.detach().var((1, 2)) / variance
    assert float(ratio.min()) > 0.75 and float(ratio.max()) < 1.25
    assert all(not torch.allclose(weights[0], other, rtol=0.1) for other in weights[1:])


def test_what_a_task_owns_is_its_row_of_every_layer():
    sharing = tensor_factorisation(TASKS, WIDTH, widths=(5, 4), norm="layer")
    names = {id(parameter): name for name, parameter in sharing.named_parameters()}
    owned = {names[id(parameter)] for parameter, owner in sharing.parameter_owners() if owner.tolist() == [0, 1, 2]}
    shared = set(names.values()) - owned
    assert shared == {f"layers.{i}.{name}" for i in (0, 1) for name in ("core", "inside", "outside")}


def test_the_gramian_is_that_of_the_bases():
    """The slope of task t at basis matrix c is ``U3[t, c] dL_t/dW_t``; the latter from networks of free matrices."""
    torch.manual_seed(0)
    options = {"widths": (5, 4), "activation": "gelu"}
    sharing = tensor_factorisation(TASKS, WIDTH, ranks=(4, 4, 2), **options).double()
    free = single_task(TASKS, WIDTH, **options).double()
    bank = free.levels[0].experts
    targets = [bank.first.weight, bank.upper[0].weight]
    for layer, target in zip(sharing.layers, targets, strict=True):
        target.data.copy_(matrices(layer))
    x = torch.randn(9, WIDTH, dtype=torch.float64)
    representation, value = sharing(x), free(x).value
    torch.testing.assert_close(value, representation.value)
    down = torch.randn_like(value)
    rows = []
    for task in range(TASKS):
        slopes = torch.autograd.grad(value[task], targets, down[task], retain_graph=True)
        pairs = zip(sharing.layers, slopes, strict=True)
        rows.append(torch.cat([torch.outer(layer.mixing[task], at[task].flatten()).flatten() for layer, at in pairs]))
    jacobian = torch.stack(rows).detach()
    torch.testing.assert_close(representation.cut.gramian(down), jacobian @ jacobian.T)


@pytest.mark.parametrize("ranks", [(3, 3), (3, 0, 1), [(3, 3, 3)], [(3, 3, 3), (2, 2)], [(3, 3, 3), 2]])
def test_wrong_ranks(ranks):
    with pytest.raises(UserError, match=r"ranks: .* given; give three positive numbers"):
        tensor_factorisation(2, 6, ranks=ranks, widths=(5, 4))


def test_one_task_shares_only_its_input():
    representation = tensor_factorisation(1, 6, widths=(4,))(torch.randn(5, 6))
    assert not representation.cut.gramian(torch.ones_like(representation.value)).any()
