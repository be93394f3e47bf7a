from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.training.rowwise import RowwiseAdagrad, coalesce

WIDTH = 3


def sparse(rows: list[int], values: torch.Tensor, size: int) -> torch.Tensor:
    index = torch.tensor(rows, dtype=torch.long)[None]
    return torch.sparse_coo_tensor(index, values, (size, values.shape[1]), check_invariants=True)


def reference(
    table: np.ndarray, steps: list[tuple[list[int], np.ndarray]], lr: float, decay: float, initial: float, eps: float
) -> np.ndarray:
    """One row at a time, with every repeated id added up first."""
    table, state = table.astype(np.float64).copy(), np.full(len(table), initial)
    for rows, values in steps:
        for row in sorted(set(rows)):
            gradient = sum(value for found, value in zip(rows, values, strict=True) if found == row)
            state[row] += float((gradient**2).mean())
            table[row] = (1 - lr * decay) * table[row] - lr * gradient / (np.sqrt(state[row]) + eps)
    return table


@settings(deadline=None, max_examples=40)
@given(
    ids=st.lists(st.lists(st.integers(0, 9), min_size=0, max_size=12), min_size=1, max_size=4),
    decay=st.sampled_from([0.0, 0.1]),
    initial=st.sampled_from([0.0, 0.5]),
)
def test_equals_the_slow_reference_with_repeated_ids(ids: list[list[int]], decay: float, initial: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(10, WIDTH, generator=generator)
    table = torch.nn.Parameter(start.clone())
    optimizer = RowwiseAdagrad([table], lr=0.3, weight_decay=decay, initial=initial)
    steps = [(rows, torch.randn(len(rows), WIDTH, generator=generator)) for rows in ids]
    for rows, values in steps:
        table.grad = sparse(rows, values, 10)
        optimizer.step()
    plain = [(rows, values.double().numpy()) for rows, values in steps]
    expected = reference(start.numpy(), plain, 0.3, decay, initial, 1e-8)
    np.testing.assert_allclose(table.detach().numpy(), expected, rtol=2e-5, atol=2e-6)
    untouched = [row for row in range(10) if all(row not in rows for rows in ids)]
    assert torch.equal(table[untouched], start[untouched])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 20), min_size=0, max_size=60))
def test_coalesce_equals_torchs(rows: list[int]) -> None:
    gradient = sparse(rows, torch.randn(len(rows), WIDTH, generator=torch.Generator().manual_seed(1)), 21)
    found, values = coalesce(gradient)
    expected = gradient.coalesce()
    assert torch.equal(found, expected.indices()[0])
    torch.testing.assert_close(values, expected.values())


def test_two_backward_passes_add_up_before_one_step() -> None:
    def moved(batches: list[list[int]]) -> torch.Tensor:
        table = torch.nn.Parameter(torch.ones(5, WIDTH))
        optimizer = RowwiseAdagrad([table], lr=0.1)
        for ids in batches:
            F.embedding(torch.tensor(ids), table, sparse=True).square().sum().backward()
        optimizer.step()
        return table.detach()

    assert torch.equal(moved([[0, 1], [1, 2]]), moved([[0, 1, 1, 2]]))


def test_state_survives_a_round_trip() -> None:
    def run(restart: bool) -> torch.Tensor:
        table = torch.nn.Parameter(torch.ones(4, WIDTH))
        optimizer = RowwiseAdagrad([table], lr=0.1, initial=0.1)
        for step in range(4):
            if restart and step == 2:
                state = optimizer.state_dict()
                optimizer = RowwiseAdagrad([table], lr=0.1, initial=0.1)
                optimizer.load_state_dict(state)
            table.grad = sparse([step % 3, 1], torch.full((2, WIDTH), 0.5), 4)
            optimizer.step()
        return table.detach()

    assert torch.equal(run(True), run(False))


def test_a_dense_gradient_is_refused() -> None:
    table = torch.nn.Parameter(torch.ones(4, WIDTH))
    table.grad = torch.ones(4, WIDTH)
    with pytest.raises(ValueError, match="sparse=True"):
        RowwiseAdagrad([table], lr=0.1).step()
