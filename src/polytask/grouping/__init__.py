"""Which tasks should be trained together: affinities between tasks, and groups that make the most of them."""

from polytask.grouping.result import Grouping
from polytask.grouping.run import group

__all__ = ["group", "Grouping"]
