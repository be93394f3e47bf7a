"""Measurements: ratios of rates, memory and scores, taken side by side in one run."""
