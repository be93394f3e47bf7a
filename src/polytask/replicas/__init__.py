"""Replicas: many copies of one model, each with its own parameters and data, trained as one vectorised program."""

from polytask.replicas.stacked import Program, Replicas
from polytask.replicas.training import Curves, Plan, Rows, batches, train

__all__ = ["Program", "Replicas", "Plan", "Rows", "Curves", "batches", "train"]
