"""Which trade-off between tasks is shipped? Fronts over preferences on the user's data, and a bundle of the choice."""

from polytask.tradeoffs.api import pareto
from polytask.tradeoffs.result import TradeOff

__all__ = ["pareto", "TradeOff"]
