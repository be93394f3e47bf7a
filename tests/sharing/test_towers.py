"""Towers and heads against one small network per task."""

import pytest
import torch
from torch.nn.functional import linear

from polytask.errors import UserError
from polytask.towers import Heads, HeadStack, Towers


def test_towers_are_one_network_per_task():
    towers = Towers(3, 6, (5, 4))
    r = torch.randn(3, 7, 6)
    for task in range(3):
        wanted = r[task]
        for layer in towers.layers:
            wanted = torch.relu(linear(wanted, layer.weight[task], layer.bias[task]))
        torch.testing.assert_close(towers(r)[task], wanted)


def test_layer_norm_in_towers_is_each_tasks_own():
    towers = Towers(2, 6, (5,), norm="layer")
    norm = towers.finishes[0].norm
    with torch.no_grad():
        norm.weight.copy_(torch.rand(2, 1, 5))
        norm.bias.copy_(torch.rand(2, 1, 5))
    r = torch.randn(2, 7, 6)
    plain = linear(r[1], towers.layers[0].weight[1], towers.layers[0].bias[1])
    wanted = torch.nn.functional.layer_norm(plain, (5,), norm.weight[1, 0], norm.bias[1, 0])
    torch.testing.assert_close(towers(r)[1], torch.relu(wanted))


def test_no_tower_is_the_representation_itself():
    towers = Towers(2, 6, ())
    r = torch.randn(2, 7, 6)
    assert towers(r) is r
    assert towers.out_features == 6


def test_heads_of_the_same_kind_are_stacked():
    heads = Heads(4, [HeadStack((0, 2), 1), HeadStack((1,), 3), HeadStack((3, 4), 2)])
    r = torch.randn(5, 7, 4)
    found = heads(r)
    assert [tuple(logits.shape) for logits in found] == [(2, 7, 1), (1, 7, 3), (2, 7, 2)]
    for stack, layer, logits in zip(heads.stacks, heads.layers, found, strict=True):
        for position, task in enumerate(stack.tasks):
            torch.testing.assert_close(logits[position], linear(r[task], layer.weight[position], layer.bias[position]))


def test_a_task_reaches_its_own_parameters_only():
    towers, heads = Towers(3, 6, (5,)), Heads(5, [HeadStack((0, 1, 2), 1)])
    heads(towers(torch.randn(3, 7, 6)))[0][1].sum().backward()
    for weight in (towers.layers[0].weight, heads.layers[0].weight):
        assert [bool(grad.any()) for grad in weight.grad] == [False, True, False]


@pytest.mark.parametrize(
    "stacks", [[HeadStack((0, 1), 1), HeadStack((1,), 1)], [HeadStack((0, 2), 1)], [HeadStack((), 1)]]
)
def test_heads_name_every_task_once(stacks):
    with pytest.raises(UserError, match=r"stacks: the stacks list the tasks .* once"):
        Heads(4, stacks)


def test_wrong_tower_options():
    with pytest.raises(UserError, match=r"dropout: -0\.1 given"):
        Towers(2, 4, (3,), dropout=-0.1)
