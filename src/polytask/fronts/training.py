"""A plain training loop for one preference: what a sweep calls, where nothing else is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from polytask.balancing import after_step, backward, constant, epo, smooth_tchebycheff, tchebycheff
from polytask.balancing.interfaces import Balancer, Place
from polytask.errors import Problem, UserError, suggest
from polytask.fronts.sweep import Fit
from polytask.options import in_range

Model = TypeVar("Model", bound=nn.Module)
Method = Literal["linear", "tchebycheff", "smooth_tchebycheff", "epo"]


def scalarize(
    method: Method,
    preference: Sequence[float] | Float[Tensor, "tasks"],
    *,
    ideal: Sequence[float] | None = None,
    mu: float = 0.1,
    tolerance: float = 1e-4,
) -> Balancer:
    """A balancer for a preference.

    - ``linear``: ``sum_t p_t L_t``; reaches the convex part of a front.
    - ``tchebycheff``: ``max_t p_t (L_t - z_t)``; reaches all of it.
    - ``smooth_tchebycheff``: the same, smooth.
    - ``epo``: a search for the point with ``p_s L_s = p_t L_t``.

    For the last three a preference is a ray: a task with twice the preference is to have half the loss. For the first
    it is a price.

    Args:
        method: See above.
        preference: One per task; from 0, for the last two above 0.
        ideal: ``z_t``, but for ``linear``. Default: 0.
        mu: Smoothness, of ``smooth_tchebycheff``.
        tolerance: Of ``epo``.

    Raises:
        UserError: If the method is unknown or a number is out of range.

    Example:
        >>> scalarize("linear", [0.25, 0.75]).weights
        tensor([0.2500, 0.7500])
    """
    given = [float(one) for one in preference]
    if method == "linear":
        return constant(given)
    if method == "tchebycheff":
        return tchebycheff(len(given), preferences=given, ideal=ideal)
    if method == "smooth_tchebycheff":
        return smooth_tchebycheff(len(given), mu=mu, preferences=given, ideal=ideal)
    if method == "epo":
        return epo(len(given), preferences=given, ideal=ideal, tolerance=tolerance)
    raise UserError(Problem("method", f"'{method}' is unknown", suggest(method, get_args(Method))))


def _adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return Adam(parameters, 1e-3)


def fit_by(
    balancer: Callable[[Float[Tensor, "tasks"]], Balancer],
    *,
    build: Callable[[], Model],
    losses: Callable[[Model, int], Sequence[Tensor] | Float[Tensor, "tasks"]],
    steps: int,
    evaluate: Callable[[Model], Sequence[float] | Float[Tensor, "tasks"]] | None = None,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = _adam,
    at: Place | None = None,
) -> Fit:
    """A ``fit`` for [`sweep`][polytask.fronts.sweep.sweep]: builds a model, trains it, evaluates it.

    Args:
        balancer: Makes one of a preference, for example ``lambda p: scalarize("epo", p)``.
        build: Makes a model. The seed of the point is torch's own while it is built and trained.
        losses: Of a model in a step, whose number says which batch to take: a list of one per task, or a
            `torch.stack` of it.
        steps: How many.
        evaluate: The values of a trained model, in evaluation mode and without gradients. Default: ``losses`` of
            step 0.
        optimizer: Of the parameters. Default: Adam with a learning rate of 0.001.
        at: Where gradients are compared, of a balancer of gradients; see `polytask.balancing.Balancing`.

    Raises:
        UserError: If ``steps`` is no number from 1; in training, if the balancer learns from held-out rows.

    Example:
        >>> from polytask.fronts import sweep
        >>> targets = [0.0, 1.0]
        >>> fit = fit_by(
        ...     lambda p: scalarize("linear", p),
        ...     build=lambda: torch.nn.Linear(1, 1, bias=False),
        ...     losses=lambda model, number: [(model(torch.ones(1)) - target).square().sum() for target in targets],
        ...     steps=200,
        ...     optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1),
        ... )
        >>> sweep(fit, [[0.5, 0.5], [0.1, 0.9]]).values.round(decimals=4).tolist()
        [[0.25, 0.25], [0.81, 0.01]]
    """
    problems = in_range(steps, where="steps", least=1)
    if problems:
        raise UserError(problems)

    def fit(preference: Float[Tensor, "tasks"], seed: int, /) -> Sequence[float] | Float[Tensor, "tasks"]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model, method = build(), balancer(preference)
            moved = optimizer([*model.parameters(), *method.parameters()])

            def row(number: int) -> Float[Tensor, "tasks"]:
                found = losses(model, number)
                return found if isinstance(found, Tensor) else torch.stack(list(found))

            for number in range(steps):
                moved.zero_grad()
                backward(losses(model, number), method, at=at)
                moved.step()
                after_step(method, partial(row, number))
            model.eval()
            with torch.no_grad():
                return row(0) if evaluate is None else evaluate(model)

    return fit
