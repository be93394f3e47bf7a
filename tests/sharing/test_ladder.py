"""The ladder of equalities: every architecture is a special case of the next one."""

import pytest
import torch

from polytask.sharing import cgc, mmoe, omoe, ple, shared_bottom, single_task

TASKS, WIDTH = 3, 6
OPTIONS = {"widths": (5, 4), "norm": "layer", "activation": "gelu"}


def copy(source, target, *, skip=()):
    """Gives ``target`` the parameters of ``source``, which has all of them but ``skip``."""
    missing, unexpected = target.load_state_dict(source.state_dict(), strict=False)
    assert not unexpected
    assert all(any(part in name for part in skip) for name in missing), missing


def assert_equal(one, two, *, weights=(1.0, 2.0, 3.0)):
    """Same values, and the same weighted gradients of the input."""
    found = []
    for sharing in (one, two):
        torch.manual_seed(1)
        x = torch.randn(7, WIDTH, requires_grad=True)
        representation = sharing(x)
        representation.cut.weights = torch.tensor(weights)
        (grad,) = torch.autograd.grad(representation.value, x, torch.randn(representation.value.shape))
        found.append((representation.value.detach(), grad))
    torch.testing.assert_close(found[0], found[1])


def test_mmoe_with_one_expert_is_shared_bottom():
    bottom, mixture = shared_bottom(TASKS, WIDTH, **OPTIONS), mmoe(TASKS, WIDTH, experts=1, **OPTIONS)
    copy(bottom, mixture, skip=["gates"])
    assert_equal(bottom, mixture)


def test_omoe_is_mmoe_with_tied_gates():
    one, many = omoe(TASKS, WIDTH, experts=4, **OPTIONS), mmoe(TASKS, WIDTH, experts=4, **OPTIONS)
    state = one.state_dict()
    state["levels.0.gates.weight"] = state["levels.0.gates.weight"].expand(TASKS, -1, -1)
    many.load_state_dict(state)
    assert_equal(one, many)


def test_cgc_without_own_experts_is_mmoe():
    customized, mixture = (
        cgc(TASKS, WIDTH, experts=0, shared_experts=4, **OPTIONS),
        mmoe(TASKS, WIDTH, experts=4, **OPTIONS),
    )
    copy(mixture, customized)
    assert_equal(mixture, customized)


def test_ple_of_one_level_is_cgc():
    options = {"experts": 2, "shared_experts": 3, **OPTIONS}
    progressive, customized = ple(TASKS, WIDTH, levels=1, **options), cgc(TASKS, WIDTH, **options)
    copy(customized, progressive)
    assert_equal(customized, progressive)


def test_cgc_of_one_own_expert_and_none_shared_is_single_task():
    customized, single = (
        cgc(TASKS, WIDTH, experts=1, shared_experts=0, **OPTIONS),
        single_task(TASKS, WIDTH, **OPTIONS),
    )
    copy(single, customized, skip=["gates"])
    assert_equal(single, customized)


def test_single_task_is_one_network_per_task():
    together = single_task(TASKS, WIDTH, **OPTIONS)
    x = torch.randn(7, WIDTH)
    for task in range(TASKS):
        alone = single_task(1, WIDTH, **OPTIONS)
        alone.load_state_dict({name: value[task : task + 1] for name, value in together.state_dict().items()})
        torch.testing.assert_close(alone(x).value[0], together(x).value[task])


@pytest.mark.parametrize("name", ["cgc", "single_task"])
def test_a_task_without_gradient_does_not_touch_the_private_paths_of_others(name):
    sharing = {"cgc": cgc, "single_task": single_task}[name](2, WIDTH, **OPTIONS)
    value = sharing(torch.randn(7, WIDTH)).value
    value[0].sum().backward()
    first = sharing.levels[0].experts.first.weight.grad
    private_of_second = first[3:6] if name == "cgc" else first[1:]
    assert not private_of_second.any()
    assert first[0].any()
