"""Penalties: their values by hand, their slopes by finite differences, and what they do to a model in training."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

import polytask.sharing.penalties
from polytask.balancing import equal
from polytask.errors import UserError
from polytask.model import Model
from polytask.serving.bundle import fitted_model
from polytask.sharing import cgc, customized, l2_constrained, masked, mmoe, shared_bottom, single_task
from polytask.sharing.penalties import joint_features, l2_distance, mean_constrained, trace_norm
from polytask.sharing.penalties.attached import Penalised, TaskPenalty
from polytask.sharing.penalties.base import Penalty
from polytask.towers import Towers
from polytask.training.step import train_step

TASKS, WIDTH = 3, 6
ALL = {"l2_distance": l2_distance, "mean_constrained": mean_constrained, "joint_features": joint_features,
       "trace_norm": trace_norm}  # fmt: skip


def stacks(*shapes, tasks=TASKS):
    torch.manual_seed(0)
    return [torch.randn(tasks, *shape, dtype=torch.float64) for shape in shapes]


def test_every_penalty_is_listed_here():
    assert set(ALL) == set(polytask.sharing.penalties.__all__)


def test_l2_distance_sums_over_pairs():
    given = stacks((2, 4, 5), (1, 4))
    pairs = itertools.combinations(range(TASKS), 2)
    wanted = 0.3 * sum((stack[s] - stack[t]).square().sum() for s, t in pairs for stack in given)
    torch.testing.assert_close(l2_distance(weight=0.3)(given), wanted)


def test_mean_constrained_has_the_best_common_vector_put_in():
    given, (deviations, size) = stacks((4, 5), (3, 4)), (0.7, 0.2)
    found = mean_constrained(weight=deviations, mean_weight=size)(given)
    flat = torch.cat([stack.flatten(1) for stack in given], 1)

    def objective(common):
        return deviations / TASKS * (flat - common).square().sum() + size * common.square().sum()

    best = deviations / (deviations + size) * flat.mean(0)
    torch.testing.assert_close(found, objective(best))
    assert all(objective(best + 0.01 * torch.randn_like(best)) > found for _ in range(5))
    total = TASKS * (deviations + size)
    rho1, rho2 = deviations * size / total, deviations**2 / total
    torch.testing.assert_close(
        found, rho1 * flat.square().sum() + rho2 * (flat - flat.mean(0)).square().sum()
    )  # as the paper writes it


def test_mean_constrained_without_weights_is_nothing():
    assert mean_constrained(weight=0, mean_weight=0)(stacks((4, 5))) == 0


def test_joint_features_sums_norms_over_inputs():
    given = stacks((2, 4, 5), (1, 7, 4))
    wanted = sum(given[0][..., column].norm() for column in range(5))
    torch.testing.assert_close(joint_features(weight=0.5)(given), 0.5 * wanted)


def test_trace_norm_sums_singular_values_of_every_layer():
    given = stacks((1, 4, 5), (1, 7, 4))
    wanted = sum(torch.linalg.svdvals(stack.flatten(1)).sum() for stack in given)
    torch.testing.assert_close(trace_norm(weight=0.5)(given), 0.5 * wanted)


@pytest.mark.parametrize("name", ALL)
def test_slopes_are_those_of_the_value(name):
    given = [stack.requires_grad_() for stack in stacks((2, 3, 4), (1, 2, 3))]
    assert torch.autograd.gradcheck(lambda *stacks: ALL[name](weight=0.7)(stacks), given)


@pytest.mark.parametrize("name", ALL)
def test_slopes_are_0_where_nothing_is_to_pull(name):
    given = [torch.zeros(TASKS, 1, 4, 5, requires_grad=True)]
    value = ALL[name]()(given)
    assert value == 0
    assert not torch.autograd.grad(value, given)[0].any()


def test_trace_norm_of_equal_tasks_only_shrinks_them():
    row = torch.randn(1, 1, 4, 5)
    stack = row.expand(TASKS, -1, -1, -1).clone().requires_grad_()
    (slope,) = torch.autograd.grad(trace_norm(weight=1.0)([stack]), stack)
    wanted = (row / row.norm() / TASKS**0.5).expand(TASKS, -1, -1, -1)
    torch.testing.assert_close(slope, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_weights_are_checked(name):
    for weight in (-0.1, float("nan")):
        with pytest.raises(UserError, match=r"penalty\.weight: is .*; give a number at least 0"):
            ALL[name](weight=weight)
    assert isinstance(ALL[name](weight=0), Penalty)


def test_other_weights_are_checked():
    with pytest.raises(UserError, match=r"penalty\.mean_weight: is -1; give a number at least 0"):
        mean_constrained(mean_weight=-1)
    with pytest.raises(UserError, match=r"alpha: is -1; give a number at least 0"):
        l2_constrained(2, 4, alpha=-1)


# which parameters


def test_entries_are_grouped_by_task():
    sharing = masked(2, WIDTH, visible=[[0, 1, 1, 0, 1], [1, 0, 1, 1, 0]], widths=(5,))
    first = TaskPenalty(l2_distance(), sharing).stacks(sharing)[0]
    weight = sharing.levels[0].experts.first.weight
    torch.testing.assert_close(first, weight[[1, 4, 0, 3]].view(2, 2, 5, WIDTH))


@pytest.mark.parametrize(
    ("sharing", "shapes"),
    [
        (single_task(3, 6, widths=(5, 4)), [(3, 1, 5, 6), (3, 1, 4, 5)]),
        (customized(3, 6, widths=(5,)), [(3, 1, 5, 6)]),
        (cgc(3, 6, experts=2, shared_experts=1, widths=(5,)), [(3, 2, 5, 6), (3, 1, 7, 6)]),
        (mmoe(3, 6, experts=2, widths=(5,)), [(3, 1, 2, 6)]),
    ],
)
def test_matrices_from_the_input_upwards(sharing, shapes):
    """The first one reads the input, whose columns joint_features needs."""
    assert [tuple(stack.shape) for stack in TaskPenalty(joint_features(), sharing).stacks(sharing)] == shapes


def test_biases_and_normalisations_count_only_where_nothing_is_pulled_to_0():
    sharing = single_task(TASKS, WIDTH, widths=(5,), norm="layer")
    assert len(TaskPenalty(l2_distance(), sharing).stacks(sharing)) == 4
    assert len(TaskPenalty(trace_norm(), sharing).stacks(sharing)) == 1


def test_towers_count_by_option():
    sharing, towers = single_task(TASKS, WIDTH, widths=(5,)), Towers(TASKS, 5, (4,))
    for chosen, count in ((False, 1), (True, 2)):
        attached = TaskPenalty(trace_norm(towers=chosen), sharing, towers)
        assert len(attached.stacks(sharing, towers)) == count


def test_where_nothing_belongs_to_tasks_the_message_says_what_does():
    sharing = shared_bottom(TASKS, WIDTH, widths=(5,))
    with pytest.raises(UserError, match=r"penalty: no parameter.*single_task.*mmoe.*penalty\.towers = true"):
        TaskPenalty(l2_distance(), sharing, Towers(TASKS, 5, (4,)))
    assert TaskPenalty(l2_distance(towers=True), sharing, Towers(TASKS, 5, (4,)))


def test_tasks_that_own_different_numbers_cannot_be_compared():
    sharing = masked(2, WIDTH, visible=[[1, 1, 0, 1], [0, 0, 1, 1]], widths=(5,))
    with pytest.raises(UserError, match=r"penalty: the tasks own 2, 1 entries of 'levels\.0\.experts\.first\.weight'"):
        TaskPenalty(l2_distance(), sharing)


def test_it_has_no_state_and_reads_parameters_anew():
    """So that it can be switched on for a trained bundle, and replicas can be given their parameters from outside."""
    sharing = Penalised(single_task(TASKS, WIDTH, widths=(5,)), l2_distance())
    assert all(name.startswith("inner.") for name in sharing.state_dict())
    zeros = {name: torch.zeros_like(value) for name, value in sharing.named_parameters()}
    made = torch.func.functional_call(sharing, zeros, (torch.randn(4, WIDTH),))
    assert made.penalty == 0


# in training


@pytest.mark.parametrize("name", ALL)
def test_only_training_has_a_penalty(name):
    sharing = Penalised(cgc(TASKS, WIDTH, widths=(5,)), ALL[name]())
    x = torch.randn(4, WIDTH)
    assert sharing(x).penalty.requires_grad and sharing.eval()(x).penalty is None


def test_it_adds_to_the_penalty_of_the_architecture():
    sharing = l2_constrained(TASKS, WIDTH, alpha=0.25, widths=(5,))
    own = sharing(torch.randn(4, WIDTH)).penalty
    both = TaskPenalty(l2_distance(weight=0.75), sharing)(sharing(torch.randn(4, WIDTH)), sharing).penalty
    torch.testing.assert_close(both, 4 * own)


def test_narrow_arithmetic_of_the_forward_pass_does_not_reach_it():
    sharing = Penalised(single_task(TASKS, WIDTH, widths=(5, 4)), trace_norm())
    x = torch.randn(4, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = sharing(x).penalty
    assert torch.equal(narrow, sharing(x).penalty)


def trained(alpha, steps=100):
    """Networks of two tasks with opposite labels, and how far apart they end."""
    torch.manual_seed(0)
    sharing = l2_constrained(2, WIDTH, alpha=alpha, widths=(8,))
    x = torch.randn(64, WIDTH)
    labels = torch.stack([x[:, :1], -x[:, :1]])
    head = nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*sharing.parameters(), *head.parameters()], lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        made = sharing(x)
        ((head(made.value) - labels).square().mean() + made.penalty).backward()
        optimizer.step()
    weight = sharing.inner.levels[0].experts.first.weight
    return float((weight[0] - weight[1]).detach().norm())


def test_networks_come_together_as_alpha_grows():
    apart = [trained(alpha) for alpha in (0.0, 0.05, 10.0)]
    assert apart == sorted(apart, reverse=True) and len(set(apart)) == 3
    assert apart[-1] < 0.02 * apart[0]


def test_alpha_of_0_is_single_task_and_equal_networks_are_shared_bottom():
    single, constrained = single_task(TASKS, WIDTH, widths=(5, 4)), l2_constrained(TASKS, WIDTH, alpha=0, widths=(5, 4))
    constrained.inner.load_state_dict(single.state_dict())
    x = torch.randn(7, WIDTH)
    made = constrained(x)
    torch.testing.assert_close(made.value, single(x).value)
    assert made.penalty == 0
    bottom = shared_bottom(TASKS, WIDTH, widths=(5, 4))
    alike = {name: value.expand(TASKS, *value.shape[1:]) for name, value in bottom.state_dict().items()}
    constrained.inner.load_state_dict(alike)
    torch.testing.assert_close(constrained(x).value, bottom(x).value)


@pytest.fixture
def build(new_config, prepared_run, table):
    """A fitted model with a penalty, and a batch."""

    def make(tasks=("click", "spend"), **tables):
        config = new_config(tasks, **tables)
        prepared = prepared_run(config, table)
        torch.manual_seed(0)
        _, batch = next(prepared.reader("train").shuffled(64, seed=0))
        return fitted_model(config, prepared.preprocessor), batch

    return make


def gradients(model: Model, batch, number=0):
    model.zero_grad()
    train_step(model, equal(), [batch], number=number, epoch=0, seed=0)
    return {name: value.grad.to_dense().clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("name", ALL)
def test_a_step_adds_the_slopes_of_the_penalty_and_nothing_else(name, build):
    sharing = {"use": "single_task", "widths": [8]}
    plain, batch = build(sharing=sharing)
    model, _ = build(sharing=sharing, penalty={"use": name, "weight": 0.3, "towers": True})
    assert plain.state_dict().keys() == model.state_dict().keys()
    without, with_it = gradients(plain, batch), gradients(model, batch)
    model.zero_grad()
    ALL[name](weight=0.3)(model.penalty.stacks(model.sharing, model.towers)).backward()
    touched = 0
    for key, parameter in model.named_parameters():
        if key in without:
            slope = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.to_dense()
            torch.testing.assert_close(with_it[key], without[key] + slope, msg=key)
            touched += bool(slope.any())
    assert touched >= 1
    micro = [replace(batch), replace(batch)]
    model.zero_grad()
    train_step(model, equal(), micro, number=0, epoch=0, seed=0)
    again = {key: value.grad.to_dense() for key, value in model.named_parameters() if value.grad is not None}
    torch.testing.assert_close(again, with_it)  # twice the same rows: the same mean losses, one penalty


def test_a_model_without_own_parameters_refuses(build):
    with pytest.raises(UserError, match="penalty: no parameter that the penalty is for belongs to single tasks"):
        build(sharing={"use": "shared_bottom"}, penalty={"use": "trace_norm"})
    with pytest.raises(UserError, match=r"penalty\.weight: is -1"):
        build(sharing={"use": "single_task"}, penalty={"use": "trace_norm", "weight": -1})
