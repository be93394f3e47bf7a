"""GradNorm: gradient normalisation (Chen et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polytask.balancing.adam import TaskAdam
from polytask.balancing.interfaces import Place, Weighting
from polytask.balancing.scalarizers.options import limits, per_task
from polytask.balancing.scalarizers.positive import refuse_negative
from polytask.errors import Problem, UserError, suggest
from polytask.types import Step

Form = Literal["paper", "softmax"]

LEAST = 1e-4
"""Weights are kept from this on: a step of Adam can take a small one below 0."""


class GradNorm(Weighting):
    """Learns weights with which all tasks train at similar rates.

    Args:
        initial: ``L_t(0)``, NaN where it is to be the first loss.
        alpha: Strength of the pull towards a common rate.
        learning_rate: Of the weights.
        form: What is learnt: the weights, or logits of them.
        heads: Whether the weights apply to the whole loss.
        names: Of all tasks, for messages.
    """

    place: Place = "last_layer"

    weights: Float[Tensor, "tasks"]
    initial: Float[Tensor, "tasks"]

    def __init__(
        self,
        initial: Float[Tensor, "tasks"],
        alpha: float,
        learning_rate: float,
        form: Form,
        heads: bool,
        names: Sequence[str],
    ) -> None:
        super().__init__()
        self._alpha, self._form, self._names = alpha, form, tuple(names)
        self.whole_loss = heads
        # in double precision: the squares of gradients that Adam remembers can be very large
        initial = initial.to(torch.float64)
        self.register_buffer("initial", initial)
        self.register_buffer("weights", torch.ones_like(initial) if form == "paper" else torch.zeros_like(initial))
        self.adam = TaskAdam(len(initial), learning_rate, dtype=torch.float64)

    @torch.no_grad()
    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """The weights as they are; then they take their own step."""
        present = step.present.to(self.weights.device)
        losses = step.losses.detach()[step.present.to(step.losses.device)]
        refuse_negative(losses, step, self._names, "gradnorm")
        losses = losses.to(self.weights)
        unknown = self.initial[present].isnan()
        self.initial[present] = torch.where(unknown, losses, self.initial[present])
        weights = self._weights(present)
        norms = gramian.detach().diagonal().to(self.weights).clamp_min(0.0).sqrt()
        self._learn(weights, norms, losses / self.initial[present], present)
        return weights.to(gramian.device, gramian.dtype)

    def _weights(self, present: Bool[Tensor, "tasks"]) -> Float[Tensor, "present"]:
        """Their sum is the number of tasks."""
        held = self.weights[present]
        return len(held) * (held / held.sum() if self._form == "paper" else torch.softmax(held, 0))

    def _learn(
        self,
        weights: Float[Tensor, "present"],
        norms: Float[Tensor, "present"],
        left: Float[Tensor, "present"],
        present: Bool[Tensor, "tasks"],
    ) -> None:
        """One step along the slopes of ``sum_t |G_t - target_t|``, the targets constant."""
        # 0 / 0 where the first loss was 0: neither fast nor slow
        left = torch.where(left.isfinite(), left, 1.0)
        rates = left / left.mean() if bool(left.any()) else torch.ones_like(left)
        lengths = weights * norms
        slopes = norms * torch.sign(lengths - lengths.mean() * rates**self._alpha)
        if self._form == "softmax":
            slopes = weights * (slopes - (weights * slopes).mean())
        self.adam.move(self.weights, slopes, present)
        if self._form == "paper":
            held = self.weights[present].clamp_min(LEAST)
            self.weights[present] = len(held) * held / held.sum()


def gradnorm(
    tasks: int,
    names: Sequence[str] = (),
    *,
    alpha: float = 1.5,
    learning_rate: float = 0.025,
    initial: Mapping[str, float] | Sequence[float] | None = None,
    form: Form = "paper",
    heads: bool = True,
) -> Weighting:
    """GradNorm: learns weights with which gradients are of like lengths, longer for tasks that train slowly.

    ``L = sum_t w_t L_t``; beside each step of the model w takes a step of Adam down

        sum_t |G_t - mean(G) r_t^alpha|,   G_t = w_t norm(g_t),   r_t = (L_t / L_t(0)) / mean_s (L_s / L_s(0))

    in which ``mean(G) r_t^alpha`` is a constant, and is brought back to the sum T.

    - ``g_t``: gradient of the loss ``L_t`` of task t at the last layer that is shared.
    - ``L_t(0)``: loss of task t in the first step in which it was present, or as given. For losses that start at an
      unlucky value the paper takes that of a guess: ``log C`` for a cross-entropy of C classes.
    - ``r_t``: inverse training rate: above 1 where more of the loss is left than elsewhere. ``alpha``: 0 makes all
      gradients of one length.
    - A step is made with the weights from before their own step. ``T``: number of tasks that are present; the weights
      of the others, and what Adam remembers of them, stay.

    Paper: Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks", ICML
    2018, https://arxiv.org/abs/1711.02257 (algorithm 1); alpha of its NYUv2 runs. There is no code by the authors, and
    ports disagree. LibMTL learns logits (``form="softmax"``, ``w = T softmax``), with the optimizer of the model,
    compares at all shared parameters (``at="parameters"``), starts in epoch 1 with the mean losses of epoch 0 as
    ``L_t(0)``, and leaves heads unweighted (``heads=False``). The paper says nothing of weights that would turn
    negative; here they end at 1e-4. Losses must not be negative.

    Sum of the weights: the number of tasks that are present.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order; the trainer gives them. Needed for a mapping.
        alpha: Strength of the pull towards a common rate, from 0.
        learning_rate: Of the weights.
        initial: ``L_t(0)``, one number above 0 per task, by name or in order. Default: the first losses.
        form: What is learnt: the weights (``paper``), or their logits (``softmax``).
        heads: Whether weights apply to the whole loss, as in the paper, or only to what is shared.

    Raises:
        UserError: If an option is unknown or out of range; in a step, if a loss is negative.

    Example:
        >>> balancer, gramian = gradnorm(2), torch.tensor([[1.0, 0.0], [0.0, 16.0]])
        >>> step = Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2))
        >>> balancer(gramian, step), balancer(gramian, step)  # the second gradient is the longer one
        (tensor([1., 1.]), tensor([1.0250, 0.9750]))
    """
    problems = limits("alpha", alpha, least=0.0) + limits("learning_rate", learning_rate, above=0.0)
    given, more = ([torch.nan] * tasks, []) if initial is None else per_task("initial", initial, names, above=0.0)
    problems += more
    if not names and len(given) != tasks:
        problems.append(Problem("initial", f"{len(given)} given for {tasks} tasks", "give one for each task"))
    if form not in get_args(Form):
        problems.append(Problem("form", f"'{form}' is unknown", suggest(form, get_args(Form))))
    if problems:
        raise UserError(problems)
    return GradNorm(torch.tensor(given), alpha, learning_rate, form, heads, names)
