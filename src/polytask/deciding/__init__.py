"""Fits what a bundle makes of its predictions: calibration, thresholds, one score for ranking."""

from polytask.deciding.bundles import calibrate, fuse
from polytask.deciding.decide import Decided, Rows, decide
from polytask.deciding.trade_off import Point, TradeOff

__all__ = ["calibrate", "fuse", "decide", "Decided", "Rows", "TradeOff", "Point"]
