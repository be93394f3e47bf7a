"""Run folders, comparisons, fronts, sweeps and affinities as one HTML file; reads files only."""

from polytask.reporting.report import write_report

__all__ = ["write_report"]
