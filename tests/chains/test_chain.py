"""What follows from a chain: levels, paths, joint labels."""

from __future__ import annotations

import itertools

import chain_loops as loops
import numpy as np
import pytest
import torch

from polytask.chains import chain_of, joint_labels, with_joints
from polytask.types import Batch, Features

NAMES = ["buy", "click", "age", "cart", "like"]
AFTER = {"buy": "cart", "cart": "click", "like": "click"}


def test_a_chain_leaves_other_tasks_out_and_keeps_their_order() -> None:
    chain = chain_of(NAMES, AFTER)
    assert chain is not None
    assert chain.names == ("buy", "click", "cart", "like") and chain.tasks == (0, 1, 3, 4)
    assert chain.parents == (2, -1, 1, 1) and chain.children == (0, 2, 3)
    assert chain.levels == (((2, 3), (1, 1)), ((0,), (2,)))
    for task in range(4):
        assert set(chain.path[task].nonzero().flatten().tolist()) == set(loops.path(chain.parents, task))


def test_there_is_no_chain_without_a_link() -> None:
    assert chain_of(NAMES, {}) is None


def test_joint_labels_of_every_combination() -> None:
    chain = chain_of(NAMES, AFTER)
    assert chain is not None
    # per task: 0, 1 or not observed; a filler of 1 where it is not observed must not be read
    columns = list(itertools.product([(0.0, True), (1.0, True), (1.0, False)], repeat=4))
    labels = torch.tensor([[value for value, _ in column] for column in columns]).T
    observed = torch.tensor([[known for _, known in column] for column in columns]).T
    joint, known = joint_labels(chain.path, labels, observed)
    for task, row in itertools.product(range(4), range(len(columns))):
        expected = loops.joint_label(chain.parents, task, labels[:, row].numpy(), observed[:, row].numpy())
        assert known[task, row] == (expected is not None)
        if expected is not None:
            assert joint[task, row] == expected


def batch(rows: int = 3) -> Batch:
    chance = np.random.default_rng(0)
    labels = {name: torch.tensor(chance.integers(0, 2, rows), dtype=torch.float32) for name in NAMES}
    observed = {name: torch.ones(rows, dtype=torch.bool) for name in NAMES}
    features = Features(torch.zeros(rows, 0, dtype=torch.int32), torch.zeros(rows, 0))
    return Batch(features, labels, observed, {"cart": torch.rand(rows)})


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_batch_gains_one_label_per_task_with_a_parent(rows: int) -> None:
    chain = chain_of(NAMES, AFTER)
    assert chain is not None
    given = batch(rows)
    found = with_joints(chain, given)
    assert list(found.labels) == [*NAMES, "buy_joint", "cart_joint", "like_joint"]
    assert all(found.labels[name] is given.labels[name] for name in NAMES)
    assert found.weights["cart_joint"] is given.weights["cart"] and "buy_joint" not in found.weights
    torch.testing.assert_close(found.labels["like_joint"], given.labels["click"] * given.labels["like"])


def test_an_absent_parent_leaves_nothing_known() -> None:
    chain = chain_of(["click", "buy"], {"buy": "click"})
    assert chain is not None
    _, known = joint_labels(chain.path, torch.ones(2, 4), torch.tensor([[False] * 4, [True] * 4]))
    assert not known.any()
