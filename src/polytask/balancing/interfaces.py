"""The three kinds of balancers. A kind is named by the statistic that it looks at, which is also what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.types import Step

Place = Literal["representation", "last_layer", "parameters"]
"""Where gradients are compared: at the cut, at the last shared layer, or at all shared parameters."""

Again = Callable[[], Float[Tensor, "tasks"]]
"""The losses of the same rows under the parameters as they are now, all tasks, detached: one forward pass a call."""

Slopes = Callable[[Float[Tensor, "tasks"]], Float[Tensor, "tasks"]]
"""``slopes(p)[t] = <grad L_t, grad sum_s p_s H_s>``, with L the losses of the step's rows and H those of held-out rows,
both under the parameters as they are now: what a small step down the gradient of L_t takes off ``sum_s p_s H_s``."""


class _Kind(nn.Module):
    """What the three kinds have in common.

    Attributes:
        steps: Calls of the stand-alone `backward` so far; part of the state.
        last: The step of the last such call; not part of it.
        learns: `learn` wants rows that the model is not trained on.
    """

    last: Step | None = None
    steps: int = 0
    learns: bool = False

    def count(self, step: Step) -> None:
        """Notes that a step was made."""
        self.last, self.steps = step, self.steps + 1

    def get_extra_state(self) -> Tensor:
        """The number of steps."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the number of steps."""
        self.steps = int(state)

    def after_step(self, step: Step, again: Again) -> None:
        """Called when the parameters have moved. ``again()`` costs a forward pass; do not call it without need."""

    def learn(self, step: Step, slopes: Slopes) -> None:
        """Called then as well, if it `learns`. ``slopes(p)`` costs a backward pass and two forward passes."""


class Scalarizer(_Kind, ABC):
    """From the losses to one number: costs nothing. Weighs the whole loss, heads included.

    Only the tasks that are present take part: ``losses[i]`` belongs to the i-th task of ``step.present``; state per
    task is read as ``state[step.present]``. State lives in buffers, what is learnt in parameters.
    """

    @abstractmethod
    def forward(self, losses: Float[Tensor, "present"], step: Step, /) -> Float[Tensor, ""]:
        """The loss to minimise."""


class Weighting(_Kind, ABC):
    """From the inner products of the tasks' gradients to one weight per task: costs about one ordinary step.

    Only what is shared is weighted; what is private to a task receives its own gradient as it is. Only the tasks that
    are present take part, as with `Scalarizer`.

    Attributes:
        place: Where gradients are compared unless the user says otherwise.
        whole_loss: The weights apply to the whole loss, heads included; costs a second pass through the heads.
    """

    place: Place = "representation"
    whole_loss: bool = False

    @abstractmethod
    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights."""


class Aggregator(_Kind, ABC):
    """From the tasks' gradients at the shared parameters to one direction: costs one backward pass per task.

    For methods that look at single elements of gradients or keep them; everything else is a `Weighting`.

    Attributes:
        keeps_history: The columns of the Jacobian must mean the same in every step. Embedding tables with sparse
            gradients are then left out of it (which rows are touched differs from step to step) and receive
            ``sum_t row_weights(step)[t] g_t`` instead.
    """

    keeps_history: bool = False

    @abstractmethod
    def forward(self, jacobian: Float[Tensor, "present width"], step: Step, /) -> Float[Tensor, "width"]:
        """The direction, used in the place of the gradient."""

    def row_weights(self, step: Step, /) -> Float[Tensor, "present"]:
        """With ``keeps_history``, after `forward`: the weights of the tasks where no history is kept."""
        raise NotImplementedError(f"{type(self).__name__} keeps a history and names no weights for sparse gradients")


Balancer = Scalarizer | Weighting | Aggregator
