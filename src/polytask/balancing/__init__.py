"""Balancers: how the gradients of many losses become one step. Every name in `__all__` can stand in a config.

`backward`, `after_step`, `Balancing` and `sum_gradients` use them on any torch model.
"""

from polytask.balancing.aggregators import db_mtl, excess_mtl, graddrop, mean, moco, trimmed_mean
from polytask.balancing.engine import Balancing as Balancing
from polytask.balancing.ranks import Group as Group
from polytask.balancing.ranks import sum_gradients as sum_gradients
from polytask.balancing.scalarizers import (
    annealed,
    auto_lambda,
    constant,
    dtp,
    dwa,
    equal,
    famo,
    geometric_mean,
    go4align,
    imtl_l,
    random_weights,
    scale_invariant,
    smooth_tchebycheff,
    tchebycheff,
    uncertainty,
)
from polytask.balancing.standalone import after_step as after_step
from polytask.balancing.standalone import backward as backward
from polytask.balancing.weightings import (
    aligned_mtl,
    cagrad,
    config,
    dualproj,
    epo,
    fairgrad,
    gradnorm,
    gradvac,
    imtl_g,
    mgda,
    nash_mtl,
    ntkmtl,
    pcgrad,
    sdmgrad,
    upgrad,
)

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
    "mgda",
    "pcgrad",
    "gradvac",
    "cagrad",
    "imtl_g",
    "nash_mtl",
    "fairgrad",
    "aligned_mtl",
    "upgrad",
    "dualproj",
    "config",
    "sdmgrad",
    "gradnorm",
    "epo",
    "ntkmtl",
    "mean",
    "trimmed_mean",
    "graddrop",
    "excess_mtl",
    "moco",
    "db_mtl",
]
