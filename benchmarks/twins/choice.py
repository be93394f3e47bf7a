"""Which twin an architecture has."""

from __future__ import annotations

from torch import nn

from benchmarks.twins.factorised import FactorisedLoop, PulledLoop
from benchmarks.twins.gated import Loop
from benchmarks.twins.hierarchy import HierarchyLoop
from benchmarks.twins.parts import no_twin
from benchmarks.twins.personal import PersonalMixtureLoop, PersonalTowersLoop
from benchmarks.twins.routed import RoutedLoop
from benchmarks.twins.stem import StemLoop
from benchmarks.twins.stitched import StitchedLoop
from polytask.sharing.gated import Gated
from polytask.sharing.home import Hierarchy
from polytask.sharing.penalties.attached import Penalised
from polytask.sharing.pepnet import PersonalTowers
from polytask.sharing.poso import PersonalMixture
from polytask.sharing.representation import Sharing
from polytask.sharing.snr import Routed
from polytask.sharing.stem import Stem
from polytask.sharing.stitch import Stitched
from polytask.sharing.tensor_factorisation import TensorFactorisation


def twin(sharing: Sharing) -> nn.Module:
    """The same architecture with the same weights, as module lists; it returns ``[T, B, H]`` and the penalty.

    Raises:
        TypeError: If there is none.
    """
    match sharing:
        case Gated():
            return Loop(sharing)
        case Stitched():
            return StitchedLoop(sharing)
        case Routed():
            return RoutedLoop(sharing)
        case PersonalMixture():
            return PersonalMixtureLoop(sharing)
        case PersonalTowers():
            return PersonalTowersLoop(sharing)
        case Hierarchy():
            return HierarchyLoop(sharing)
        case Stem():
            return StemLoop(sharing)
        case TensorFactorisation():
            return FactorisedLoop(sharing)
        case Penalised():
            return PulledLoop(sharing)
    raise no_twin(type(sharing).__name__)
