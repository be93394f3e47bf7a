"""The paper's figures 2 to 5, drawn from the results."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from polytask.errors import MissingExtraError
from polytask.files import whole_file
from polytask.reproduce.network import MODELS, ModelName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = npt.NDArray[np.float64]
COLOURS: Mapping[ModelName, str] = {"mmoe": "#2b5d8c", "omoe": "#4f9a6b", "shared-bottom": "#c8762d"}
LABELS: Mapping[ModelName, str] = {"mmoe": "MMoE", "omoe": "OMoE", "shared-bottom": "Shared-Bottom"}

TICKS = [digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 3, 5)]
VIEWS: Mapping[str, Callable[[Values], Values]] = {
    "final": lambda losses: losses[:, -1],
    "lowest": lambda losses: losses.min(1),
}


def require_matplotlib() -> None:
    """Raises `MissingExtraError` before work begins that could not be drawn."""
    _matplotlib("matplotlib.figure")


def draw_correlations(file: Path, correlations: Sequence[float], found: Sequence[Values]) -> None:
    """Figure 2: the labels' Pearson correlation against the cosine, with two standard deviations over trials."""
    figure, ((axes,),) = panels_of(1, 1, width=4.6, height=3.6)
    means, spread = [one.mean() for one in found], [2.0 * one.std(ddof=1) for one in found]
    axes.errorbar(correlations, means, yerr=spread, color=COLOURS["mmoe"], marker="o", markersize=4, capsize=3,
                  label=f"mean of {len(found[0])} trials, 2 std")  # fmt: skip
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":", label="linear labels")
    axes.set_xlabel("cosine of the weight vectors, p")
    axes.set_ylabel("Pearson correlation of the labels")
    axes.legend(frameon=False)
    save(figure, file)


def draw_shared_bottom(file: Path, steps: Values, curves: Mapping[float, Values]) -> None:
    """Figure 3: Shared-Bottom's mean loss against steps for every correlation."""
    figure, ((axes,),) = panels_of(1, 1, width=5.0, height=3.6)
    colours = _matplotlib("matplotlib").colormaps["viridis"](np.linspace(0.0, 0.85, len(curves)))
    for colour, (p, losses) in zip(colours, sorted(curves.items()), strict=True):
        _curve(axes, steps, losses, color=colour, label=f"p = {p:g}")
    axes.set_ylabel(f"test loss, mean of {_runs(curves)} runs")
    axes.set_xlabel("step")
    axes.legend(frameon=False)
    save(figure, file)


def draw_comparison(file: Path, steps: Values, curves: Mapping[tuple[ModelName, float], Values]) -> None:
    """Figure 4: mean loss of the three models against steps, a panel per correlation."""
    correlations = _correlations(curves)
    figure, (panels,) = panels_of(1, len(correlations), width=3.4 * len(correlations), height=3.4, share_y=True)
    for axes, p in zip(panels, correlations, strict=True):
        for model in MODELS:
            _curve(axes, steps, curves[model, p], color=COLOURS[model], label=LABELS[model])
        axes.set_title("identical tasks, p = 1" if p == 1 else f"p = {p:g}", fontsize=10)
        axes.set_xlabel("step")
    panels[0].set_ylabel(f"test loss, mean of {_runs(curves)} runs")
    panels[-1].legend(frameon=False)
    save(figure, file)


def draw_distributions(file: Path, curves: Mapping[tuple[ModelName, float], Values]) -> None:
    """Figure 5: the losses of the runs, at the end and at the lowest point of each, a column per correlation."""
    correlations = _correlations(curves)
    figure, panels = panels_of(2, len(correlations), width=3.4 * len(correlations), height=5.2, share_y=True)
    shown = np.concatenate([view(losses) for view in VIEWS.values() for losses in curves.values()])
    shown = shown[np.isfinite(shown)]  # what diverged is counted in the results
    edges: list[float] = np.geomspace(0.85 * shown.min(), 1.05 * np.quantile(shown, 0.995), 46).tolist()
    for row, (name, view) in zip(panels, VIEWS.items(), strict=True):
        for axes, p in zip(row, correlations, strict=True):
            for model in MODELS:
                values = np.clip(view(curves[model, p]), edges[0], edges[-1])  # the last bin holds all above it
                axes.hist(values, edges, histtype="stepfilled", color=COLOURS[model], alpha=0.35)
                axes.hist(values, edges, histtype="step", color=COLOURS[model], label=LABELS[model])
            axes.set_xscale("log")
            axes.set_xlabel(f"{name} test loss, p = {p:g}")
            ticks = [tick for tick in TICKS if edges[0] <= tick <= edges[-1]]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        row[0].set_ylabel(f"runs of {_runs(curves)}")
    panels[0][-1].legend(frameon=False)
    figure.supxlabel("the last bin holds all runs above it", fontsize=8)
    save(figure, file)


def _curve(axes: Axes, steps: Values, losses: Values, *, color: Any, label: str) -> None:
    """The mean over runs, with its 95 % interval as a band."""
    mean, error = losses.mean(0), 1.96 * losses.std(0, ddof=1) / np.sqrt(len(losses))
    axes.plot(steps, mean, color=color, label=label)
    axes.fill_between(steps, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
    axes.set_yscale("log")


def _runs(curves: Mapping[Any, Values]) -> int:
    return len(next(iter(curves.values())))


def _correlations(curves: Mapping[tuple[ModelName, float], Values]) -> list[float]:
    return sorted({p for _, p in curves})


def panels_of(
    rows: int, columns: int, *, width: float, height: float, share_y: bool = False
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of ``rows`` times ``columns`` panels, sizes in inches."""
    figure = _matplotlib("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey="row" if share_y else False)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, panels.tolist()


def save(figure: Figure, file: Path) -> None:
    """Writes a PNG, whole or not at all."""
    # a figure without a window of its own is drawn by Agg
    with whole_file(file) as partial:
        figure.savefig(partial, dpi=150, format="png")


def _matplotlib(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="drawing the figures") from error
