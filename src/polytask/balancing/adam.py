"""Adam for one number per task: each counts its own steps, and an absent task's number stays as it is."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class TaskAdam(nn.Module):
    """`torch.optim.Adam` whose memory lies in buffers, so that the state of the balancer is all there is to save.

    Args:
        tasks: How many.
        learning_rate: Of the numbers.
        decay: Added to their gradients, times the numbers.
        dtype: Of what is remembered.
    """

    first: Float[Tensor, "tasks"]
    second: Float[Tensor, "tasks"]
    moves: Float[Tensor, "tasks"]

    def __init__(
        self, tasks: int, learning_rate: float, *, decay: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self._learning_rate, self._decay = learning_rate, decay
        for buffer in ("first", "second", "moves"):
            self.register_buffer(buffer, torch.zeros(tasks, dtype=dtype))

    @torch.no_grad()
    def move(
        self, values: Float[Tensor, "tasks"], gradient: Float[Tensor, "present"], present: Bool[Tensor, "tasks"]
    ) -> None:
        """One step of the present tasks' ``values``, in place.

        Args:
            values: Of all tasks.
            gradient: Of the present tasks.
            present: Which they are.
        """
        gradient = gradient.to(self.first) + self._decay * values[present].to(self.first)
        fast, slow = BETAS
        self.moves[present] += 1
        self.first[present] = fast * self.first[present] + (1 - fast) * gradient
        self.second[present] = slow * self.second[present] + (1 - slow) * gradient**2
        mean = self.first[present] / (1 - fast ** self.moves[present])
        size = (self.second[present] / (1 - slow ** self.moves[present])).sqrt()
        values[present] -= (self._learning_rate * mean / (size + EPSILON)).to(values)
