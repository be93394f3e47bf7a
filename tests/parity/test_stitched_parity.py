"""Cross-stitch and sluice networks against loops over tasks, layers and subspaces with the same weights."""

import pytest
import torch

from polytask.sharing import cross_stitch, sluice

TASKS, WIDTH, BATCH = 3, 6, 9
CASES = {
    "cross-stitch": lambda: cross_stitch(TASKS, WIDTH, widths=(5, 4)),
    "cross-stitch per layer": lambda: cross_stitch(TASKS, WIDTH, widths=(5, 4, 3), units="layer"),
    "cross-stitch of one layer": lambda: cross_stitch(TASKS, WIDTH, widths=(4,)),
    "cross-stitch below own layers": lambda: cross_stitch(TASKS, WIDTH, widths=(5, 4, 3), stitch_last=False),
    "cross-stitch per layer below own": lambda: cross_stitch(
        TASKS, WIDTH, widths=(5, 4), units="layer", stitch_last=False
    ),
    "sluice": lambda: sluice(TASKS, WIDTH, widths=(4, 4)),
    "sluice of three subspaces and layers": lambda: sluice(
        TASKS, WIDTH, widths=(6, 6, 6), subspaces=3, start="imbalanced", mixing="balanced"
    ),
    "sluice of one subspace": lambda: sluice(TASKS, WIDTH, widths=(4, 4, 4), subspaces=1),
    "sluice of one layer": lambda: sluice(TASKS, WIDTH, widths=(4,)),
}


def built(name):
    """The architecture of a case, away from its tidy start."""
    torch.manual_seed(3)
    sharing = CASES[name]().double()
    with torch.no_grad():
        for parameter in sharing.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return sharing


def layer(sharing, number, task, x):
    """One layer of one task's network."""
    networks = sharing.levels[0]["experts"]
    linear = networks.first if number == 0 else networks.upper[number - 1]
    return torch.relu(x @ linear.weight[task].T + linear.bias[task])


def stitched(unit, values):
    """Row after row: the sum over all streams, each times its factor; the rows of a task side by side."""
    streams = [part for value in values for part in value.chunk(unit.subspaces, dim=1)]
    rows = [sum(factor * stream for factor, stream in zip(row, streams, strict=True)) for row in unit.weight]
    count = unit.subspaces
    return [torch.cat(rows[task * count : (task + 1) * count], 1) for task in range(TASKS)]


def states(sharing, x):
    """Per layer the networks' outputs, and what the tasks make of them."""
    depth, found = len(sharing.levels[0]["experts"].finishes), []
    rows = [x] * TASKS
    for number in range(depth):
        values = [layer(sharing, number, task, row) for task, row in enumerate(rows)]
        rows = stitched(sharing.stitches[number], values) if number < len(sharing.stitches) else values
        found.append((values, rows))
    return found


def mixed(sharing, rows, task):
    """What a task makes of its rows of all layers."""
    if sharing.mixing is None:
        return rows[-1]
    return sum(sharing.mixing.weight[task, number] * row for number, row in enumerate(rows))


def plain(sharing, x):
    found = states(sharing, x)
    return torch.stack([mixed(sharing, [rows[task] for _, rows in found], task) for task in range(TASKS)])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, BATCH])
def test_values_and_gradients(name, batch):
    sharing = built(name)
    x = torch.randn(batch, WIDTH, dtype=torch.float64, requires_grad=True)
    found, wanted = sharing(x).value, plain(sharing, x)
    torch.testing.assert_close(found, wanted)
    down = torch.randn_like(wanted)
    leaves = [x, *sharing.parameters()]
    names = ["x", *(key for key, _ in sharing.named_parameters())]
    pairs = zip(names, torch.autograd.grad(found, leaves, down), torch.autograd.grad(wanted, leaves, down), strict=True)
    for key, ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, msg=lambda text, key=key: f"{key}: {text}")


def path(sharing, x, task):
    """From the first tensors that other tasks read as well to the task's representation, on copies of these."""
    found = states(sharing, x)
    last = len(sharing.stitches) - 1
    streams = [value.detach().clone().requires_grad_() for value in found[last][0]]
    row = stitched(sharing.stitches[last], streams)[task]
    for number in range(last + 1, len(found)):
        row = layer(sharing, number, task, row)
    if sharing.mixing is None:
        return row, streams
    below = [rows[task].detach().clone().requires_grad_() for _, rows in found[:last]]
    return mixed(sharing, [*below, row], task), streams + below


@pytest.mark.parametrize("trained", [True, False], ids=["input trained", "input fixed"])
@pytest.mark.parametrize("name", CASES)
def test_gramian_against_separate_passes(name, trained):
    """Streams are shared by all; the row of a lower layer that a mixing reads is a tensor of its own for every task."""
    sharing = built(name)
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=trained)
    representation = sharing(x)
    down = torch.randn_like(representation.value)
    rows = []
    for task in range(TASKS):
        value, shared = path(sharing, x, task)
        torch.testing.assert_close(value, representation.value[task])
        streams, below = shared[:TASKS], shared[TASKS:]
        found = torch.autograd.grad(value, [*streams, *below], down[task], materialize_grads=True, allow_unused=True)
        parts = [torch.stack(found[:TASKS])]
        for grad in found[TASKS:]:
            own = torch.zeros(TASKS, *grad.shape, dtype=grad.dtype)
            own[task] = grad
            parts.append(own)
        rows.append(torch.cat([part.flatten() for part in parts]))
    wanted = torch.stack(rows) @ torch.stack(rows).T
    assert wanted.diagonal().min() > 0
    torch.testing.assert_close(representation.cut.gramian(down), wanted)
    torch.testing.assert_close(representation.cut.gramian(down), wanted)  # asking twice changes nothing


@pytest.mark.parametrize("subspaces", [2, 3])
def test_penalty(subspaces):
    sharing = sluice(TASKS, WIDTH, widths=(6, 6), subspaces=subspaces, penalty=0.5).double()
    networks, total = sharing.levels[0]["experts"], 0.0
    for linear in (networks.first, networks.upper[0]):
        for weight in linear.weight:
            parts = weight.chunk(subspaces)
            for g in range(subspaces):
                for k in range(g):
                    total = total + 0.5 * (parts[g] @ parts[k].T).square().sum()
    found = sharing(torch.randn(4, WIDTH, dtype=torch.float64)).penalty
    torch.testing.assert_close(found, total)
    weights = [networks.first.weight, networks.upper[0].weight]
    for ours, theirs in zip(torch.autograd.grad(found, weights), torch.autograd.grad(total, weights), strict=True):
        torch.testing.assert_close(ours, theirs)
