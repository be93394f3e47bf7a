"""Which settings? A search over a declared space, with the same budget for every method that is compared."""

from polytask.tuning.result import Sweep
from polytask.tuning.run import sweep

__all__ = ["sweep", "Sweep"]
