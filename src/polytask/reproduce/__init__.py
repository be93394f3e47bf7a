"""Reproductions: published experiments that run from one file, with every setting in it and every claim evaluated."""

from polytask.reproduce.places import find, shipped
from polytask.reproduce.run import Reproduction, reproduce

__all__ = ["reproduce", "Reproduction", "find", "shipped"]
