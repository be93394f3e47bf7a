"""What every balancer must hold to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.interfaces import Aggregator, Balancer, Scalarizer, Weighting
from polytask.types import Step

TASKS = 4
SCALES = (0.0, 1e-15, 1.0, 1e6, 1e15)


def check_balancer(build: Callable[[int], Balancer], *, ordered: bool = False) -> None:
    """Runs all checks that fit the kind of ``build(tasks)``.

    Args:
        build: Makes a balancer for so many tasks, all of the same kind; called several times.
        ordered: The method treats tasks by their order or draws at random per task, so that its answer neither follows
            their order nor stays when one is left out. What is checked of an absent task is then only that its
            gradient does not matter.

    Raises:
        AssertionError: If a check fails; the message says which and how.

    Example:
        >>> from polytask.balancing import mgda
        >>> check_balancer(lambda tasks: mgda())
    """
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(TASKS, 7, generator=generator, dtype=torch.float64)
    check_finite(build, gradients)
    if not ordered:
        check_permutation(build, gradients)
        check_missing_task(build, gradients)
    check_absent_gradient(build, gradients)
    check_one_task(build(1), gradients[:1])
    check_state_round_trip(build, gradients)


def check_finite(build: Callable[[int], Balancer], gradients: Float[Tensor, "tasks width"]) -> None:
    """Finite for gradients and losses of all scales, and where all of them are zero."""
    for scale in SCALES:
        answer = answer_of(build(TASKS), gradients * scale)
        assert bool(torch.isfinite(answer).all()), f"not finite at scale {scale}: {answer.tolist()}"


def check_permutation(build: Callable[[int], Balancer], gradients: Float[Tensor, "tasks width"]) -> None:
    """Tasks in another order give the same answer in that order."""
    order = torch.tensor([2, 0, 3, 1])
    balancer = build(TASKS)
    before, after = answer_of(balancer, gradients), answer_of(build(TASKS), gradients[order])
    expected = before if isinstance(balancer, Aggregator) else before[order]
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-7, msg=_said("the order of the tasks matters"))


def check_missing_task(build: Callable[[int], Balancer], gradients: Float[Tensor, "tasks width"]) -> None:
    """A task that is absent changes nothing: the others get what they would get alone."""
    present = torch.tensor([True, False, True, True])
    among, alone = answer_of(build(TASKS), gradients, present), answer_of(build(TASKS - 1), gradients[present])
    torch.testing.assert_close(among, alone, rtol=1e-4, atol=1e-7, msg=_said("an absent task takes part"))


def check_absent_gradient(build: Callable[[int], Balancer], gradients: Float[Tensor, "tasks width"]) -> None:
    """The gradient and the loss of an absent task, NaN here, are never read."""
    present = torch.tensor([True, False, True, True])
    poisoned = gradients.clone()
    poisoned[1] = torch.nan
    found, expected = answer_of(build(TASKS), poisoned, present), answer_of(build(TASKS), gradients, present)
    torch.testing.assert_close(found, expected, msg=_said("the loss of an absent task is read"))


def check_one_task(balancer: Balancer, gradients: Float[Tensor, "one width"]) -> None:
    """With one task a weighting gives a positive weight and an aggregator points along the gradient."""
    answer = answer_of(balancer, gradients)
    if isinstance(balancer, Weighting):
        assert answer.item() > 0, f"one task has the weight {answer.tolist()}"
    if isinstance(balancer, Aggregator):
        cosine = torch.cosine_similarity(answer, gradients[0], dim=0).item()
        assert cosine > 0.9999, f"one task: the direction is off the gradient, cosine {cosine}"


def check_state_round_trip(build: Callable[[int], Balancer], gradients: Float[Tensor, "tasks width"]) -> None:
    """A copy that loads the state of step 3 answers as the original from there on, for three steps."""
    balancer, copy = build(TASKS), build(TASKS)
    present = torch.ones(TASKS, dtype=torch.bool)

    def go(one: Balancer, number: int) -> Tensor:
        scaled = gradients * (1.0 + 0.1 * number)
        answer = answer_of(one, scaled, number=number)
        step = step_of(scaled, present, number)
        one.after_step(step, lambda: step_of(0.9 * scaled, present, number).losses)
        one.learn(step, lambda weights: scaled @ (weights.to(scaled) @ scaled))
        return answer

    for number in range(3):
        go(balancer, number)
    copy.load_state_dict(balancer.state_dict())
    for number in range(3, 6):
        assert torch.equal(go(balancer, number), go(copy, number)), "a copy of the state answers differently"


def answer_of(
    balancer: Balancer,
    gradients: Float[Tensor, "tasks width"],
    present: Bool[Tensor, "tasks"] | None = None,
    *,
    number: int = 0,
) -> Float[Tensor, "answer"]:
    """The weights of a scalarizer or weighting, or the direction of an aggregator.

    Args:
        balancer: Whose answer.
        gradients: One per task. The losses are their norms.
        present: Which tasks are; default: all.
        number: Of the step; every second one begins an epoch.
    """
    present = torch.ones(len(gradients), dtype=torch.bool) if present is None else present
    step = step_of(gradients, present, number)
    if isinstance(balancer, Scalarizer):
        losses = step.losses[present].requires_grad_()
        total = balancer(losses, step)
        assert total.dim() == 0, f"a scalarizer returns one number, found shape {tuple(total.shape)}"
        return torch.autograd.grad(total, losses)[0]
    rows = gradients[present]
    if isinstance(balancer, Weighting):
        weights: Tensor = balancer(rows @ rows.T, step)
        assert weights.shape == (len(rows),), f"expected one weight per present task, found {tuple(weights.shape)}"
        return weights
    direction: Tensor = balancer(rows, step)
    assert direction.shape == rows.shape[1:], f"expected a direction, found shape {tuple(direction.shape)}"
    return direction


def step_of(gradients: Float[Tensor, "tasks width"], present: Bool[Tensor, "tasks"], number: int = 0) -> Step:
    """A step whose losses are the norms of the gradients; what task metrics it reports are one half."""
    losses = gradients.norm(dim=1).detach()
    return Step(number, number // 2, present, losses, kpis=torch.full_like(losses, 0.5))


def _said(what: str) -> Callable[[str], str]:
    """A message in front of the one that `torch.testing` gives."""
    return lambda details: f"{what}: {details}"
