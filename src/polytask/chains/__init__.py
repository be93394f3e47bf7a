"""Task chains: what can only happen after something else. ``__all__`` lists what ``[chain] use = "..."`` may name."""

from polytask.chains.aitm import aitm
from polytask.chains.chain import Chain as Chain
from polytask.chains.chain import chain_of as chain_of
from polytask.chains.chain import joint_name as joint_name
from polytask.chains.dbmtl import dbmtl
from polytask.chains.escm2 import escm2
from polytask.chains.esmm import esmm
from polytask.chains.labels import joint_labels as joint_labels
from polytask.chains.labels import with_joints as with_joints
from polytask.chains.method import ChainMethod as ChainMethod
from polytask.chains.plain import plain

__all__ = ["plain", "esmm", "escm2", "aitm", "dbmtl"]
