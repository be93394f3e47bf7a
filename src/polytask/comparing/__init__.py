"""Should these tasks share a model? Architectures, balancers and seeds against models of single tasks."""

from polytask.comparing.result import Comparison
from polytask.comparing.run import compare

__all__ = ["compare", "Comparison"]
