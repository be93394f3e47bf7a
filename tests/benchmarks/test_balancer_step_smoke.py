"""The benchmark of balancers runs, for every balancer, and its models compute the same."""

import json
import sys
from pathlib import Path

import pytest
import torch

import polytask.balancing

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.balancer_step import ModuleLists, Ours, Sizes

from benchmarks import balancer_step

SIZES = Sizes(tasks=3, batch=8, width=5, experts=2, widths=(6, 4), tower=3)


def test_it_prints_and_writes_a_row_per_method(tmp_path, capsys):
    rows = balancer_step.main(["--quick", "--json", str(tmp_path / "rows.json")])
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    methods = {row["method"] for row in rows}
    assert {name.split()[1] for name in methods if name.startswith("ours")} == {*polytask.balancing.__all__, "plain"}
    assert "floor" in methods and any(name.startswith("torchjd") for name in methods)
    assert all(row["floor"] > 0 and row["plain"] > 0 for row in rows)
    assert "representation" in capsys.readouterr().out


def test_memory_is_measured_in_processes_of_their_own(capsys):
    rows = balancer_step.main(["--quick", "--memory", "--balancers", "mgda", "--peer-tasks", "0"])
    assert {row["method"] for row in rows} >= {"floor", "ours mgda parameters"}
    assert all(row["mib"] >= 0 for row in rows)


def test_solutions_are_timed_alone(capsys):
    rows = balancer_step.main(["--quick", "--solve"])
    assert {row["method"] for row in rows} >= {"mgda", "upgrad", "nash_mtl"} and all(row["ms"] > 0 for row in rows)


def test_both_models_compute_the_same():
    lists, ours = ModuleLists(SIZES).double(), Ours(SIZES).double()
    level = ours.sharing.levels[0]
    layers = [[part for part in expert if isinstance(part, torch.nn.Linear)] for expert in lists.experts]
    stacks = [level.experts.first, *level.experts.upper]
    with torch.no_grad():
        for number, stack in enumerate(stacks):
            stack.weight.copy_(torch.stack([expert[number].weight for expert in layers]))
            stack.bias.copy_(torch.stack([expert[number].bias for expert in layers]))
        level.gates.weight.copy_(torch.stack([gate.weight for gate in lists.gates]))
        for module, number in ((ours.towers.layers[0], 0), (ours.heads.layers[0], 2)):
            module.weight.copy_(torch.stack([tower[number].weight for tower in lists.towers]))
            module.bias.copy_(torch.stack([tower[number].bias for tower in lists.towers]))
    x, labels = (values.double() for values in SIZES.data())
    expected, _ = lists(x, labels)
    (logits,) = ours.heads(ours.towers(ours.sharing(x).value))
    torch.testing.assert_close(SIZES.losses(logits.squeeze(2), labels), torch.stack(expected))


@pytest.mark.parametrize("method", polytask.balancing.__all__)
def test_every_balancer_can_be_built(method):
    assert balancer_step.build(method, 3) is not None
