"""Methods of TorchJD in the place of a balancer."""

import sys

import pytest
import torch
from properties import gradients_of, step_for
from torch import nn

from polytask import balancing
from polytask.balancing import backward
from polytask.balancing.chance import generator
from polytask.balancing.interfaces import Aggregator, Weighting
from polytask.balancing.torchjd import from_torchjd
from polytask.config.components import check_options, find
from polytask.errors import MissingExtraError, UserError
from polytask.testing import check_balancer

theirs = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed")

WEIGHTINGS = {
    "AlignedMTL": lambda: theirs.AlignedMTL(),
    "DualProj": lambda: theirs.DualProj(),
    "IMTLG": lambda: theirs.IMTLG(),
    "Krum": lambda: theirs.Krum(n_byzantine=0),
    "MGDA": lambda: theirs.MGDA(),
    "PCGrad": lambda: theirs.PCGrad(),
    "UPGrad": lambda: theirs.UPGrad(),
    "UPGradWeighting": lambda: theirs.UPGradWeighting(),
    "GradVac": lambda: theirs.GradVac(),
    "PCD": lambda: theirs.PCD(),
    "CRMOGM": lambda: theirs.CRMOGMWeighting(theirs.UPGradWeighting()),
}
AGGREGATORS = {
    "ConFIG": lambda: theirs.ConFIG(),
    "Constant": lambda: theirs.Constant(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)),
    "ExcessMTL": lambda: theirs.ExcessMTL(),
    "GradDrop": lambda: theirs.GradDrop(),
    "Mean": lambda: theirs.Mean(),
    "Random": lambda: theirs.Random(),
    "Sum": lambda: theirs.Sum(),
    "TrimmedMean": lambda: theirs.TrimmedMean(trim_number=1),
}
STATEFUL = {name: {**WEIGHTINGS, **AGGREGATORS}[name] for name in ("GradVac", "PCD", "CRMOGM", "ExcessMTL")}
DRAWING = {name: {**WEIGHTINGS, **AGGREGATORS}[name] for name in ("PCGrad", "GradDrop", "Random")}
GRADIENTS = gradients_of(4, 7)


def given(balancer, gradients=GRADIENTS, number=0, absent=()):
    step = step_for(len(gradients), number, absent=absent)
    rows = gradients[step.present]
    return balancer(rows @ rows.T, step) @ rows if isinstance(balancer, Weighting) else balancer(rows, step)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_what_needs_the_gramian_alone_is_a_weighting(name):
    assert isinstance(from_torchjd(WEIGHTINGS[name]()), Weighting)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_everything_else_is_an_aggregator(name):
    assert isinstance(from_torchjd(AGGREGATORS[name]()), Aggregator)


EXACT = {name: build for name, build in {**WEIGHTINGS, **AGGREGATORS}.items() if name not in (*DRAWING, "GradVac")}


@pytest.mark.parametrize("build", EXACT.values(), ids=EXACT)
def test_it_does_what_the_method_does(build):
    method, balancer = build(), from_torchjd(build())
    for number in range(3):
        rows = gradients_of(4, 7, seed=number)
        wanted = method(rows) if isinstance(method, theirs.Aggregator) else method(rows @ rows.T) @ rows
        torch.testing.assert_close(given(balancer, rows, number), wanted)


@pytest.mark.parametrize("build", DRAWING.values(), ids=DRAWING)
def test_it_does_what_the_method_does_with_these_draws(build):
    for number in range(3):
        torch.manual_seed(int(generator(0, step_for(4, number)).integers(2**63)))
        torch.testing.assert_close(given(from_torchjd(build()), number=number), build()(GRADIENTS))


@pytest.mark.parametrize("name", ["MGDA", "DualProj", "IMTLG", "UPGradWeighting", "AlignedMTL"])
def test_the_contract(name):
    check_balancer(lambda tasks: from_torchjd(WEIGHTINGS[name]()))


@pytest.mark.parametrize("build", DRAWING.values(), ids=DRAWING)
def test_draws_are_decided_by_seed_and_step(build):
    one, other, seeded = from_torchjd(build()), from_torchjd(build()), from_torchjd(build(), seed=1)
    torch.manual_seed(0)
    before = torch.rand(3)
    torch.manual_seed(0)
    found = [given(one, number=number) for number in range(8)]
    assert torch.equal(torch.rand(3), before), "torch's own random numbers have moved"
    assert all(torch.equal(given(other, number=number), found[number]) for number in (5, 2, 7))
    assert any(not torch.equal(row, found[0]) for row in found)
    assert any(not torch.equal(given(seeded, number=number), found[number]) for number in range(8))


