"""Source of ranking_engineer.ipynb; see build.py."""

# %% [markdown]
# # For ranking engineers: from a log of impressions to one score
#
# A feed shows short videos. A video is clicked, then perhaps viewed for long, then perhaps liked: three labels, each
# sparser than the one before. We train one model for the chain, calibrate it, cut it where a decision is needed, and
# fuse the predictions into one score to sort by, with a floor below which likes may not fall.
#
# Needs `pip install 'polytask[notebooks,plot]' pandas`. The log is simulated; everything is written to a temporary
# folder.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import pandas as pd

import polytask
from polytask.data.simulators import ShortVideo

temporary = TemporaryDirectory()
folder = Path(temporary.name)

simulator = ShortVideo(rows=40_000, users=150, videos=300, signal=1.8, like_rate=0.2, seed=1)
log = pd.concat(batch.to_pandas() for batch in simulator.batches(20_000))
log["like"] = (log["like"] == 1) & (log["long_view"] == 1)  # here a like counts after a long view only
log = log.drop(columns=["share", "follow"])

day = log["time"].dt.day
parts = {"train": log[day <= 10], "validation": log[(day > 10) & (day <= 12)], "test": log[day > 12]}
for name, part in parts.items():
    part.to_parquet(folder / f"{name}.parquet", index=False)
pd.DataFrame({name: part[["click", "long_view", "like"]].mean() for name, part in parts.items()}).round(3)

# %% [markdown]
# ## The configuration
#
# `after` says what happens after what. With `esmm` a like is learnt from all impressions, through
# `P(click) P(long view given click) P(like given long view)`, so that videos nobody clicked are scored without bias.
# `group` asks for GAUC: AUC within each user's own impressions, which is what sorting a feed needs. Calibration and the
# threshold are fitted on the validation days. The play time is dropped: it is known only after the click. Where such a
# column is forgotten, `polytask check` warns that it gives a label away.

# %%
(folder / "feed.toml").write_text("""
[data]
source = "train.parquet"
validation = "validation.parquet"
test = "test.parquet"
keys = ["impression_id"]
drop = ["time", "play_time_s"]

[features.recent_videos]
kind = "sequence"
vocabulary = "video"

[features.video_id]
vocabulary = "video"

[tasks.click]
kind = "binary"
label = "click"
group = "user_id"
calibrate = "platt"

[tasks.long_view]
kind = "binary"
label = "long_view"
after = "click"
group = "user_id"
calibrate = "platt"
threshold = { precision = 0.7 }

[tasks.like]
kind = "binary"
label = "like"
after = "long_view"
group = "user_id"

[chain]
use = "esmm"

[sharing]
use = "mmoe"
experts = 4
widths = [64, 32]

[train]
epochs = 3
batch_size = 512
threads = 1
""")
run = polytask.train(folder / "feed.toml", folder / "run", verbose=False)
scores = pd.DataFrame(run.scores["test"]).T
scores[["rows", "auc", "gauc", "log_loss", "pcoc", "ece"]].round(3)

# %% [markdown]
# `long_view` and `like` are conditional: measured on what was clicked, and on what was viewed for long. The `_joint`
# rows are about all impressions.
#
# ## Calibration and thresholds

# %%
decided = run.bundle.decisions
before = {task: fitted.before for task, fitted in decided.calibration.items()}
after = {task: fitted.after for task, fitted in decided.calibration.items()}
print({name: round(threshold.value, 3) for name, threshold in decided.thresholds.items()})
pd.concat({"before": pd.DataFrame(before), "after": pd.DataFrame(after)}).round(4)

# %% [markdown]
# Platt scaling fits two numbers per prediction. `after` is cross-fitted: each fifth of the rows is calibrated by the
# others. The model was nearly calibrated before. The threshold is the lowest one from which seven of ten predicted long
# views are real.
#
# ## One score
#
# People should spend time, but not without liking what they see. `fuse` searches for the weights of
# `click^a * long_view_joint^b * like_joint^c` that put the longest play times first, among those under which GAUC of
# likes is at least 0.78.

# %%
fused, trade_off = polytask.fuse(
    run.bundle,
    folder / "validation.parquet",
    value="play_time_s",
    group="user_id",
    floors={"like_joint": 0.78},
)
figure, axes = plt.subplots(figsize=(6, 3.6))
quality = [point.quality["like_joint"] for point in trade_off.points]
objective = [point.objective for point in trade_off.points]
axes.scatter(quality, objective, s=12, color="lightgrey", label="a weighting")
for name, point in trade_off.alone.items():
    place = (point.quality["like_joint"], point.objective)
    axes.annotate(f"{name} alone", place, xytext=(0, -10), textcoords="offset points", fontsize=8, ha="center")
axes.scatter(quality[trade_off.chosen], objective[trade_off.chosen], s=60, color="#c8762d", label="chosen")
axes.axvline(0.78, color="#2b5d8c", linewidth=1, label="floor")
axes.set(xlabel="GAUC of likes", ylabel="NDCG at 10 of play time")
axes.legend(loc="upper left", fontsize=8)
axes.margins(x=0.15)
{name: round(weight, 3) for name, weight in fused.decisions.fusion.weights.items()}

# %% [markdown]
# Does it hold on days that chose nothing?

# %%
ranked = polytask.evaluate(fused, folder / "test.parquet")["score"]
{name: round(value, 4) for name, value in ranked.items()}

# %% [markdown]
# ## Serving
#
# The bundle is a folder that can be copied. It reads raw rows and passes keys through; labels are not needed. It says
# everything that was decided: calibrated probabilities, labels, and the score to sort by.

# %%
bundle = polytask.load(fused.save(folder / "bundle"))
requests = parts["test"].drop(columns=["click", "long_view", "like", "play_time_s"])
predictions = bundle.predict(requests, keys=["impression_id", "user_id"]).to_pandas()
someone = predictions[predictions["user_id"] == predictions["user_id"].mode()[0]]
someone.nlargest(5, "score").drop(columns="user_id").round(3)

# %%
temporary.cleanup()
