"""The benchmark of one step at a tiny size, and its module lists against the architectures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import polytask.sharing
from polytask import sharing
from polytask.sharing.gates import Softmax

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.sharing_step import compare, main
from benchmarks.twins import twin

TASKS, WIDTH, BATCH = 3, 8, 6
PART = {"columns": ["late", "early"], "slices": {"early": slice(0, 2), "middle": slice(2, 5), "late": slice(5, 8)}}
TWO = {"watch": ["0", "2"], "inter": ["1"]}
READS = {"0": ["0", "1", "2"]}
CASES = {
    **{name: lambda name=name: getattr(sharing, name)(TASKS, WIDTH) for name in polytask.sharing.__all__},
    "asymmetric, mean": lambda: sharing.asymmetric(TASKS, WIDTH, reads=READS, fusion="mean"),
    "asymmetric, concatenated": lambda: sharing.asymmetric(TASKS, WIDTH, reads=READS),
    "ple of three levels": lambda: sharing.ple(TASKS, WIDTH, levels=3, experts=1, widths=(5, 4)),
    "adatt of one expert each": lambda: sharing.adatt(TASKS, WIDTH, experts=1, levels=3),
    "adatt with shared experts": lambda: sharing.adatt(TASKS, WIDTH, shared_experts=2),
    "cross-stitch per layer": lambda: sharing.cross_stitch(TASKS, WIDTH, widths=(5, 4, 3), units="layer"),
    "cross-stitch below own layers": lambda: sharing.cross_stitch(TASKS, WIDTH, widths=(5, 4), stitch_last=False),
    "sluice of three subspaces": lambda: sharing.sluice(TASKS, WIDTH, widths=(6, 6, 6), subspaces=3),
    "sluice of one subspace": lambda: sharing.sluice(TASKS, WIDTH, widths=(4, 4), subspaces=1),
    "snr without matrices": lambda: sharing.snr(TASKS, WIDTH, mode="aver", levels=3),
    "poso on columns": lambda: sharing.poso(TASKS, WIDTH, **PART),
    "pepnet on columns": lambda: sharing.pepnet(TASKS, WIDTH, **PART, hidden=7, widths=(5, 4, 3)),
    "home of two categories": lambda: sharing.home(TASKS, WIDTH, categories=TWO, experts=1, loras=3),
    "home without norm": lambda: sharing.home(TASKS, WIDTH, norm="none", categories=TWO),
    "stem of two levels": lambda: sharing.stem(TASKS, WIDTH, streams=4, levels=2, shared_experts=2),
}


def built(name: str) -> sharing.representation.Sharing:
    """The architecture, away from its start."""
    torch.manual_seed(3)
    made = CASES[name]().double().train()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("name", CASES)
def test_module_lists_compute_the_same(name: str) -> None:
    ours = built(name)
    loop = twin(ours).train()
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        found = ours(x)
        return found.value, found.penalty

    down = torch.randn(TASKS, BATCH, ours.out_features, dtype=torch.float64)
    compare(forward, loop, x, down)
    assert (forward(x)[1] is None) == (loop(x)[1] is None)
    assert count(loop) <= count(ours)  # gates have no columns for experts that they do not see


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_comparison_notices_other_weights() -> None:
    ours = built("mmoe")
    loop = twin(ours)
    with torch.no_grad():
        next(loop.parameters()).add_(1.0)
    x = torch.randn(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
    down = torch.randn(TASKS, BATCH, ours.out_features, dtype=torch.float64)
    with pytest.raises(AssertionError):
        compare(lambda x: (ours(x).value, None), loop, x, down)


@pytest.mark.parametrize("gate", [Softmax(bias=True), Softmax(temperature=0.5), sharing.gates.DSelectK()])
def test_gates_without_a_twin_are_refused(gate: sharing.gates.Gate) -> None:
    with pytest.raises(TypeError, match="no twin"):
        twin(sharing.mmoe(TASKS, WIDTH, gate=gate))


def test_every_architecture_has_a_full_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, file = torch.get_num_threads(), tmp_path / "rows.json"
    try:
        main(["--quick", "--threads", "1", "--json", str(file)])
    finally:
        torch.set_num_threads(before)
    rows = json.loads(file.read_text(encoding="utf-8"))
    assert [row["architecture"] for row in rows] == [name for name in polytask.sharing.__all__ for _ in range(2)]
    for row in rows:
        assert set(row["seconds"]) == set(row["gflop"]) == set(row["all_seconds"]) == {"ours", "loop"}
        assert row["ratio"] == pytest.approx(row["seconds"]["ours"] / row["seconds"]["loop"])
        assert row["floor"] == pytest.approx(row["gflop"]["loop"] / row["peak_gflops"] / row["seconds"]["loop"])
        assert row["of_peak"] > 0
    assert capsys.readouterr().out.count("growth x") == len(polytask.sharing.__all__)
