"""Source of data_scientist.ipynb; see build.py."""

# %% [markdown]
# # For data scientists: one table, three questions
#
# A table of customers, with columns of every type. We want to know who will leave, how content people are, and what
# they will spend. Satisfaction is known only for those who answered a survey. Can one model answer all three, and is it
# better than three models?
#
# Needs `pip install 'polytask[notebooks,plot,baselines]' pandas`. Data are made here; everything is written to a
# temporary folder.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import polytask

temporary = TemporaryDirectory()
folder = Path(temporary.name)

rng = np.random.default_rng(0)
rows = 6_000
age = rng.normal(45, 14, rows).clip(18, 90).round()
plan = rng.choice(["basic", "family", "pro"], rows, p=[0.5, 0.3, 0.2])
city = rng.choice(["Bonn", "Oslo", "Rome", "Vigo", "Lund", "Graz"], rows)
joined = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1_800, rows), unit="D")
income = rng.lognormal(10.3, 0.6, rows)
calls = rng.poisson(1.5 + (plan == "basic"), rows)
delay = rng.exponential(2.0, rows)

# what nobody can see: how well this customer is served
served = 1.1 * np.cos(delay) - 0.5 * calls + 0.8 * (plan == "pro") * (age > 40) + 0.5 * (city == "Oslo")
served = (served - served.mean()) / served.std()
leaves = served + 0.7 * rng.logistic(size=rows) < -1.0
stars = np.digitize(served + 0.6 * rng.normal(size=rows), [-1.4, -0.6, 0.3, 1.2]) + 1
spends = np.exp(3 + 0.5 * served + 0.3 * np.log(income / 30_000) + 0.3 * rng.normal(size=rows))

customers = pd.DataFrame(
    {
        "customer": np.arange(rows) + 10_000,
        "age": np.where(rng.random(rows) < 0.1, np.nan, age),  # some did not say
        "plan": plan,
        "city": city,
        "joined": joined,
        "income": income.round(-2),
        "calls": calls,
        "delay_days": delay.round(2),
        "leaves": np.where(leaves, "yes", "no"),
        "stars": pd.array(np.where(rng.random(rows) < 0.15, stars, -1), dtype="Int64"),
        "spends": spends.round(2),
    }
)
customers["stars"] = customers["stars"].where(customers["stars"] > 0)  # 85 % never answered
customers.head()

# %% [markdown]
# Columns need no preparation: numbers are scaled, categories and dates embedded, gaps are gaps. A missing label means
# "not observed": that row does not teach this task, and it is not measured there. `fit` takes the DataFrame as well; a
# file has the advantage that the run's configuration can be trained again, as below.

# %%
customers.to_parquet(folder / "customers.parquet")
run = polytask.fit(
    folder / "customers.parquet",
    tasks={
        "leaves": {"kind": "binary", "label": "leaves", "classes": ["no", "yes"]},
        "stars": {"kind": "ordinal", "label": "stars", "classes": [1, 2, 3, 4, 5]},
        "spends": {"kind": "regression", "label": "spends", "scaling": "log1p"},
    },
    keys="customer",
    sharing={"use": "mmoe", "experts": 4, "widths": [32, 16]},
    split={"by": "random", "validation": 0.1, "test": 0.4},
    train={"epochs": 8, "batch_size": 256, "learning_rate": 0.003, "threads": 1, "seeds": 3, "baselines": True},
    out=folder / "run",
    verbose=False,
)
measures = {"leaves": "auc", "stars": "quadratic_kappa", "spends": "r2"}
pd.DataFrame(run.scores["test"]).loc[list(measures.values())].round(3)

# %% [markdown]
# `baselines` also trained one network per task, with the same rows and the same seeds. Three seeds show what is noise.

# %%
seeds = pd.DataFrame(
    [
        {
            "task": task,
            "metric": metric,
            "alone": alone["test"][task][metric],
            "together": together["test"][task][metric],
        }
        for task, metric in measures.items()
        for together, alone in zip(run.seeds, run.baselines[task], strict=True)
    ]
)
seeds["gain"] = seeds["together"] - seeds["alone"]

figure, axes = plt.subplots(figsize=(6, 2.2))
axes.axvline(0, color="grey", linewidth=1)
axes.scatter(seeds["gain"], seeds["task"], color="#2b5d8c", zorder=2)
axes.invert_yaxis()
axes.set_xlabel("gain of one model over one network per task, test rows, a dot per seed")
seeds.groupby(["task", "metric"], sort=False)[["alone", "together", "gain"]].agg(["mean", "std"]).round(3)

# %% [markdown]
# The survey answers gain most: one customer in seven answered, and the model knows the others through their spending.
#
# ## What is inside
#
# `diagnostics` looks into the model on test rows. Importance: by which share a task's loss rises when a column is
# shuffled. Calibration: of those who get 30 %, do 30 % leave?

# %%
found = run.diagnostics["tasks"]
importance = pd.DataFrame({task: {c: v["rise"] for c, v in found[task]["importance"].items()} for task in found})

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
left.imshow(importance.clip(lower=0), cmap="Blues", aspect="auto", vmax=1)
left.set_xticks(range(len(importance.columns)), importance.columns)
left.set_yticks(range(len(importance)), importance.index)
for (row, column), value in np.ndenumerate(importance.to_numpy()):
    left.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
left.set_title("rise of the loss when shuffled")
curve = found["leaves"]["calibration"]
right.plot([0, 1], [0, 1], color="grey", linewidth=1)
right.plot(curve["predicted"], curve["observed"], marker="o", markersize=4, color="#2b5d8c")
right.set(title="leaves: predicted and observed", xlabel="predicted", ylabel="observed")
figure.tight_layout()

# %% [markdown]
# ## Which model?
#
# `compare` trains architectures and baselines with the same seeds, LightGBM among them, and says in words what the
# numbers show. Two seeds are few, and it says that too.

# %%
comparison = polytask.compare(
    folder / "run" / "config.toml",
    sharing=["mmoe", {"use": "shared_bottom", "widths": [32, 16]}],
    seeds=2,
    out=folder / "comparison",
    verbose=False,
)
leaderboard = comparison.leaderboard.to_pandas()
leaderboard[["method", "delta", "delta_low", "delta_high", "rank"]].round(3)

# %%
print(*comparison.sentences[:3], sep="\n")  # what follows is about costs

# %% [markdown]
# ## The report, and using the model
#
# One HTML file with all of it: curves, gates, conflicts, data. Open it in a browser, or mail it.

# %%
report = polytask.report([folder / "run", folder / "comparison"], folder / "report.html")
print(report.name, "has", round(report.stat().st_size / 1e6, 1), "MB")

# %%
model = polytask.load(run.save(folder / "model"))
model.predict(customers.tail(3), keys=["customer"]).to_pandas().round(3)

# %%
temporary.cleanup()
