"""The example with a picture: its front is one, and it draws."""

import runpy
import sys
from pathlib import Path

import torch

EXAMPLE = Path(__file__).parents[2] / "examples/pareto_toy.py"


def test_no_point_of_the_plane_dominates_the_front():
    toy = runpy.run_path(str(EXAMPLE))
    known = toy["losses"](toy["front"](50))
    axis = torch.linspace(-11, 11, 221, dtype=torch.float64)
    plane = toy["losses"](torch.cartesian_prod(axis, axis))
    assert not (plane[None] < known[:, None] - 5e-3).all(2).any()
    assert (known.diff(dim=0)[:, 0] < 0).all()
    assert (known.diff(dim=0)[:, 1] > 0).all()


def test_it_draws(tmp_path, monkeypatch):
    picture = tmp_path / "toy.png"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "-o", str(picture), "--steps", "2"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert picture.read_bytes().startswith(b"\x89PNG")
