"""Balancers that look at inner products of gradients."""

from polytask.balancing.weightings.aligned_mtl import aligned_mtl
from polytask.balancing.weightings.cagrad import cagrad
from polytask.balancing.weightings.config import config
from polytask.balancing.weightings.dualproj import dualproj
from polytask.balancing.weightings.epo import epo
from polytask.balancing.weightings.fairgrad import fairgrad
from polytask.balancing.weightings.gradnorm import gradnorm
from polytask.balancing.weightings.gradvac import gradvac
from polytask.balancing.weightings.imtl_g import imtl_g
from polytask.balancing.weightings.mgda import mgda
from polytask.balancing.weightings.nash_mtl import nash_mtl
from polytask.balancing.weightings.ntkmtl import ntkmtl
from polytask.balancing.weightings.pcgrad import pcgrad
from polytask.balancing.weightings.sdmgrad import sdmgrad
from polytask.balancing.weightings.upgrad import upgrad

__all__ = [
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
    "ntkmtl",
    "epo",
]
