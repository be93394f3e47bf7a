"""Every architecture that a config can name keeps the contract of sharing architectures."""

import pytest
import torch
from torch import nn

import polytask.sharing
from polytask.sharing import mmoe
from polytask.sharing.gates import DSelectK, Softmax
from polytask.sharing.representation import Representation, Sharing
from polytask.testing import check_sharing

SMALL = {"widths": (5, 4)}
OPTIONS = {
    "single_task": {},
    "shared_bottom": {},
    "omoe": {"experts": 3, "gate": Softmax(bias=True)},
    "mmoe": {"experts": 3, "gate": Softmax(temperature=2.0)},
    "cgc": {"experts": 2, "shared_experts": 1},
    "ple": {"experts": 1, "shared_experts": 2, "levels": 3},
    "asymmetric": {"fusion": "sum"},
    "customized": {},
    "masked": {"gate": DSelectK(k=2, entropy=0.1)},
    "ml_mmoe": {"experts": (4, 3, 2), "gate": DSelectK(static=True)},
    "cross_stitch": {"units": "layer", "stitch_last": False},
    "sluice": {"widths": (4, 4), "start": "imbalanced", "penalty": 1.0},
    "tensor_factorisation": {"ranks": (3, 3, 2), "activation": "gelu"},
    "l2_constrained": {"alpha": 0.5},
    "adatt": {"experts": 1, "shared_experts": 2},
    "snr": {"mode": "aver", "experts": 3},
    "home": {"experts": 1, "norm": "layer"},
    "stem": {"levels": 2},
    "poso": {"scale": 1.0},
    "pepnet": {"hidden": 5},
}


def test_every_architecture_is_listed_here():
    assert set(OPTIONS) == set(polytask.sharing.__all__)


@pytest.mark.parametrize("name", polytask.sharing.__all__)
def test_contract(name):
    builder = getattr(polytask.sharing, name)
    check_sharing(lambda tasks, width: builder(tasks, width, **{**SMALL, **OPTIONS[name]}))


@pytest.mark.parametrize("name", polytask.sharing.__all__)
def test_contract_of_other_options(name):
    builder = getattr(polytask.sharing, name)
    check_sharing(lambda tasks, width: builder(tasks, width, widths=(4,), norm="layer", activation="silu"))


@pytest.mark.parametrize("name", polytask.sharing.__all__)
def test_contract_in_float32(name):
    builder = getattr(polytask.sharing, name)
    # no unit of a GELU is ever dead, which would look like a shared parameter that a task does not reach
    small = {"activation": "gelu", "widths": OPTIONS[name].get("widths", SMALL["widths"])}
    check_sharing(lambda tasks, width: builder(tasks, width, **small), dtype=torch.float32)


@pytest.mark.parametrize("name", polytask.sharing.__all__)
def test_documentation(name):
    text = getattr(polytask.sharing, name).__doc__
    for part in ("https://", "Args:", "Returns:", "Raises:", ">>>", "[T, B, H]"):
        assert part in text, f"{name}: the docstring lacks {part}"


class _Broken(Sharing):
    """MMoE with one thing wrong."""

    def __init__(self, inner: Sharing) -> None:
        super().__init__()
        self.inner, self.tasks = inner, inner.tasks
        self.in_features, self.out_features = inner.in_features, inner.out_features


class _MixesRows(_Broken):
    def forward(self, x, /):
        return self.inner(x + x.mean(0))


class _ForgetsWeights(_Broken):
    def forward(self, x, /):
        made = self.inner(x)
        return Representation(made.value + 0.0 * made.value, _Deaf(made.cut), made.gates)


class _WeighsTooMuch(_Broken):
    """Weighs the private gates as well, by scaling the representation itself."""

    def forward(self, x, /):
        made = self.inner(x)
        cut = _Deaf(made.cut)
        if not made.value.requires_grad:
            return made
        made.value.register_hook(lambda d: d if cut.weights is None else d * cut.weights.view(-1, 1, 1))
        return Representation(made.value, cut, made.gates)


class _Deaf:
    """A cut that keeps weights to itself."""

    def __init__(self, inner):
        self.inner, self.weights = inner, None

    def gramian(self, gradient, /):
        return self.inner.gramian(gradient)


class _Wasteful(_Broken):
    """State that is neither parameter nor buffer."""

    def __init__(self, inner: Sharing) -> None:
        super().__init__(inner)
        self.secret = torch.randn(inner.in_features)

    def forward(self, x, /):
        return self.inner(x + self.secret.to(x))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_MixesRows, "depends on the other rows"),
        (_ForgetsWeights, "not weighted as they should"),
        (_WeighsTooMuch, "not weighted as they should"),
        (_Wasteful, "same state gives another"),
    ],
)
def test_the_contract_finds_mistakes(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_sharing(lambda tasks, width: broken(mmoe(tasks, width, experts=2, widths=(4,))))


def test_sharing_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Sharing()
    assert issubclass(Sharing, nn.Module)
