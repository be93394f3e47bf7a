"""What a bundle does with a model's predictions: calibration, thresholds, a fused score. Plain numbers and numpy."""

from polytask.decisions.calibration import Calibration, Isotonic, Platt, Temperature
from polytask.decisions.decisions import Calibrated, Decisions, label_column
from polytask.decisions.fusion import SCORE, Fusion, Scale
from polytask.decisions.threshold import Threshold
from polytask.decisions.words import in_words

__all__ = [
    "Decisions",
    "Calibrated",
    "Calibration",
    "Isotonic",
    "Platt",
    "Temperature",
    "Threshold",
    "Fusion",
    "Scale",
    "label_column",
    "in_words",
    "SCORE",
]
