"""Balancers that look at losses only."""

from polytask.balancing.scalarizers.annealed import annealed
from polytask.balancing.scalarizers.auto_lambda import auto_lambda
from polytask.balancing.scalarizers.constant import constant
from polytask.balancing.scalarizers.dtp import dtp
from polytask.balancing.scalarizers.dwa import dwa
from polytask.balancing.scalarizers.equal import equal
from polytask.balancing.scalarizers.famo import famo
from polytask.balancing.scalarizers.geometric_mean import geometric_mean
from polytask.balancing.scalarizers.go4align import go4align
from polytask.balancing.scalarizers.imtl_l import imtl_l
from polytask.balancing.scalarizers.random_weights import random_weights
from polytask.balancing.scalarizers.scale_invariant import scale_invariant
from polytask.balancing.scalarizers.smooth_tchebycheff import smooth_tchebycheff
from polytask.balancing.scalarizers.tchebycheff import tchebycheff
from polytask.balancing.scalarizers.uncertainty import uncertainty

__all__ = [
    "equal",
    "constant",
    "annealed",
    "random_weights",
    "scale_invariant",
    "geometric_mean",
    "uncertainty",
    "imtl_l",
    "dwa",
    "dtp",
    "tchebycheff",
    "smooth_tchebycheff",
    "go4align",
    "famo",
    "auto_lambda",
]
