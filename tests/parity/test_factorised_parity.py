"""Networks with factorised or constrained parameters against the formulas of the papers, written as loops."""

import pytest
import torch

from polytask.sharing import l2_constrained, tensor_factorisation

WIDTHS = (5, 4)


def tucker(layer, task):
    """``W_t[i, j] = sum S[a, b, c] U1[i, a] U2[j, b] U3[t, c]``, term by term."""
    core, (inside, outside, mixing) = layer.core, (layer.inside, layer.outside, layer.mixing)
    total = 0
    for c in range(core.shape[0]):
        for b in range(core.shape[1]):
            for a in range(core.shape[2]):
                total = total + core[c, b, a] * mixing[task, c] * torch.outer(inside[:, a], outside[:, b])
    return total


def factorised(sharing, x):
    """One task after the other."""
    rows = []
    for task in range(sharing.tasks):
        z = x
        for layer in sharing.layers:
            z = torch.relu(z @ tucker(layer, task) + layer.bias[task])
        rows.append(z)
    return torch.stack(rows)


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("ranks", [(6, 5, 3), (3, 4, 2), (2, 2, 1)])
def test_tensor_factorisation(ranks, batch):
    torch.manual_seed(3)
    sharing = tensor_factorisation(3, 6, ranks=ranks, widths=WIDTHS).double()
    for parameter in sharing.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(batch, 6, dtype=torch.float64, requires_grad=True)
    found, wanted = sharing(x).value, factorised(sharing, x)
    torch.testing.assert_close(found, wanted)
    down = torch.randn_like(wanted)
    leaves = [x, *sharing.parameters()]
    names = ["x", *(key for key, _ in sharing.named_parameters())]
    pairs = zip(names, torch.autograd.grad(found, leaves, down), torch.autograd.grad(wanted, leaves, down), strict=True)
    for key, ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, msg=lambda text, key=key: f"{key}: {text}")


def test_l2_constrained():
    torch.manual_seed(3)
    sharing = l2_constrained(3, 6, alpha=0.7, widths=WIDTHS).double()
    bank = sharing.inner.levels[0].experts
    tensors = [tensor for layer in (bank.first, *bank.upper) for tensor in (layer.weight, layer.bias)]
    for tensor in tensors:
        tensor.data.add_(0.1 * torch.randn_like(tensor))
    x = torch.randn(9, 6, dtype=torch.float64)
    representation = sharing(x)
    rows, wanted = [], 0
    for task in range(3):
        first = torch.relu(x @ bank.first.weight[task].T + bank.first.bias[task])
        rows.append(torch.relu(first @ bank.upper[0].weight[task].T + bank.upper[0].bias[task]))
        for other in range(task):
            wanted = wanted + 0.7 * sum((tensor[task] - tensor[other]).square().sum() for tensor in tensors)
    torch.testing.assert_close(representation.value, torch.stack(rows))
    torch.testing.assert_close(representation.penalty, wanted)
    ours = torch.autograd.grad(representation.penalty, tensors)
    for mine, theirs in zip(ours, torch.autograd.grad(wanted, tensors), strict=True):
        torch.testing.assert_close(mine, theirs)
