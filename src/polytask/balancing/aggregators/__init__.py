"""Balancers that look at the elements of gradients."""

from polytask.balancing.aggregators.mean import mean

__all__ = ["mean"]
