"""From a trained bundle to predictions; imports nothing of the training code."""

from polytask.serving.bundle import Bundle, load_bundle
from polytask.serving.inputs import model_inputs
from polytask.serving.prediction import PredictSummary, predict, predict_to

__all__ = ["Bundle", "PredictSummary", "load_bundle", "model_inputs", "predict", "predict_to"]