def test_absent_tasks():
    assert torch.equal(
        given(from_torchjd(theirs.UPGrad()), absent=(1,)), given(from_torchjd(theirs.UPGrad()), GRADIENTS[[0, 2, 3]])
    )
    with pytest.raises(UserError, match="balancer 'Constant': TorchJD refuses 3 tasks in step 2"):
        given(from_torchjd(AGGREGATORS["Constant"]()), number=2, absent=(1,))


@pytest.mark.parametrize("build", STATEFUL.values(), ids=STATEFUL)
def test_methods_that_remember_refuse_other_tasks_than_before(build):
    balancer = from_torchjd(build())
    given(balancer, absent=(1,))
    given(balancer, number=1, absent=(1,))
    with pytest.raises(UserError, match="other tasks are present in step 2 than before, and it remembers tasks by"):
        given(balancer, number=2, absent=(2,))


@pytest.mark.parametrize("build", STATEFUL.values(), ids=STATEFUL)
def test_states_that_torchjd_does_not_save_are_refused(build):
    balancer, copy = from_torchjd(build()), from_torchjd(build())
    copy.load_state_dict(balancer.state_dict())  # before the first step there is nothing to lose
    given(balancer)
    with pytest.raises(UserError, match=r"TorchJD has not saved what it remembers.*; start the run anew"):
        copy.load_state_dict(balancer.state_dict())


def test_methods_without_a_memory_resume():
    balancer, copy = from_torchjd(theirs.PCGrad()), from_torchjd(theirs.PCGrad())
    given(balancer)
    copy.load_state_dict(balancer.state_dict())
    assert torch.equal(given(balancer, number=1), given(copy, number=1))


@pytest.mark.parametrize(
    "build",
    [
        lambda: theirs.ExcessMTL().weighting,
        lambda: theirs.MoDoWeighting(),
        lambda: theirs.SDMGradWeighting(),
        lambda: theirs.CRMOGMWeighting(theirs.MeanWeighting()),
        lambda: theirs.UPGradWeighting() << (lambda rows: rows @ rows.T),
        lambda: nn.Linear(2, 2),
        lambda: "UPGrad",
    ],
)
def test_what_is_no_method_of_gramians_is_refused(build):
    with pytest.raises(UserError, match=r"method: .* is no aggregator and no weighting of Gramians; give an object"):
        from_torchjd(build())


def test_without_torchjd(monkeypatch):
    method = theirs.UPGrad()
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(MissingExtraError, match=r"package 'torchjd'.*pip install 'polytask\[torchjd\]'"):
        from_torchjd(method)


def test_in_a_step_of_a_model():
    def run(balancer, **options):
        torch.manual_seed(0)
        trunk, heads = nn.Linear(4, 6).double(), [nn.Linear(6, 1).double() for _ in range(3)]
        features = trunk(torch.ones(5, 4, dtype=torch.float64)).tanh()
        losses = [(head(features) - number).square().mean() for number, head in enumerate(heads)]
        weights = backward(losses, balancer, **options)
        return weights, trunk.weight.grad, heads[0].weight.grad

    for place in ("representation", "parameters"):
        found = run(from_torchjd(theirs.AlignedMTL()), at=place)
        for one, other in zip(found, run(balancing.aligned_mtl(), at=place), strict=True):
            torch.testing.assert_close(one, other)
    found, wanted = run(from_torchjd(theirs.Mean())), run(balancing.mean())
    torch.testing.assert_close(found[1:], wanted[1:])


def test_from_a_configuration(tmp_path, monkeypatch):
    (tmp_path / "my_torchjd_balancers.py").write_text(
        "from polytask.balancing.torchjd import from_torchjd\n"
        "from torchjd.aggregation import Krum\n\n\n"
        "def krum(*, byzantine: int = 1, seed: int = 0):\n"
        "    return from_torchjd(Krum(byzantine), seed=seed)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    builder = find(
        "polytask.balancing", "my_torchjd_balancers:krum", path="balancer.use", allow_code=["my_torchjd_balancers"]
    )
    balancer = builder(**check_options(builder, {"byzantine": 1}, path="balancer"))
    assert torch.equal(given(balancer), theirs.Krum(1)(GRADIENTS))
