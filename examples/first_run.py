"""A table in memory to a trained model, its scores beside single-task networks, and predictions.

python examples/first_run.py
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

import polytask


def make_log(rows: int, seed: int = 0) -> dict[str, npt.NDArray[np.generic]]:
    """Visits to a shop: one in three buys, buyers spend, and the basket is known for buyers only."""
    rng = np.random.default_rng(seed)
    age, city = rng.integers(18, 80, rows), rng.choice(["Bonn", "Oslo", "Rome", "Vigo"], rows)
    minutes = rng.exponential(6.0, rows)
    taste = (age - 45) / 20 + (city == "Oslo") + np.log1p(minutes) - 1.5 + rng.normal(size=rows)
    buys = taste > 0.8
    spends = np.where(buys, np.exp(0.5 * taste + 0.3 * rng.normal(size=rows)), np.nan)
    basket = np.where(buys, rng.poisson(1 + np.clip(taste, 0, 4)), 0)
    return {
        "age": age,
        "city": city,
        "minutes": minutes,
        "buys": buys.astype(np.int64),
        "spends": spends,
        "basket": basket,
    }


def main() -> None:
    """Trains, prints scores, predicts."""
    parser = argparse.ArgumentParser(description="Train on a made-up shop and print scores.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    run = polytask.fit(
        make_log(arguments.rows),
        tasks={
            "buys": "binary",
            # NaN means "not observed": the mean is learned from buyers only
            "spends": {"kind": "regression", "label": "spends", "scaling": "log1p"},
            "basket": {"kind": "count", "label": "basket", "where": "buys == 1"},
        },
        sharing={"use": "cgc", "experts": 2, "shared_experts": 2, "widths": [32, 16]},
        balancer="uncertainty",
        train={"epochs": arguments.epochs, "batch_size": 256, "baselines": True},
    )
    for task, scores in run.scores["test"].items():
        print(task, {name: round(value, 4) for name, value in scores.items()})
    print(run.predict({"age": [25, 70], "city": ["Rome", "Oslo"], "minutes": [2.0, 11.5]}).to_pylist())


if __name__ == "__main__":
    main()
