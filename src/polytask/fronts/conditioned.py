"""One model for a whole front: what such models have in common, their training step, and the fronts that they reach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.errors import Problem, UserError
from polytask.fronts.front import Better, Front
from polytask.fronts.preferences import dirichlet
from polytask.options import in_range

Losses = Callable[[Callable[..., Any]], Sequence[Tensor] | Float[Tensor, "tasks"]]
"""From a network, or what can be called like one, to the losses of all tasks on the batch at hand."""


class Conditioned(nn.Module, ABC):
    """A model that takes a preference beside its inputs: ``model(preference, *inputs)``.

    Args:
        tasks: T.
        concentration: Preferences are drawn from ``Dirichlet(concentration, ...)``.
        window: How many are drawn in each step.

    Raises:
        UserError: If a number is out of range.
    """

    def __init__(self, tasks: int, *, concentration: float = 1.0, window: int = 1) -> None:
        super().__init__()
        problems = in_range(tasks, where="tasks", least=2) + in_range(window, where="window", least=1)
        problems += in_range(concentration, where="concentration", above=0)
        if problems:
            raise UserError(problems)
        self.tasks, self.concentration, self.window = tasks, concentration, window

    @abstractmethod
    def forward(self, preference: Float[Tensor, "tasks"], /, *inputs: Any) -> Any:
        """What the network gives for these inputs under a preference, from 0 and adding up to 1."""

    @abstractmethod
    def network(self, preference: Float[Tensor, "tasks"], /) -> nn.Module:
        """A module of its own that does what the model does under this preference; see `at`."""

    def at(self, preference: Sequence[float] | Float[Tensor, "tasks"]) -> nn.Module:
        """The network for one preference: a plain module, independent of this one, to save, export or train on.

        Args:
            preference: One number from 0 per task; divided by their sum.

        Raises:
            UserError: If it is no preference.
        """
        ray = torch.as_tensor(preference, dtype=torch.float64).detach().cpu()
        if ray.shape != (self.tasks,) or not bool(ray.isfinite().all() & (ray >= 0).all() & (ray.sum() > 0)):
            what = f"{ray.tolist()} given for {self.tasks} tasks"
            raise UserError(Problem("preference", what, "give one number from 0 for each task, not all 0"))
        with torch.no_grad():
            return self.network(ray / ray.sum()).train(self.training)

    def draw(self, generator: torch.Generator | None = None) -> Float[Tensor, "window tasks"]:
        """Preferences for a step.

        Args:
            generator: Of the processor; None: torch's own.
        """
        return dirichlet(self.concentration, self.tasks, self.window, generator=generator)

    def objective(
        self, losses: Float[Tensor, "window tasks"], preferences: Float[Tensor, "window tasks"]
    ) -> Float[Tensor, ""]:
        """What is minimised: the sum of ``sum_t p_t L_t`` over the preferences of a step."""
        return (preferences * losses).sum()

    def backward(self, losses: Float[Tensor, "window tasks"], preferences: Float[Tensor, "window tasks"]) -> None:
        """Adds the gradients of a step to ``.grad``."""
        self.objective(losses, preferences).backward()  # type: ignore[no-untyped-call]

    def advance(self, progress: float) -> None:
        """Called before every step with the share of training that is done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class FrontStep:
    """What happened in a step.

    Attributes:
        preferences: That were drawn.
        losses: Under each of them.
    """

    preferences: Float[Tensor, "window tasks"]
    losses: Float[Tensor, "window tasks"]


def front_step(
    model: Conditioned,
    losses: Losses,
    *,
    preferences: Float[Tensor, "window tasks"] | None = None,
    progress: float = 0.0,
    generator: torch.Generator | None = None,
) -> FrontStep:
    """One training step: draws preferences, and adds the gradients of the model's objective to ``.grad``.

    Args:
        model: A `cosmos`, `phn`, `pamal` or `lorpman`.
        losses: Is called once for each preference, with the model held at it: ``losses(network)`` calls
            ``network(x)`` and gives one loss per task, as a list or a tensor.
        preferences: In the place of those that the model draws; rows add up to 1.
        progress: Share of training that is done, from 0 to 1; `lorpman` asks for it.
        generator: Of what is drawn, on the processor; None: torch's own.

    Raises:
        UserError: If there is not one finite loss per task, or ``progress`` is out of range.

    Example:
        >>> from polytask.fronts import pamal
        >>> model = pamal([torch.nn.Linear(3, 1) for _ in range(2)])
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> x, targets = torch.ones(8, 3), (0.0, 1.0)
        >>> step = front_step(model, lambda network: [(network(x) - y).square().mean() for y in targets])
        >>> optimizer.step()
        >>> step.losses.shape, model.at([0.3, 0.7])
        (torch.Size([4, 2]), Linear(in_features=3, out_features=1, bias=True))
    """
    problems = in_range(progress, where="progress", least=0, most=1)
    if problems:
        raise UserError(problems)
    model.advance(progress)
    rays = model.draw(generator) if preferences is None else preferences
    rows = [_stacked(losses(partial(model, ray)), model.tasks) for ray in rays]
    found = torch.stack(rows)
    rays = rays.to(found)
    if not bool(found.isfinite().all()):
        what = f"{found.detach().tolist()} under the preferences {rays.tolist()}"
        raise UserError(Problem("losses", what, "lower the learning rate, or look for extreme labels and inputs"))
    model.backward(found, rays)
    return FrontStep(rays, found.detach())


def _stacked(losses: Sequence[Tensor] | Float[Tensor, "tasks"], tasks: int) -> Float[Tensor, "tasks"]:
    row = losses if isinstance(losses, Tensor) else torch.stack(list(losses))
    if row.shape != (tasks,):
        what = f"shape {tuple(row.shape)} for {tasks} tasks"
        raise UserError(Problem("losses", what, "give one number for each task"))
    return row


def trace(
    model: Conditioned,
    evaluate: Callable[[nn.Module], Sequence[float] | Float[Tensor, "tasks"]],
    preferences: Sequence[Sequence[float]] | Float[Tensor, "points tasks"],
    *,
    names: Sequence[str] = (),
    better: Better | Sequence[Better] = "smaller",
    label: str = "",
) -> Front:
    """The front that a conditioned model reaches.

    Args:
        model: A `cosmos`, `phn`, `pamal` or `lorpman`.
        evaluate: Gives one value per task of a network, which is in evaluation mode; gradients are off.
        preferences: As [`preferences`][polytask.fronts.preferences.preferences] makes them.
        names: Of the tasks.
        better: Per task whether ``smaller`` or ``greater`` values are better; one word for all.
        label: Of all points.

    Raises:
        UserError: If ``evaluate`` does not give one finite number per task, or a preference is none.
    """
    asked = torch.as_tensor(preferences, dtype=torch.float64)
    values = []
    with torch.no_grad():
        for preference in asked:
            found = evaluate(model.at(preference).eval())
            values.append(found.tolist() if isinstance(found, Tensor) else [float(value) for value in found])
    return Front(asked, values, names=names, better=better, labels=label)
