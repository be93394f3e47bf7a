from __future__ import annotations

import numpy as np
import pytest
import torch

from polytask.encoders import table
from polytask.encoders.numeric import Periodic, PiecewiseLinear
from polytask.encoders.sequence import TargetAttention, pool
from polytask.errors import UserError
from polytask.specs import SequenceSpec
from polytask.types import Features, FeatureSpec, Ragged

IDS = torch.tensor([[2, 7], [3, 8], [2, 9]])
NUMBERS = torch.tensor([[0.5, -1.0], [0.0, 2.0], [-3.0, 0.1]])
HISTORY = Ragged(torch.tensor([7, 8, 9, 7]), torch.tensor([0, 2, 2, 4]))


def spec(*sequences: SequenceSpec, **changes: object) -> FeatureSpec:
    given = {"columns": ("user", "item"), "rows": 10, "numerics": ("age", "price"), "unseen": (0, 5)}
    return FeatureSpec(**{**given, **changes}, sequences=sequences)  # type: ignore[arg-type]


def test_ids_numbers_and_sequences_are_laid_side_by_side() -> None:
    encoder = table(spec(SequenceSpec("history"), SequenceSpec("all", "sum")), embedding=3, norm="none")
    found = encoder(Features(IDS, NUMBERS, {"history": HISTORY, "all": HISTORY}))
    weights = encoder.table.detach()
    assert found.shape == (3, encoder.out_features) == (3, 2 * 3 + 2 + 2 * 3)
    torch.testing.assert_close(found[:, :6], weights[IDS].flatten(1))
    torch.testing.assert_close(found[:, 6:8], NUMBERS)
    torch.testing.assert_close(found[0, 8:11], weights[[7, 8]].mean(0))
    assert found[1, 8:].eq(0).all()  # an empty list
    torch.testing.assert_close(found[2, 11:], weights[[9, 7]].sum(0))


def test_target_attention_equals_the_formula_row_by_row() -> None:
    torch.manual_seed(0)
    encoder = table(spec(SequenceSpec("history", "attention", target=1)), embedding=3, norm="none")
    found = encoder(Features(IDS, NUMBERS, {"history": HISTORY}))[:, -3:]
    weights, unit = encoder.table, encoder.attention["0"]
    assert isinstance(unit, TargetAttention)
    for row, items in enumerate(([7, 8], [], [9, 7])):
        asked = weights[IDS[row, 1]]
        expected = torch.zeros(3)
        for item in items:
            e = weights[item]
            expected = expected + unit.score(torch.cat([e, asked, e - asked, e * asked])) * e
        torch.testing.assert_close(found[row], expected, atol=1e-6, rtol=1e-5)


def test_the_gradient_is_sparse_and_touches_the_batch_only() -> None:
    encoder = table(spec(SequenceSpec("history", "attention", target=1), SequenceSpec("other")), embedding=3)
    other = Ragged(torch.tensor([4]), torch.tensor([0, 0, 1, 1]))
    encoder(Features(IDS, NUMBERS, {"history": HISTORY, "other": other})).square().sum().backward()
    gradient = encoder.table.grad
    assert gradient is not None and gradient.is_sparse
    touched = gradient.to_dense().abs().sum(1).nonzero().flatten().tolist()
    assert set(touched) <= {2, 3, 4, 7, 8, 9} and {2, 3, 7} <= set(touched)


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_pooling_equals_a_loop(mode: str) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 5, 30)
    values = torch.from_numpy(rng.integers(0, 12, lengths.sum()).astype(np.int32))
    ragged = Ragged(values, torch.from_numpy(np.concatenate([[0], lengths.cumsum()])))
    weights = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    found = pool(weights, ragged, mode=mode, sparse=False)
    for row in range(30):
        items = weights[values[ragged.offsets[row] : ragged.offsets[row + 1]].long()]
        expected = torch.zeros(4) if not len(items) else getattr(items, mode)(0)
        torch.testing.assert_close(found[row], expected)


def test_numeric_embeddings_stand_where_their_numbers_stood() -> None:
    shaped = spec(embeddings=("piecewise", "periodic"), knots=((-1.0, 0.0, 2.0), ()))
    encoder = table(shaped, embedding=1, numeric_embedding=5, norm="none")
    found = encoder(Features(IDS, NUMBERS))
    assert encoder.out_features == 2 + 2 + 5
    expected = PiecewiseLinear([-1.0, 0.0, 2.0])(NUMBERS[:, 0])
    torch.testing.assert_close(found[:, 2:4], expected)
    periodic = encoder.numeric["1"]
    assert isinstance(periodic, Periodic)
    torch.testing.assert_close(found[:, 4:], periodic(NUMBERS[:, 1]))


def test_piecewise_components_add_up_to_a_line_and_go_on_outside() -> None:
    knots = [-1.0, 0.0, 2.0, 3.0]
    x = torch.linspace(-3, 5, 50)
    encoded = PiecewiseLinear(knots)(x)
    widths = torch.tensor(knots).diff()
    torch.testing.assert_close((encoded * widths).sum(1) + knots[0], x)


def test_ids_are_dropped_in_training_only_and_become_their_columns_unseen_row() -> None:
    torch.manual_seed(0)
    encoder = table(spec(), embedding=3, norm="none", id_dropout=0.5)
    ids = torch.tensor([[2, 7]]).repeat(4000, 1)
    features = Features(ids, torch.zeros(4000, 2))
    rows = encoder(features)[:, :6].view(4000, 2, 3)
    for column, (known, unseen) in enumerate(((2, 0), (7, 5))):
        dropped = (rows[:, column] == encoder.table[unseen]).all(1)
        kept = (rows[:, column] == encoder.table[known]).all(1)
        assert (dropped | kept).all() and 0.45 < dropped.float().mean() < 0.55
    still = encoder.eval()(features)[:, :6].view(4000, 2, 3)
    assert (still == encoder.table[[2, 7]]).all()


def test_only_numbers_or_only_ids() -> None:
    numbers = table(FeatureSpec((), 0, numerics=("age",)), norm="none")
    assert numbers(Features(torch.zeros(4, 0, dtype=torch.int32), torch.ones(4, 1))).shape == (4, 1)
    ids = table(FeatureSpec(("user",), 4, unseen=(0,)), embedding=2)
    assert ids(Features(torch.zeros(4, 1, dtype=torch.int32), torch.ones(4, 0))).shape == (4, 2)
    with pytest.raises(UserError, match="no column is left to learn from"):
        table(FeatureSpec((), 0))


def test_all_mistakes_at_once() -> None:
    with pytest.raises(UserError) as caught:
        table(spec(), embedding=0, norm="batch", dropout=1.0, id_dropout=-0.1)
    assert [problem.where for problem in caught.value.problems] == [
        "encoder.embedding", "encoder.norm", "encoder.dropout", "encoder.id_dropout",
    ]  # fmt: skip
