"""GradDrop: gradient sign dropout (Chen et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polytask.balancing.chance import generator
from polytask.balancing.interfaces import Aggregator
from polytask.balancing.scalarizers.options import per_task
from polytask.errors import Problem, UserError
from polytask.options import in_range
from polytask.types import Step


class GradDrop(Aggregator):
    """One sign is drawn for each shared parameter; gradients of the other sign are dropped there.

    Args:
        leak: Per task, the part of its gradient that is never dropped.
        seed: Of the draws.
    """

    leak: Float[Tensor, "tasks"]

    def __init__(self, leak: Float[Tensor, "tasks"], seed: int) -> None:
        super().__init__()
        self.register_buffer("leak", leak, persistent=False)
        self._seed = seed

    def forward(self, jacobian: Float[Tensor, "present width"], step: Step, /) -> Float[Tensor, "width"]:
        """The sum of what is left."""
        total, size = jacobian.sum(0), jacobian.abs().sum(0)
        purity = 0.5 * (1.0 + total / torch.where(size > 0, size, 1.0))
        positive = purity > self._draws(jacobian, step)
        left = torch.where(positive, jacobian.clamp_min(0.0), jacobian.clamp_max(0.0))
        leak = self.leak[step.present.to(self.leak.device)].to(jacobian).unsqueeze(1)
        return torch.lerp(left, jacobian, leak).sum(0)

    def _draws(self, jacobian: Float[Tensor, "present width"], step: Step) -> Float[Tensor, "width"]:
        """One number in [0, 1) for each column, drawn where the Jacobian is."""
        chance = torch.Generator(jacobian.device).manual_seed(int(generator(self._seed, step).integers(2**63)))
        return torch.rand(jacobian.shape[1], generator=chance, device=jacobian.device)


def graddrop(
    tasks: int,
    names: Sequence[str] = (),
    *,
    leak: float | Mapping[str, float] | Sequence[float] = 0.0,
    seed: int = 0,
) -> Aggregator:
    """GradDrop: at every shared parameter one sign is drawn, and only gradients of this sign count.

    Element by element, with U uniform in [0, 1) and the same for all tasks,

        P = (1 + sum_t g_t / sum_t |g_t|) / 2
        d = sum_t (l_t + (1 - l_t) M_t) g_t,   M_t = [P > U][g_t > 0] + [P <= U][g_t < 0]

    - ``g_t``: gradient of task t. ``P``: sign purity; 1 where all gradients are positive, 0 where all are negative.
    - ``M_t``: which elements of g_t are kept. ``l_t``: leak; a task with 1 is never dropped.

    Without leaks no element of d goes against the sign that was drawn. Where all tasks agree nothing is dropped. With
    one leak for all, the expectation of d is ``sum_t g_t``: GradDrop is `equal` with noise where tasks disagree, and
    joint minima of all losses are its only points of rest.

    Paper: Chen et al., "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout", NeurIPS 2020,
    https://arxiv.org/abs/2010.06808 (algorithm 1, with f the identity). The paper, and LibMTL, put it as a layer behind
    the last shared activations, draw one U for each of these and all rows of a batch, and multiply gradients by the
    signs of the activations before; then P is of the bias behind each activation. Here, as in TorchJD, it works at the
    shared parameters. There is no code by the authors. In embedding tables with sparse gradients, the rows that a batch
    touches take part.

    Sum of the weights: the number of tasks that are present, in expectation and with one leak for all.

    Args:
        tasks: Number of tasks; the trainer gives it.
        names: Names of all tasks in their order; the trainer gives them. Needed for a mapping.
        leak: From 0 to 1: one number for all tasks, or one per task, by name or in order.
        seed: Decides the draws, together with the number of the step and the device: a resumed run draws as an unbroken
            one. The trainer gives the seed of the run.

    Raises:
        UserError: If a leak is out of range, or missing for a task.

    Example:
        >>> jacobian = torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
        >>> graddrop(2)(jacobian, Step(0, 0, torch.ones(2, dtype=torch.bool), torch.ones(2)))
        tensor([6., 2., 2.])
    """
    if isinstance(leak, int | float):
        given, problems = [float(leak)] * tasks, in_range(leak, where="leak", least=0, most=1)
    else:
        given, problems = per_task("leak", leak, names)
        problems += [Problem("leak", f"{one} given", "choose numbers from 0 to 1") for one in given if one > 1.0]
    if not names and len(given) != tasks:
        problems.append(Problem("leak", f"{len(given)} given for {tasks} tasks", "give one for each task"))
    if problems:
        raise UserError(problems)
    return GradDrop(torch.tensor(given), seed)
