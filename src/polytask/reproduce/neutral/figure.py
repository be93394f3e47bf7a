"""The figures: mean ranks with their critical difference, and per data set gain and cost of every method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polytask.reproduce.figures import panels_of, save
from polytask.reproduce.neutral.experiment import EQUAL, SINGLE, STATIC, DataSet
from polytask.reproduce.neutral.measured import Row
from polytask.reproduce.neutral.ranks import Ranking, cliques

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {STATIC: "tuned static weights", EQUAL: "equal weights", SINGLE: "single-task networks"}
MARKED = {STATIC: "#c8762d", EQUAL: "#4f9a6b", SINGLE: "#555555"}
PLAIN = "#2b5d8c"
CUT = 4.0  # interquartile ranges below the median: what lies further down is written, not drawn


def draw_ranks(file: Path, ranking: Ranking) -> None:
    """Critical-difference diagram of Demsar 2006, figure 1: methods joined by a bar are not shown to differ."""
    ordered = sorted(ranking.mean.items(), key=lambda item: item[1])
    bars = cliques([value for _, value in ordered], ranking.difference)
    half = (len(ordered) + 1) // 2
    top = 0.6 * len(bars) + 1.2
    figure, ((axes,),) = panels_of(1, 1, width=9.6, height=1.4 + 0.2 * (half + top))
    low, high = 1, len(ordered)
    for place, (name, value) in enumerate(ordered):
        left = place < half
        depth = top + (place if left else len(ordered) - 1 - place)
        edge = low - 0.03 * high if left else high + 0.03 * high
        colour = MARKED.get(name, PLAIN)
        axes.plot([value, value, edge], [0, depth, depth], color=colour, linewidth=0.8, zorder=1)
        axes.text(edge, depth, f" {TITLES.get(name, name)}  {value:.1f} ", color=colour, fontsize=8, va="center",
                  ha="right" if left else "left", weight="bold" if name in MARKED else "normal")  # fmt: skip
    for place, (first, last) in enumerate(bars):
        y = 0.9 + 0.6 * place
        axes.plot([ordered[first][1] - 0.05, ordered[last][1] + 0.05], [y, y], color="black", linewidth=2.2, zorder=2)
    length = min(ranking.difference, float(high - low))
    axes.plot([low, low + length], [-2.2, -2.2], color="black", linewidth=1.2, marker="|")
    axes.text(low + length / 2, -2.5, f"critical difference {ranking.difference:.1f}", fontsize=8, ha="center",
              va="bottom")  # fmt: skip
    axes.plot([low, high], [0, 0], color="black", linewidth=0.8)
    ticks = list(range(low, high + 1, 1 if high <= 12 else 5)) if high <= 12 else [1, *range(5, high + 1, 5)]
    for tick in ticks:
        axes.plot([tick, tick], [0, -0.3], color="black", linewidth=0.8)
        axes.text(tick, -0.5, str(tick), fontsize=8, ha="center", va="bottom")
    axes.set_xlim(low - 0.32 * high, high + 0.32 * high)
    axes.set_ylim(top + half, -4.0)
    axes.set_title(f"mean rank over {len(ranking.ranks)} blocks, lower is better", fontsize=9)
    axes.axis("off")
    save(figure, file)


def draw_data_set(file: Path, data_set: DataSet, table: Sequence[Row]) -> None:
    """Every seed a dot: gain over single-task networks on the left, cost of a step on the right, best method on top."""
    ordered = sorted(table, key=lambda row: -np.inf if np.isnan(row.mean) else row.mean, reverse=True)
    figure, ((gain, cost),) = panels_of(1, 2, width=9.6, height=1.2 + 0.19 * len(ordered), share_y=True)
    means = np.array([row.mean for row in ordered if not np.isnan(row.mean)])
    quarter, middle, upper = np.quantile(means, [0.25, 0.5, 0.75])
    least = float(middle - CUT * max(upper - quarter, 1e-6))
    for place, row in enumerate(ordered):
        _line(gain, place, row, least)
        cost.scatter([row.cost], [place], s=18, color=MARKED.get(row.method, PLAIN))
    static = next(row for row in ordered if row.method == STATIC)
    gain.axvline(0.0, color=MARKED[SINGLE], linewidth=0.8, linestyle="--")
    gain.axvline(static.mean, color=MARKED[STATIC], linewidth=0.8, linestyle="--")
    gain.set_yticks(range(len(ordered)), [TITLES.get(row.method, row.method) for row in ordered], fontsize=8)
    for label, row in zip(gain.get_yticklabels(), ordered, strict=True):
        label.set_color(MARKED.get(row.method, "black"))
    gain.set_ylim(len(ordered) - 0.4, -0.6)
    gain.set_xlabel(f"gain over single-task networks in test {data_set.metric} [%], seeds and mean", fontsize=8)
    cost.set_xscale("log")
    ticks = [
        tick for tick in (0.5, 1, 2, 3, 5, 10, 20, 50, 100) if tick <= 1.1 * np.nanmax([row.cost for row in ordered])
    ]
    cost.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    cost.minorticks_off()
    cost.set_xlabel("time of a step, over that with equal weights", fontsize=8)
    for axes in (gain, cost):
        axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    figure.suptitle(data_set.title, fontsize=10)
    save(figure, file)


def _line(axes: Axes, place: int, row: Row, least: float) -> None:
    colour = MARKED.get(row.method, PLAIN)
    known = row.gain[np.isfinite(row.gain)]
    shown = known[known >= least]
    axes.scatter(shown, [place] * len(shown), s=14, color=colour, alpha=0.45, linewidths=0)
    if row.mean >= least:
        axes.scatter([row.mean], [place], s=70, marker="|", color=colour)
    else:
        text = "diverged" if np.isnan(row.mean) else f"◂ {row.mean:.1f}"
        axes.text(0.01, place, text, color=colour, fontsize=7, va="center", transform=axes.get_yaxis_transform())
