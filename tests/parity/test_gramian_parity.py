"""The closed forms against T separate backward passes to the first tensors that two tasks read.

For every task the path from its representation down to what is shared is built once more, from loops, on copies of the
shared tensors that only this task reads. The gradients there are the definition of the Gramian.
"""

import loops
import pytest
import torch

from polytask.sharing import cgc, mmoe, omoe, ple, shared_bottom, single_task

TASKS, WIDTH, BATCH = 3, 6, 8


def copies(tensors):
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def single_task_path(sharing, x, task):
    own = copies([x])
    return loops.expert(sharing.levels[0], task, own[0]), own


def shared_bottom_path(sharing, x, task):
    own = copies([loops.expert(sharing.levels[0], 0, x)])
    return own[0], own


def omoe_path(sharing, x, task):
    own = copies([loops.omoe(sharing, x)[task]])
    return own[0], own


def mmoe_path(sharing, x, task):
    level = sharing.levels[0]
    read = copies([x])
    outputs = copies([loops.expert(level, number, x) for number in range(level.experts.experts)])
    return loops.mixture(loops.gate(level, task, read[0]), outputs), read + outputs


def ple_path(own, shared):
    def path(sharing, x, task):
        levels = loops.ple_states(sharing, x, own=own, shared=shared)
        depth = len(sharing.levels)
        if depth == 1:
            read = copies([x])
            state = read[0]
        else:  # the row of the task below the last level is its own; what it reads is shared
            below = sharing.levels[depth - 2]
            read = copies([levels[depth - 2][0][task], *levels[depth - 1][1]])
            state = loops.mixture(loops.gate(below, task, read[0]), read[1:])
        last = sharing.levels[-1]
        outputs = copies(levels[-1][1])
        mine = range(task * own, (task + 1) * own)
        mixed = [loops.expert(last, n, state) if n in mine else output for n, output in enumerate(outputs)]
        return loops.mixture(loops.gate(last, task, state), mixed), read + outputs

    return path


CASES = {
    "single_task": (lambda: single_task(TASKS, WIDTH, widths=(5, 4)), single_task_path),
    "shared_bottom": (lambda: shared_bottom(TASKS, WIDTH, widths=(5, 4)), shared_bottom_path),
    "omoe": (lambda: omoe(TASKS, WIDTH, experts=3, widths=(5, 4)), omoe_path),
    "mmoe": (lambda: mmoe(TASKS, WIDTH, experts=3, widths=(5, 4)), mmoe_path),
    "cgc": (lambda: cgc(TASKS, WIDTH, experts=2, shared_experts=2, widths=(5, 4)), ple_path(2, 2)),
    "ple of one level": (lambda: ple(TASKS, WIDTH, levels=1, widths=(4,)), ple_path(2, 2)),
    "ple of two levels": (lambda: ple(TASKS, WIDTH, levels=2, experts=1, widths=(5, 4)), ple_path(1, 2)),
}


def by_separate_passes(sharing, x, path, down):
    rows = []
    for task in range(TASKS):
        value, shared = path(sharing, x, task)
        grads = torch.autograd.grad(value, shared, down[task], materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([grad.flatten() for grad in grads]))
    stacked = torch.stack(rows)
    return stacked @ stacked.T


@pytest.mark.parametrize("name", CASES)
def test_gramian_where_the_input_is_trained(name):
    build, path = CASES[name]
    torch.manual_seed(4)
    sharing = build().double()
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
    representation = sharing(x)
    down = torch.randn_like(representation.value)
    wanted = by_separate_passes(sharing, x, path, down)
    assert wanted.diagonal().min() > 0
    torch.testing.assert_close(representation.cut.gramian(down), wanted)
    torch.testing.assert_close(representation.cut.gramian(down), wanted)  # asking twice changes nothing


@pytest.mark.parametrize("name", ["mmoe", "omoe", "shared_bottom"])
def test_gramian_where_the_input_is_fixed(name):
    build, path = CASES[name]
    torch.manual_seed(5)
    sharing = build().double()
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64)
    representation = sharing(x)
    down = torch.randn_like(representation.value)

    def without_input(sharing, x, task):
        value, shared = path(sharing, x, task)
        return value, shared[1:] if name == "mmoe" else shared

    torch.testing.assert_close(representation.cut.gramian(down), by_separate_passes(sharing, x, without_input, down))


def test_nothing_is_shared_by_networks_of_their_own_on_a_fixed_input():
    representation = single_task(TASKS, WIDTH, widths=(4,))(torch.randn(BATCH, WIDTH))
    assert not representation.cut.gramian(torch.randn_like(representation.value)).any()


def test_gramian_of_three_levels():
    """Two levels below the last, states are read by other tasks too: each of them is a shared tensor of its own."""
    torch.manual_seed(6)
    sharing = ple(TASKS, WIDTH, levels=3, experts=1, shared_experts=1, widths=(4,)).double()
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
    representation = sharing(x)
    down = torch.randn_like(representation.value)
    rows = []
    for task in range(TASKS):
        value, shared = ple_path(1, 1)(sharing, x, task)
        state, *others = torch.autograd.grad(value, shared, down[task], materialize_grads=True, allow_unused=True)
        states = torch.zeros(TASKS, *state.shape, dtype=state.dtype)
        states[task] = state  # gradients at the states of different tasks are gradients at different tensors
        rows.append(torch.cat([states.flatten(), *[grad.flatten() for grad in others]]))
    stacked = torch.stack(rows)
    torch.testing.assert_close(representation.cut.gramian(down), stacked @ stacked.T)
