"""Draws how balancers move on a problem with two tasks, from five starting points, and the known front.

    python examples/pareto_toy.py -o pareto_toy.png

The problem is that of Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, with the
starting points and the scale of Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022: two losses over a
plane, with a valley in which their gradients conflict, and one of them ten times as large as the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from polytask.balancing import backward, cagrad, epo, equal, imtl_g, mgda, nash_mtl, pcgrad, upgrad
from polytask.balancing.interfaces import Balancer, Scalarizer

SCALE = torch.tensor([0.1, 1.0], dtype=torch.float64)
LOWEST = -20.0
STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
COLOURS = ("#2b5d8c", "#c8762d", "#4f9a6b", "#8c4a78", "#b04a4a")

BALANCERS: Mapping[str, Callable[[], Balancer]] = {
    "equal": equal,
    "mgda": mgda,
    "pcgrad": pcgrad,
    "cagrad": cagrad,
    "imtl_g": imtl_g,
    "nash_mtl": nash_mtl,
    "upgrad": upgrad,
    "epo": lambda: epo(2, preferences=[10.0, 1.0], ideal=(LOWEST * SCALE).tolist()),
}


def losses(x: Tensor) -> Tensor:
    """Both losses at ``x [..., 2]``, stacked in the last dimension, before scaling."""
    first, second = x[..., 0], x[..., 1]
    upper, lower = (0.5 * second).tanh().clamp_min(0.0), (-0.5 * second).tanh().clamp_min(0.0)
    slope = (-second).tanh()
    wells = torch.stack([0.5 * (-first - 7.0) - slope, 0.5 * (-first + 3.0) + slope + 2.0], -1)
    wells = wells.abs().clamp_min(5e-6).log() + 6.0
    bowls = torch.stack([(7.0 - first).square(), (7.0 + first).square()], -1)
    bowls = (bowls + 0.1 * (second + 8.0).square().unsqueeze(-1)) / 10.0 + LOWEST
    return wells * upper.unsqueeze(-1) + bowls * lower.unsqueeze(-1)


def front(count: int = 200) -> Tensor:
    """Points of the Pareto set: between the lowest points of both bowls."""
    first = torch.linspace(-7.0, 7.0, count, dtype=torch.float64)
    return torch.stack([first, torch.full_like(first, -8.3552)], -1)


def path(balancer: Balancer, start: tuple[float, float], steps: int) -> Tensor:
    """The points that Adam visits with a balancer."""
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer, visited = torch.optim.Adam([x], lr=40.0 / steps), []
    at = None if isinstance(balancer, Scalarizer) else "parameters"
    for _ in range(steps):
        visited.append(x.detach().clone())
        optimizer.zero_grad()
        backward(list((SCALE * losses(x)).unbind()), balancer, at=at)
        optimizer.step()
    return torch.stack(visited)


def draw(axes: Axes, name: str, paths: list[Tensor], known: Tensor) -> None:
    """One balancer in the space of the losses: from pale to dark as time goes on, from a ring to a star."""
    axes.plot(*known.T, color="0.25", linewidth=5, alpha=0.25, solid_capstyle="round", zorder=1, label="Pareto front")
    if name == "epo":
        ray = torch.tensor([[0.0, 0.0], [2.9, 29.0]], dtype=torch.float64) + LOWEST * SCALE
        axes.plot(*ray.T, color="0.4", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, label="preference")
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    for colour, visited in zip(COLOURS, paths, strict=True):
        points = (SCALE * losses(visited)).numpy()
        lines = LineCollection(list(np.stack([points[:-1], points[1:]], 1)), colors=colour, linewidths=1.3, zorder=2)
        lines.set_alpha(np.linspace(0.45, 1.0, len(points) - 1))
        axes.add_collection(lines)
        axes.plot(*points[0], "o", markersize=6, markerfacecolor="white", markeredgecolor=colour, zorder=3)
        axes.plot(*points[-1], "*", markersize=11, color=colour, markeredgecolor="white", markeredgewidth=0.6, zorder=4)
    axes.set_title(name, fontsize=11, fontfamily="monospace")
    axes.set_xlim(-2.12, 1.12)
    axes.set_ylim(-21.2, 11.2)


def main() -> None:
    """Reads the arguments, runs all balancers and draws."""
    parser = argparse.ArgumentParser(description="Draw how balancers move on a problem with a known Pareto front.")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="PNG")
    parser.add_argument("--steps", type=int, default=1000, help="of Adam; the step length follows (default 1000)")
    arguments = parser.parse_args()
    mpl.use("agg")
    figure, panels = plt.subplots(2, 4, figsize=(12, 6.2), sharex=True, sharey=True, layout="constrained")
    known = SCALE * losses(front())
    for axes, (name, build) in zip(panels.flat, BALANCERS.items(), strict=True):
        draw(axes, name, [path(build(), start, arguments.steps) for start in STARTS], known)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.grid(color="0.92", linewidth=0.7)
        axes.set_axisbelow(True)
    panels[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.supxlabel("loss 1", fontsize=10)
    figure.supylabel("loss 2", fontsize=10)
    figure.savefig(arguments.out, dpi=150)


if __name__ == "__main__":
    main()
