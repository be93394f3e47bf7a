"""What is wrong, or suspicious, about tables, labels and features, found before any training and told all at once."""

from polytask.data.checks.labels import positive_value
from polytask.data.checks.leaks import Leak, find_leaks
from polytask.data.checks.parts import PARTS, PartName, Parts
from polytask.data.checks.run import CheckSettings, DataReport, check_data
from polytask.data.checks.tally import LabelTally

__all__ = [
    "check_data",
    "CheckSettings",
    "DataReport",
    "LabelTally",
    "positive_value",
    "Leak",
    "find_leaks",
    "Parts",
    "PartName",
    "PARTS",
]
