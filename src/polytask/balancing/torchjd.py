"""Methods of TorchJD in the place of a balancer."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polytask.balancing.chance import generator
from polytask.balancing.interfaces import Aggregator, Weighting
from polytask.errors import MissingExtraError, Problem, UserError
from polytask.types import Step

if TYPE_CHECKING:
    import torchjd.aggregation


class _Method(nn.Module):
    """A module of TorchJD, called once in a step.

    Args:
        module: The aggregator or weighting.
        stateful: It remembers earlier steps, in attributes of its own.
        seed: Of its draws.
    """

    def __init__(self, module: nn.Module, stateful: bool, seed: int) -> None:
        super().__init__()
        # in a tuple, so that half a state, which cannot be loaded again, does not become part of ours
        self._held, self._stateful, self._seed = (module,), stateful, seed
        self._present: Bool[Tensor, "tasks"] | None = None

    def forward(self, statistic: Tensor, step: Step) -> Tensor:
        """What the method makes of a Gramian or a Jacobian."""
        self._check(step)
        try:
            with torch.no_grad(), _drawing(self._seed, step, statistic.device):
                return self._held[0](statistic.detach()).to(statistic)
        except ValueError as error:
            what = f"TorchJD refuses {len(statistic)} tasks in step {step.number}: {error}"
            raise UserError(Problem(self._where, what, "choose options that fit the tasks of every step")) from error

    @property
    def _where(self) -> str:
        return f"balancer '{type(self._held[0]).__name__}'"

    def _check(self, step: Step) -> None:
        if not self._stateful:
            return
        present = step.present.cpu()
        if self._present is not None and not torch.equal(present, self._present):
            what = f"other tasks are present in step {step.number} than before, and it remembers tasks by their place"
            raise UserError(Problem(self._where, what, "let every step have rows of all tasks, or choose another"))
        self._present = present

    def get_extra_state(self) -> Tensor:
        """Whether there is something to remember."""
        return torch.tensor(self._stateful and self._present is not None)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuses what cannot be restored."""
        if bool(state):
            what = "TorchJD has not saved what it remembers, so that it cannot go on where it was"
            raise UserError(Problem(self._where, what, "start the run anew"))


class TorchJDWeighting(Weighting):
    """A weighting of TorchJD that looks at the Gramian.

    Args:
        method: What is called.
    """

    def __init__(self, method: _Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, gramian: Float[Tensor, "present present"], step: Step, /) -> Float[Tensor, "present"]:
        """Its weights."""
        return self.method(gramian, step)


class TorchJDAggregator(Aggregator):
    """An aggregator of TorchJD that looks at the Jacobian.

    Args:
        method: What is called.
    """

    def __init__(self, method: _Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, jacobian: Float[Tensor, "present width"], step: Step, /) -> Float[Tensor, "width"]:
        """Its direction."""
        return self.method(jacobian, step)


def from_torchjd(
    method: torchjd.aggregation.Aggregator | torchjd.aggregation.Weighting[Any], *, seed: int = 0
) -> Weighting | Aggregator:
    """A balancer that does what an aggregator or a weighting of TorchJD does.

    What needs the Gramian alone becomes a `Weighting`, at the price of about one ordinary step at the representation:
    every ``GramianWeightedAggregator`` (MGDA, UPGrad, Krum, ...) and what is declared as ``Weighting[PSDMatrix]``. All
    other aggregators become an `Aggregator`.

    - TorchJD compares gradients at the parameters: ``at="parameters"`` for what it does itself.
    - Only the present tasks arrive. A method with one number per task (preferences, constants) refuses a step in which
      a task is absent, and so does one that remembers earlier steps.
    - Random draws of a step are decided by ``seed`` and the number of the step, and leave torch's own as they are.
    - What a method remembers (NashMTL, GradVac, ExcessMTL, PCD, CRMOGMWeighting) is not part of the ``state_dict``: a
      state from after the first step is refused when it is loaded.

    In a configuration, a file of your own beside it names the method,

        # my_balancers.py
        from polytask.balancing.torchjd import from_torchjd
        from torchjd.aggregation import Krum

        def krum(*, byzantine: int = 1, seed: int = 0):
            return from_torchjd(Krum(byzantine), seed=seed)

    and the command line allows it, ``--allow-code my_balancers``:

        [balancer]
        use = "my_balancers:krum"
        byzantine = 2

    Sum of the weights: see TorchJD; 1 for most, the number of tasks for PCGrad, GradVac and GradDrop.

    Args:
        method: An aggregator, or a weighting of Gramians, of `torchjd.aggregation`.
        seed: Of random draws. The trainer gives a builder that asks for it the seed of the run.

    Raises:
        MissingExtraError: If TorchJD is not installed.
        UserError: If ``method`` is neither; in a step, if the method refuses the tasks that are present.

    Example:
        >>> import torch
        >>> from torchjd.aggregation import Krum
        >>> gramian = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 9.0]])
        >>> balancer = from_torchjd(Krum(n_byzantine=0))
        >>> balancer(gramian, Step(0, 0, torch.ones(3, dtype=torch.bool), torch.ones(3)))
        tensor([1., 0., 0.])
    """
    try:
        from torchjd import Stateful
        from torchjd import aggregation as theirs
    except ImportError as error:
        raise MissingExtraError("torchjd", extra="torchjd", purpose="balancers of TorchJD") from error

    def wrapped(module: nn.Module) -> _Method:
        return _Method(module, any(isinstance(part, Stateful) for part in module.modules()), seed)

    if isinstance(method, theirs.GramianWeightedAggregator):
        return TorchJDWeighting(wrapped(method.gramian_weighting))
    if isinstance(method, theirs.Aggregator):
        return TorchJDAggregator(wrapped(method))
    if isinstance(method, theirs.Weighting) and _takes_gramians(method):
        return TorchJDWeighting(wrapped(method))
    what = f"{type(method).__name__} is no aggregator and no weighting of Gramians"
    raise UserError(Problem("method", what, "give an object of torchjd.aggregation, as UPGrad() or UPGradWeighting()"))


def _takes_gramians(weighting: torchjd.aggregation.Weighting[Any]) -> bool:
    """Whether a weighting is declared as one of Gramians, or hands them on to one that is."""
    from torchjd.aggregation import CRMOGMWeighting, Weighting
    from torchjd.linalg import PSDMatrix

    if isinstance(weighting, CRMOGMWeighting):
        return _takes_gramians(weighting.weighting)
    bases = (base for kind in type(weighting).__mro__ for base in getattr(kind, "__orig_bases__", ()))
    return any((typing.get_origin(base), typing.get_args(base)) == (Weighting, (PSDMatrix,)) for base in bases)


@contextmanager
def _drawing(seed: int, step: Step, device: torch.device) -> Iterator[None]:
    """Torch's own random numbers, as this step has them; afterwards they go on where they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(generator(seed, step).integers(2**63)))
        yield
