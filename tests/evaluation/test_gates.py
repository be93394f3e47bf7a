"""The report on gates and dead units against sums over all rows at once."""

import math

import pytest
import torch

from polytask.evaluation import report_gates
from polytask.sharing import adatt, mmoe, ple, shared_bottom


class Flat(torch.nn.Module):
    """The numbers of a batch as they are."""

    def forward(self, features):
        return features.numeric


class Model(torch.nn.Module):
    """As much of a model as the report reads."""

    def __init__(self, sharing, tasks):
        super().__init__()
        self.encoder, self.sharing, self.tasks = Flat(), sharing, tasks


class Rows:
    """A batch of numbers."""

    def __init__(self, numeric):
        self.numeric = numeric

    @property
    def features(self):
        return self

    def to(self, device):
        return self


class Named:
    def __init__(self, name):
        self.name = name


TASKS = (Named("a"), Named("b"))


def batches():
    torch.manual_seed(0)
    x = torch.randn(50, 6)
    return x, [Rows(x[:20]), Rows(x[20:])]


def test_means_and_entropies_are_those_of_all_rows():
    sharing = mmoe(2, 6, experts=3, widths=(4,))
    x, parts = batches()
    (level,), (bank,) = report_gates(Model(sharing, TASKS), parts)
    weights = sharing(x).gates["level1"].double()
    assert level.rows == ("a", "b")
    assert level.samples == 50
    torch.testing.assert_close(torch.tensor(level.mean, dtype=torch.float64), weights.mean(0))
    entropy = -(weights * weights.log()).sum(2).mean(0) / math.log(3)
    torch.testing.assert_close(torch.tensor(level.entropy, dtype=torch.float64), entropy)
    assert bank.bank == "levels.0.experts"
    assert level.polarised == ()


def test_dead_units_and_polarised_gates_are_found():
    sharing = mmoe(2, 6, experts=2, widths=(4,))
    with torch.no_grad():
        sharing.levels[0].experts.first.weight[1, :3] = 0.0
        sharing.levels[0].experts.first.bias[1, :3] = -1.0
        sharing.levels[0].gates.weight.zero_()
    sharing.levels[0].gates.bias = torch.nn.Parameter(torch.tensor([[9.0, 0.0], [0.0, 0.0]]))
    (level,), (bank,) = report_gates(Model(sharing, TASKS), batches()[1])
    assert bank.dead[1] >= 0.75
    assert level.polarised == ("a",)
    assert level.entropy[1] == pytest.approx(1.0)


def test_levels_of_ple_name_the_shared_state_and_no_gates_is_no_report():
    levels, banks = report_gates(Model(ple(2, 6, levels=2, widths=(4,)), TASKS), batches()[1])
    assert [level.rows for level in levels] == [("a", "b", "shared"), ("a", "b")]
    assert len(banks) == 2
    assert report_gates(Model(shared_bottom(2, 6, widths=(4,)), TASKS), batches()[1])[0] == []


def test_the_model_keeps_its_mode_and_no_hooks():
    sharing = mmoe(2, 6, experts=2, widths=(4,), dropout=0.5).train()
    model = Model(sharing, TASKS).train()
    report_gates(model, batches()[1])
    assert model.training
    assert not sharing.levels[0].experts.finishes[-1]._forward_hooks


def test_weights_below_zero_have_an_entropy_too():
    sharing = adatt(2, 6, levels=1, experts=2, widths=(4,))
    with torch.no_grad():
        for parameter in sharing.levels[0].gates.residual.parameters():
            parameter.fill_(-2.0)
    (level,), _ = report_gates(Model(sharing, TASKS), batches()[1])
    assert min(map(min, level.mean)) < 0.0
    assert all(0.0 < entropy <= 1.0 for entropy in level.entropy)
