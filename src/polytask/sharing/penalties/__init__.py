"""Soft sharing: penalties on what the tasks own. A name in `__all__` can stand in ``[penalty]`` of a config."""

from polytask.sharing.penalties.joint_features import joint_features
from polytask.sharing.penalties.l2_distance import l2_distance
from polytask.sharing.penalties.mean_constrained import mean_constrained
from polytask.sharing.penalties.trace_norm import trace_norm

__all__ = ["l2_distance", "mean_constrained", "joint_features", "trace_norm"]
