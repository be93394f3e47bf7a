"""Encoders: from what a batch carries to one vector per row."""

from polytask.encoders.table import table

__all__ = ["table"]
