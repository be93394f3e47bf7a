"""Sharing architectures: from one input to one representation per task. Names in `__all__` can stand in a config."""

from polytask.sharing.adatt import adatt
from polytask.sharing.asymmetric import asymmetric
from polytask.sharing.cgc import cgc
from polytask.sharing.cross_stitch import cross_stitch
from polytask.sharing.customized import customized
from polytask.sharing.home import home
from polytask.sharing.l2_constrained import l2_constrained
from polytask.sharing.masked import masked
from polytask.sharing.ml_mmoe import ml_mmoe
from polytask.sharing.mmoe import mmoe
from polytask.sharing.omoe import omoe
from polytask.sharing.pepnet import pepnet
from polytask.sharing.ple import ple
from polytask.sharing.poso import poso
from polytask.sharing.shared_bottom import shared_bottom
from polytask.sharing.single_task import single_task
from polytask.sharing.sluice import sluice
from polytask.sharing.snr import snr
from polytask.sharing.stem import stem
from polytask.sharing.tensor_factorisation import tensor_factorisation

__all__ = [
    # one level
    "single_task",
    "shared_bottom",
    "asymmetric",
    "customized",
    "omoe",
    "mmoe",
    "cgc",
    "masked",
    # several levels
    "cross_stitch",
    "sluice",
    "ml_mmoe",
    "ple",
    "adatt",
    "snr",
    "home",
    "stem",
    # gates of a person or a group
    "poso",
    "pepnet",
    # shared or similar parameters
    "tensor_factorisation",
    "l2_constrained",
]
