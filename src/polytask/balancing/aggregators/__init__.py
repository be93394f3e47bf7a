"""Balancers that look at the elements of gradients, or keep them."""

from polytask.balancing.aggregators.db_mtl import db_mtl
from polytask.balancing.aggregators.excess_mtl import excess_mtl
from polytask.balancing.aggregators.graddrop import graddrop
from polytask.balancing.aggregators.mean import mean
from polytask.balancing.aggregators.moco import moco
from polytask.balancing.aggregators.trimmed_mean import trimmed_mean

__all__ = ["mean", "trimmed_mean", "graddrop", "excess_mtl", "moco", "db_mtl"]
