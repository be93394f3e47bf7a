"""Quality on real data: one model for all tasks beside one network and one LightGBM per task, in one resumable run.

python benchmarks/quality.py --data census-income --seeds 5 --out runs/census --json census.json
python benchmarks/quality.py --data kuairand --seeds 5 --out runs/kuairand --json kuairand.json

What is done stands in the package `benchmarks.quality`; the training settings are the TOML files in its folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.quality.cli import main

if __name__ == "__main__":
    main()
