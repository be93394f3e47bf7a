"""Balancers on any torch model: in the place of ``loss.backward()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.engine import Balancing, Part
from polytask.balancing.found import FoundTasks
from polytask.balancing.interfaces import Again, Balancer, Place
from polytask.balancing.ranks import Group
from polytask.balancing.slopes import slopes
from polytask.balancing.split import SplitTasks
from polytask.errors import Problem, UserError, raise_errors
from polytask.types import Step


def backward(
    losses: Sequence[Tensor] | Float[Tensor, "tasks"],
    balancer: Balancer | Balancing,
    *,
    shared: Tensor | Sequence[Tensor] | None = None,
    rows: Tensor | None = None,
    at: Place | None = None,
    present: Sequence[bool] | Bool[Tensor, "tasks"] | None = None,
    epoch: int = 0,
    kpis: Float[Tensor, "tasks"] | None = None,
    scale: float = 1.0,
    retain_graph: bool = False,
    ranks: Group | None = None,
) -> Float[Tensor, "tasks"]:
    """Adds the balanced gradients of the losses of any model to ``.grad`` of all parameters.

    What tasks share is found from the graph: the first tensors, from the losses down, that two losses read. All above
    is private and receives its own unscaled gradient; what lies below receives ``sum_t w_t g_t``. One backward pass
    goes through every head and one through what is shared, however many tasks there are; with ``at="parameters"`` one
    per task goes through what is shared.

    Give losses as a list, or as `torch.stack` of one. A model that computes all tasks in one tensor ``[tasks, ...]``
    names it as ``rows``.

    Args:
        losses: One scalar per task. A task without rows in this batch: see ``present``.
        balancer: A balancer, or a `Balancing` with more options; state is in the ``state_dict`` of either.
        shared: The tensors at which tasks meet, if not what the graph says; or parameters, to compare gradients there.
        rows: A tensor whose row ``t`` only loss ``t`` reads. All below it is shared.
        at: Where gradients are compared, see `Balancing`.
        present: Which tasks have rows in this step; the losses of others are not read. Default: all.
        epoch: Passes over the data done before; for balancers that work by epochs.
        kpis: Per task a performance indicator in [0, 1]; for balancers that want one.
        scale: Factor of all gradients, as ``scaler.get_scale()`` of a `torch.amp.GradScaler`.
        retain_graph: Whether the graph is needed afterwards.
        ranks: The processes of a data-parallel run; losses are then this process's share of each task's loss.

    Returns:
        The weights that the tasks had, 0 where absent; NaN where an aggregator has none.

    Raises:
        UserError: If a loss or gradient is not finite, or if arguments do not go together.

    Example:
        >>> import torch
        >>> from polytask.balancing import backward, mgda
        >>> trunk, heads = torch.nn.Linear(4, 3), [torch.nn.Linear(3, 1) for _ in range(2)]
        >>> features = trunk(torch.ones(5, 4)).tanh()
        >>> weights = backward([head(features).square().mean() for head in heads], mgda())
        >>> weights.shape, trunk.weight.grad.shape
        (torch.Size([2]), torch.Size([3, 4]))
    """
    if rows is not None and shared is not None:
        raise UserError(Problem("rows and shared", "both are given", "give `rows` for a tensor with one row per task"))
    given = [shared] if isinstance(shared, Tensor) else None if shared is None else list(shared)
    at_leaves = given is not None and all(tensor.is_leaf for tensor in given)
    if at_leaves and at is None:
        at = "parameters"
    tasks = (
        SplitTasks(losses if isinstance(losses, Tensor) else torch.stack(list(losses)), rows, None)
        if rows is not None
        else FoundTasks(losses, None if at_leaves else given)
    )
    known = torch.ones(len(tasks.losses), dtype=torch.bool) if present is None else torch.as_tensor(present).bool()
    if present is None:
        _refuse_nan(tasks.losses)
    engine = balancer
    if not isinstance(engine, Balancing):
        engine = Balancing(engine, len(tasks.losses), at=at, shared=given if at_leaves else None, ranks=ranks)
    counter = engine.balancer
    step = Step(counter.steps, epoch, known.cpu(), engine.total(tasks.losses, known), kpis)
    weights = engine.backward([Part(tasks)], step, scale=scale, retain_graph=retain_graph)
    counter.count(step)
    return weights


def _refuse_nan(losses: Float[Tensor, "tasks"]) -> None:
    """A mean over no rows is NaN, and so is the loss of a training that diverged: which it is must be said."""
    raise_errors(
        Problem(
            f"task {task}",
            "its loss is NaN",
            "say `present=` if it has no rows in this step; else lower the learning rate, and look for extreme inputs",
        )
        for task in losses.isnan().nonzero().flatten().tolist()
    )


def after_step(
    balancer: Balancer | Balancing,
    again: Again,
    *,
    held_out: Callable[[], Sequence[Tensor] | Tensor] | None = None,
    parameters: Iterable[Tensor] = (),
    ranks: Group | None = None,
) -> None:
    """Tells a balancer that the optimizer has moved the parameters; for those that look at the model then.

    Args:
        balancer: After a call of `backward`.
        again: Gives the losses of the same batch anew, without dropout or other chance; only called by balancers that
            need them (FAMO, Auto-Lambda).
        held_out: Gives the losses of rows that the model is not trained on; for balancers that learn (Auto-Lambda).
        parameters: The model's, with ``held_out``.
        ranks: As given to `backward`; losses are this process's share then.

    Raises:
        UserError: If `backward` was not called before, or if the balancer learns and ``held_out`` is not given.

    Example:
        >>> import torch
        >>> from polytask.balancing import after_step, auto_lambda, backward
        >>> model, balancer = torch.nn.Linear(2, 2), auto_lambda(2, primary=[0])
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> losses = lambda x: list(model(x).square().mean(0))
        >>> weights = backward(losses(torch.ones(8, 2)), balancer)
        >>> optimizer.step()
        >>> after_step(
        ...     balancer,
        ...     lambda: torch.stack(losses(torch.ones(8, 2))),
        ...     held_out=lambda: losses(torch.eye(2)),
        ...     parameters=model.parameters(),
        ... )
    """
    engine = balancer if isinstance(balancer, Balancing) else Balancing(balancer, 0, ranks=ranks)
    if (last := engine.balancer.last) is None:
        raise UserError(Problem("after_step", "no backward pass was made before", "call it after `backward`"))
    leaves = [parameter for parameter in parameters if parameter.requires_grad]

    def weighted(weights: Tensor) -> Tensor:
        assert held_out is not None
        losses = held_out()
        stacked = losses if isinstance(losses, Tensor) else torch.stack(list(losses))
        return (weights.to(stacked) * stacked)[weights.to(stacked.device) != 0].sum()

    with torch.no_grad():
        engine.after_step(
            last,
            again,
            None if held_out is None else lambda weights: slopes(weights, weighted, again, leaves, engine.ranks),
        )
