"""Scores: what a model is worth, per task and inside each task's sample space."""

from polytask.evaluation.bundle import bundle_gates, evaluate, evaluate_bundle
from polytask.evaluation.gates import GateReport, UnitReport, report_gates
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
]
