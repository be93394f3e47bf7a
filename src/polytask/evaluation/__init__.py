"""Scores: what a model is worth, per task and inside each task's sample space."""

from polytask.evaluation.bundle import bundle_gates, evaluate, evaluate_bundle
from polytask.evaluation.curves import Calibration, Gain, calibration_curve, gain_curve
from polytask.evaluation.diagnostics import diagnose
from polytask.evaluation.gates import GateReport, UnitReport, report_gates
from polytask.evaluation.importance import Importance, Importances, permutation_importance
from polytask.evaluation.scores import Scores, score, selection_score

__all__ = [
    "Scores",
    "evaluate",
    "evaluate_bundle",
    "score",
    "selection_score",
    "GateReport",
    "UnitReport",
    "bundle_gates",
    "report_gates",
    "Calibration",
    "Gain",
    "Importance",
    "Importances",
    "calibration_curve",
    "diagnose",
    "gain_curve",
    "permutation_importance",
]
