"""Pareto fronts: what can be had of one task at the price of another.

A model for each preference (`sweep`), or one for all of them (`cosmos`, `phn`, `pamal`, `lorpman`).
"""

from polytask.fronts.conditioned import Conditioned as Conditioned
from polytask.fronts.conditioned import FrontStep as FrontStep
from polytask.fronts.conditioned import front_step, trace
from polytask.fronts.cosmos import cosmos
from polytask.fronts.front import Front
from polytask.fronts.lorpman import lorpman
from polytask.fronts.pamal import pamal
from polytask.fronts.phn import phn
from polytask.fronts.preferences import preferences
from polytask.fronts.sweep import sweep
from polytask.fronts.training import fit_by, scalarize

__all__ = [
    "preferences",
    "Front",
    "sweep",
    "fit_by",
    "scalarize",
    "cosmos",
    "phn",
    "pamal",
    "lorpman",
    "front_step",
    "trace",
]
