"""Every balancer that a config can name keeps the contract of its kind."""

import pytest
import torch

import polytask.balancing
from polytask.balancing.interfaces import Aggregator, Scalarizer, Weighting
from polytask.testing import check_balancer
from polytask.testing.balancers import answer_of

BUILDERS = {
    "equal": lambda tasks: polytask.balancing.equal(),
    "constant": lambda tasks: polytask.balancing.constant([2.0] * tasks),
    "annealed": lambda tasks: polytask.balancing.annealed([2.0] * tasks, [0.9] * tasks),
    "random_weights": lambda tasks: polytask.balancing.random_weights(),
    "scale_invariant": lambda tasks: polytask.balancing.scale_invariant(),
    "geometric_mean": lambda tasks: polytask.balancing.geometric_mean(),
    "uncertainty": lambda tasks: polytask.balancing.uncertainty(["binary"] * tasks, start=0.3),
    "imtl_l": lambda tasks: polytask.balancing.imtl_l(tasks, start=0.3),
    "dwa": lambda tasks: polytask.balancing.dwa(tasks),
    "dtp": lambda tasks: polytask.balancing.dtp(tasks),
    "tchebycheff": lambda tasks: polytask.balancing.tchebycheff(tasks),
    "smooth_tchebycheff": lambda tasks: polytask.balancing.smooth_tchebycheff(tasks),
    "go4align": lambda tasks: polytask.balancing.go4align(tasks),
    "famo": lambda tasks: polytask.balancing.famo(tasks),
    "auto_lambda": lambda tasks: polytask.balancing.auto_lambda(tasks),
    "mgda": lambda tasks: polytask.balancing.mgda(),
    "pcgrad": lambda tasks: polytask.balancing.pcgrad(),
    "gradvac": lambda tasks: polytask.balancing.gradvac(tasks),
    "cagrad": lambda tasks: polytask.balancing.cagrad(),
    "imtl_g": lambda tasks: polytask.balancing.imtl_g(),
    "nash_mtl": lambda tasks: polytask.balancing.nash_mtl(),
    "fairgrad": lambda tasks: polytask.balancing.fairgrad(),
    "aligned_mtl": lambda tasks: polytask.balancing.aligned_mtl(),
    "upgrad": lambda tasks: polytask.balancing.upgrad(),
    "dualproj": lambda tasks: polytask.balancing.dualproj(),
    "config": lambda tasks: polytask.balancing.config(),
    "sdmgrad": lambda tasks: polytask.balancing.sdmgrad(tasks),
    "epo": lambda tasks: polytask.balancing.epo(tasks),
    "gradnorm": lambda tasks: polytask.balancing.gradnorm(tasks),
    "ntkmtl": lambda tasks: polytask.balancing.ntkmtl(),
    "mean": lambda tasks: polytask.balancing.mean(),
    "trimmed_mean": lambda tasks: polytask.balancing.trimmed_mean(),
    "graddrop": lambda tasks: polytask.balancing.graddrop(tasks),
    "excess_mtl": lambda tasks: polytask.balancing.excess_mtl(tasks),
    "moco": lambda tasks: polytask.balancing.moco(tasks),
    "db_mtl": lambda tasks: polytask.balancing.db_mtl(tasks),
}

# These treat tasks by their order, or draw at random per task.
ORDERED = {"random_weights", "pcgrad", "gradvac"}

# One tiny matrix through every method; a silent change of a method shows here.
GRADIENTS = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, -1.0]], dtype=torch.float64)
GOLDEN = {
    "equal": [1.0, 1.0],
    "constant": [2.0, 2.0],
    "annealed": [2.0, 2.0],
    "random_weights": [0.037185, 1.962815],
    "scale_invariant": [0.447214, 0.316228],
    "geometric_mean": [0.594604, 0.420448],
    "uncertainty": [0.740818, 0.740818],
    "imtl_l": [1.349859, 1.349859],
    "dwa": [1.0, 1.0],
    "dtp": [0.346574, 0.346574],
    "tchebycheff": [0.0, 0.5],
    "smooth_tchebycheff": [0.193125, 0.306875],
    "go4align": [1.207163, 0.853514],
    "famo": [0.585786, 0.414214],
    "auto_lambda": [0.1, 0.1],
    "mgda": [0.631579, 0.368421],
    "pcgrad": [1.4, 1.2],
    "gradvac": [1.4, 1.2],
    "cagrad": [0.796648, 0.5],
    "imtl_g": [0.585786, 0.414214],
    "nash_mtl": [0.52809, 0.373416],
    "fairgrad": [0.418866, 0.274603],
    "aligned_mtl": [0.537132, 0.394144],
    "upgrad": [0.7, 0.6],
    "dualproj": [0.5, 0.5],
    "config": [1.207107, 0.853553],
    "sdmgrad": [0.884615, 0.115385],
    "epo": [0.1927, 0.8073],
    "gradnorm": [1.0, 1.0],
    "ntkmtl": [1.224745, 0.866025],
    "mean": [0.5, 1.5, 0.5],
    "trimmed_mean": [0.5, 1.5, 0.5],
    "graddrop": [1.0, 3.0, 2.0],
    "excess_mtl": [1.0, 3.0, 1.0],
    "moco": [0.050125, 0.149625, 0.050375],
    "db_mtl": [0.044721, 0.094868, 0.057820],
}


def test_every_balancer_is_listed_here():
    assert set(BUILDERS) == set(GOLDEN) == set(polytask.balancing.__all__)


@pytest.mark.parametrize("name", polytask.balancing.__all__)
def test_contract(name):
    check_balancer(BUILDERS[name], ordered=name in ORDERED)


@pytest.mark.parametrize("name", polytask.balancing.__all__)
def test_golden(name):
    found = answer_of(BUILDERS[name](2), GRADIENTS)
    assert found.tolist() == pytest.approx(GOLDEN[name], abs=1e-6)


@pytest.mark.parametrize("name", polytask.balancing.__all__)
def test_documentation(name):
    text = getattr(polytask.balancing, name).__doc__
    for part in ("Sum of the weights", ">>>"):
        assert part in text, f"{name}: the docstring lacks {part}"


class _CountsAbsent(Scalarizer):
    def forward(self, losses, step, /):
        return losses.sum() / len(step.present)


class _FirstTaskOnly(Weighting):
    def forward(self, gramian, step, /):
        return torch.eye(len(gramian))[0]


class _Explodes(Aggregator):
    def forward(self, jacobian, step, /):
        return jacobian.sum(0) / jacobian.norm()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_CountsAbsent, "an absent task takes part"),
        (_FirstTaskOnly, "the order of the tasks matters"),
        (_Explodes, "not finite at scale 0.0"),
    ],
)
def test_the_contract_finds_mistakes(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_balancer(lambda tasks: broken())
