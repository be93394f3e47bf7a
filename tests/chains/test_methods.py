"""The methods against loops, and what their papers promise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import chain_loops as loops
import numpy as np
import pytest
import torch
from torch import nn

import polytask.chains
from polytask.chains import Chain, ChainMethod, aitm, chain_of, dbmtl, escm2, esmm, plain
from polytask.chains.escm2 import ESCM2
from polytask.errors import UserError

ROWS, WIDTH = 7, 4
METHODS: dict[str, Callable[[Chain], ChainMethod]] = {
    "plain": plain,
    "esmm": esmm,
    "escm2": lambda chain: escm2(chain, WIDTH),
    "escm2 dr": lambda chain: escm2(chain, WIDTH, estimator="dr", widths=(3,)),
    "aitm": lambda chain: aitm(chain, WIDTH),
    "dbmtl": lambda chain: dbmtl(chain, WIDTH),
}


def tree() -> Chain:
    """click -> cart -> buy, click -> like; ``age`` stands outside."""
    chain = chain_of(["buy", "click", "age", "cart", "like"], {"buy": "cart", "cart": "click", "like": "click"})
    assert chain is not None
    return chain


def pair() -> Chain:
    chain = chain_of(["click", "buy"], {"buy": "click"})
    assert chain is not None
    return chain


def problem(chain: Chain, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, joint labels and representations, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    tasks = len(chain.names)
    logits = 2 * torch.randn(tasks, ROWS, generator=generator, dtype=torch.float64)
    own = (torch.rand(tasks, ROWS, generator=generator) < 0.6).double()
    labels, _ = polytask.chains.joint_labels(chain.path, own, torch.ones_like(own, dtype=torch.bool))
    return logits, labels, torch.randn(tasks, ROWS, WIDTH, generator=generator, dtype=torch.float64)


def losses(method: ChainMethod, logits: torch.Tensor, labels: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    own = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return method.row_losses(own, logits, labels, r)


def test_the_list_is_what_is_tested() -> None:
    assert {name.split()[0] for name in METHODS} == set(polytask.chains.__all__)
    for name in polytask.chains.__all__:
        assert "Loss space:" in (inspect.getdoc(getattr(polytask.chains, name)) or "")


def test_esmm_equals_its_loop() -> None:
    logits, labels, r = problem(tree())
    expected = loops.esmm(tree().parents, logits.numpy(), labels.numpy())
    torch.testing.assert_close(losses(esmm(tree()), logits, labels, r), torch.from_numpy(expected))


@pytest.mark.parametrize("estimator", ["ips", "dr"])
@pytest.mark.parametrize("clip", [0.1, 0.6])
def test_escm2_equals_its_loop(estimator: Any, clip: float) -> None:
    chain = tree()
    logits, labels, r = problem(chain)
    torch.manual_seed(1)
    options: dict[str, Any] = {"cvr_weight": 0.3, "ctcvr_weight": 0.8, "clip": clip}
    method = escm2(chain, WIDTH, estimator=estimator, **options).double()
    assert isinstance(method, ESCM2)
    guesses = None
    if method.imputation is not None:
        guesses = torch.zeros_like(logits)
        guesses[list(chain.children)] = method.imputation(r[list(chain.children)]).detach()
        guesses = guesses.numpy()
    expected = loops.escm2(chain.parents, logits.numpy(), labels.numpy(), guesses, cvr=0.3, ctcvr=0.8, clip=clip)
    torch.testing.assert_close(losses(method, logits, labels, r).detach(), torch.from_numpy(expected))


def test_aitm_equals_its_loop() -> None:
    logits, labels, r = problem(tree())
    expected = loops.aitm_losses(tree().parents, logits.numpy(), labels.numpy(), 0.6)
    torch.testing.assert_close(losses(aitm(tree(), WIDTH), logits, labels, r), torch.from_numpy(expected))


def test_escm2_without_its_own_loss_is_esmm() -> None:
    logits, labels, r = problem(tree())
    found = losses(escm2(tree(), WIDTH, cvr_weight=0.0, ctcvr_weight=1.0), logits, labels, r)
    torch.testing.assert_close(found, losses(esmm(tree()), logits, labels, r))


@pytest.mark.parametrize("name", ["plain", "esmm", "escm2", "dbmtl"])
def test_the_joint_probability_is_the_product_along_the_path(name: str) -> None:
    heads = torch.rand(4, ROWS, dtype=torch.float64)
    given, joint = METHODS[name](tree()).probabilities(heads)
    assert given is heads
    for task in range(4):
        torch.testing.assert_close(
            joint[task], torch.stack([heads[s] for s in loops.path(tree().parents, task)]).prod(0)
        )


def test_aitm_divides_joint_probabilities() -> None:
    heads = torch.tensor([[0.1, 0.4, 0.0], [0.4, 0.2, 0.0]])
    method = aitm(chain_of(["buy", "click"], {"buy": "click"}), WIDTH)  # type: ignore[arg-type]
    given, joint = method.probabilities(heads)
    assert joint is heads
    torch.testing.assert_close(given, torch.tensor([[0.25, 1.0, 0.0], [0.4, 0.2, 0.0]]))


def test_joint_losses_stay_finite_and_exact_at_extreme_logits() -> None:
    method = esmm(pair())
    for size in (1e2, 1e4, 1e6):
        logits = torch.tensor([[size, -size, size, -size], [size, size, -size, -size]], requires_grad=True)
        for label in (0.0, 1.0):
            labels = torch.full((2, 4), label)
            found = losses(method, logits, labels, torch.zeros(2, 4, WIDTH))
            (gradient,) = torch.autograd.grad(found.sum(), logits)
            assert torch.isfinite(found).all() and torch.isfinite(gradient).all()
    # 1 - p q at p = q = 1 - 1e-9: a subtraction in float32 would give 0
    logits = torch.full((2, 1), float(np.log(1e9)))
    assert losses(method, logits, torch.zeros(2, 1), torch.zeros(2, 1, WIDTH))[1].item() == pytest.approx(-np.log(2e-9))


def test_the_calibrator_costs_nothing_where_probabilities_are_ordered() -> None:
    labels = torch.zeros(2, 3)
    logits = torch.tensor([[1.0, 0.5, 0.0], [-1.0, 0.5, 2.0]])
    with_it, without = (losses(aitm(pair(), WIDTH, alpha=a), logits, labels, labels) for a in (0.6, 0.0))
    assert torch.equal(with_it[0], without[0])
    excess = with_it[1] - without[1]
    torch.testing.assert_close(excess, torch.tensor([0.0, 0.0, 0.6 * (torch.sigmoid(torch.tensor(2.0)).item() - 0.5)]))


@pytest.mark.parametrize("estimator", ["ips", "dr"])
def test_the_propensity_receives_no_gradient(estimator: Any) -> None:
    logits, labels, r = problem(pair())
    logits.requires_grad_()
    method = escm2(pair(), WIDTH, estimator=estimator, ctcvr_weight=0.0).double()
    (gradient,) = torch.autograd.grad(losses(method, logits, labels, r)[1].sum(), logits)
    assert not gradient[0].any() and gradient[1].any()


def draws(propensity: torch.Tensor, happens: torch.Tensor, times: int) -> torch.Tensor:
    """Joint labels of ``times`` replays of the same rows: who clicks is drawn anew, who would buy is fixed."""
    generator = torch.Generator().manual_seed(0)
    clicks = (torch.rand(times, len(propensity), generator=generator) < propensity).double()
    return torch.stack([clicks, clicks * happens]).flatten(1)


@pytest.mark.parametrize("estimator", ["ips", "dr"])
def test_the_conditional_loss_is_unbiased_where_the_propensities_are_right(estimator: Any) -> None:
    rows, times = 50, 4000
    generator = torch.Generator().manual_seed(3)
    propensity = 0.15 + 0.8 * torch.rand(rows, generator=generator, dtype=torch.float64)
    # who is unlikely to click would not buy: clicked rows are no fair sample
    happens = (propensity > 0.5).double()
    logits = torch.stack([torch.logit(propensity), torch.full((rows,), -1.0, dtype=torch.float64)])
    true = nn.functional.binary_cross_entropy_with_logits(logits[1], happens, reduction="none")
    labels = draws(propensity, happens, times)
    method = escm2(pair(), WIDTH, estimator=estimator, cvr_weight=1.0, ctcvr_weight=0.0)
    assert isinstance(method, ESCM2)
    guess = torch.full((rows,), 0.4, dtype=torch.float64)  # wrong
    if estimator == "dr":
        method.imputation = Fixed(guess.repeat(times))  # type: ignore[assignment]
    found = losses(method, logits.repeat(1, times), labels, torch.zeros(2, rows * times, WIDTH, dtype=torch.float64))[1]
    if estimator == "dr":  # less what trains the tower
        found = found - labels[0] / propensity.repeat(times) * (true - guess).square().repeat(times)
    means = found.view(times, rows).mean(1)
    error = float(means.std() / times**0.5)
    assert float(means.mean()) == pytest.approx(float(true.mean()), abs=4 * error)
    clicked = float((labels[0].view(times, rows) * true).sum() / labels[0].sum())
    assert abs(clicked - float(true.mean())) > 20 * error  # so the test can tell


def test_the_doubly_robust_loss_is_exact_where_the_imputation_is_right() -> None:
    rows, times = 30, 5
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, rows, generator=generator, dtype=torch.float64)  # its propensities are wrong
    happens = (torch.rand(rows, generator=generator) < 0.5).double()
    true = nn.functional.binary_cross_entropy_with_logits(logits[1], happens, reduction="none")
    method = escm2(pair(), WIDTH, estimator="dr", cvr_weight=1.0, ctcvr_weight=0.0)
    assert isinstance(method, ESCM2)
    method.imputation = Fixed(true.repeat(times))  # type: ignore[assignment]
    labels = draws(torch.full((rows,), 0.3, dtype=torch.float64), happens, times)
    found = losses(method, logits.repeat(1, times), labels, torch.zeros(2, rows * times, WIDTH, dtype=torch.float64))[1]
    torch.testing.assert_close(found, true.repeat(times))


class Fixed(nn.Module):
    def __init__(self, guess: torch.Tensor) -> None:
        super().__init__()
        self.guess = guess

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        return self.guess.unsqueeze(0)


def test_aitm_passes_states_down_as_its_loop() -> None:
    chain = tree()
    torch.manual_seed(0)
    method = aitm(chain, WIDTH)
    towers = torch.randn(5, ROWS, WIDTH)
    found = method.transfer(towers).detach()
    states = {1: towers[1], 2: towers[2]}  # click starts; age is outside
    for depth, slot, task, parent in [(0, 0, 3, 1), (0, 1, 4, 1), (1, 0, 0, 3)]:
        edge = method.passing.edges[depth]
        g, h1, h2, h3 = (
            partial(nn.functional.linear, weight=layer.weight[slot], bias=layer.bias[slot])
            for layer in (edge.passed, edge.value, edge.query, edge.key)
        )
        tokens = torch.stack([g(states[parent]).relu(), towers[task]])
        scores = (h2(tokens) * h3(tokens)).sum(-1) / WIDTH**0.5
        states[task] = (scores.softmax(0).unsqueeze(-1) * h1(tokens)).sum(0).detach()
    torch.testing.assert_close(found, torch.stack([states[task] for task in range(5)]))


def test_dbmtl_passes_states_down_as_its_loop() -> None:
    torch.manual_seed(0)
    method = dbmtl(tree(), WIDTH)
    towers = torch.randn(5, ROWS, WIDTH)
    states = {1: towers[1], 2: towers[2]}
    for depth, slot, task, parent in [(0, 0, 3, 1), (0, 1, 4, 1), (1, 0, 0, 3)]:
        layer = method.passing.edges[depth].layer
        both = torch.cat([towers[task], states[parent]], 1)
        states[task] = (both @ layer.weight[slot].T + layer.bias[slot]).relu()
    expected = torch.stack([states[task] for task in range(5)])
    torch.testing.assert_close(method.transfer(towers), expected)


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_belongs_to_the_task_that_reads(name: str) -> None:
    """What reaches a task comes from its own path only, and through parameters that are its own or its ancestors'."""
    chain = tree()
    torch.manual_seed(0)
    method = METHODS[name](chain)
    owners = {id(parameter): tasks.tolist() for parameter, tasks in method.parameter_owners()}
    assert owners.keys() == {id(parameter) for parameter in method.parameters()}
    towers = torch.randn(5, ROWS, WIDTH, requires_grad=True)
    r = torch.randn(4, ROWS, WIDTH)
    logits = method.transfer(towers)[list(chain.tasks)].sum(-1)
    labels = torch.ones(4, ROWS)
    found = losses(method, logits, labels, r) if method.joint else logits.square()
    for task, position in enumerate(chain.tasks):
        method.zero_grad()
        (gradient,) = torch.autograd.grad(found[task].sum(), towers, retain_graph=True)
        path = {chain.tasks[step] for step in loops.path(chain.parents, task)}
        read = {tasks for tasks in range(5) if gradient[tasks].any()}
        assert read == (path if method.crosses else {position})
        if owners:
            found[task].sum().backward(retain_graph=True)
            for parameter in method.parameters():
                for entry, owner in enumerate(owners[id(parameter)]):
                    if parameter.grad is not None and parameter.grad[entry].any():
                        assert owner in path


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rows", [0, 1])
def test_batches_of_no_and_one_row(name: str, rows: int) -> None:
    method = METHODS[name](tree())
    assert method.transfer(torch.zeros(5, rows, WIDTH)).shape == (5, rows, WIDTH)
    z = torch.zeros(4, rows)
    assert losses(method, z, z, torch.zeros(4, rows, WIDTH)).shape == (4, rows)
    assert [values.shape for values in method.probabilities(z)] == [(4, rows)] * 2


def test_wrong_options_are_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        escm2(pair(), WIDTH, estimator="dp", clip=0.0, cvr_weight=-1.0)  # type: ignore[arg-type]
    assert "chain.estimator" in str(error.value) and "chain.clip" in str(error.value)
    assert "chain.cvr_weight: is -1.0; give a number at least 0" in str(error.value)
    with pytest.raises(UserError, match=r"chain.alpha: is -0.1"):
        aitm(pair(), WIDTH, alpha=-0.1)
