"""Run folders, comparisons, fronts, sweeps and affinities as one HTML file; reads files only."""

from polytask.reporting.report import report, write_report

__all__ = ["report", "write_report"]
