"""Linear models for many tasks, each with its own rows, under the classical regularisers; numpy is all they need.

from polytask.linear import MeanRegularized, select

chosen = select(MeanRegularized(), {"penalty": [100.0, 10.0, 1.0, 0.1]}, X, y, tasks)
chosen.model.predict(X_new, tasks_new)
"""

from polytask.linear.clustered import Clustered
from polytask.linear.dirty import Dirty
from polytask.linear.estimator import LinearModel, NotConvergedWarning
from polytask.linear.graph_regularized import GraphRegularized
from polytask.linear.independent import Independent
from polytask.linear.joint_features import JointFeatures
from polytask.linear.lasso import Lasso
from polytask.linear.mean_regularized import MeanRegularized
from polytask.linear.pooled import Pooled
from polytask.linear.robust_features import RobustFeatures
from polytask.linear.robust_low_rank import RobustLowRank
from polytask.linear.selection import Selection, path, select
from polytask.linear.sparse_low_rank import SparseLowRank
from polytask.linear.trace_norm import TraceNorm

__all__ = [
    # baselines: nothing shared, everything shared
    "Independent",
    "Pooled",
    # few features
    "Lasso",
    "JointFeatures",
    "Dirty",
    "RobustFeatures",
    # few directions
    "TraceNorm",
    "RobustLowRank",
    "SparseLowRank",
    # close to one another
    "MeanRegularized",
    "GraphRegularized",
    "Clustered",
    # choice of penalties
    "path",
    "select",
    "Selection",
    # to write your own
    "LinearModel",
    "NotConvergedWarning",
]
