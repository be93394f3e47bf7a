from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polytask.comparing.plan import make_plan
from polytask.comparing.table import parse_comparison, read_comparison
from polytask.errors import UserError

LISTS = {"sharing": ["mmoe", "ple", {"use": "shared_bottom", "widths": [8, 4]}], "balancers": ["equal", "mgda"]}


def test_all_pairs_against_single_models(new_config: Callable[..., Any]) -> None:
    plan = make_plan(new_config(("click", "spend"), train={"seed": 3}), parse_comparison({**LISTS, "seeds": 2}))
    assert [one.name for one in plan.candidates] == [
        f"{one} + {other}" for one in ("mmoe", "ple", "shared_bottom") for other in ("equal", "mgda")
    ]
    assert [one.kind for one in plan.baselines] == ["single", "lightgbm"]
    runs = list(plan.runs())
    assert len(runs) == 2 * (6 + 2 * 2) == len({run.key for run in runs})
    assert plan.seeds == (3, 4) and [run.seed for run in runs] == [3] * 10 + [4] * 10  # what is cut short is paired
    assert {run.key for run in runs} >= {"runs/ple+mgda/4", "runs/lightgbm/spend/3"}


def test_a_bare_name_is_the_configuration_s_own_part(new_config: Callable[..., Any]) -> None:
    config = new_config(("click", "spend"))
    plan = make_plan(config, parse_comparison({"sharing": ["mmoe", {"use": "mmoe", "experts": 5}]}))
    own, other = plan.candidates
    assert own.sharing is config.sharing and other.sharing.options == {"experts": 5}
    assert [own.name, other.name] == ["mmoe(experts=2, widths=[8]) + equal", "mmoe(experts=5) + equal"]
    assert own.folder != other.folder


def test_other_options_are_another_folder_and_longer_lists_are_not(new_config: Callable[..., Any]) -> None:
    config = new_config(("click", "spend"))
    short = make_plan(config, parse_comparison({"sharing": ["mmoe"], "seeds": 1}))
    long = make_plan(config, parse_comparison({"sharing": ["ple", "mmoe"], "seeds": 2}))
    assert {run.key for run in short.runs()} < {run.key for run in long.runs()}
    changed = make_plan(new_config(("click", "spend"), sharing={"experts": 3}), parse_comparison({"seeds": 1}))
    assert changed.candidates[0].folder != short.candidates[0].folder
    assert changed.baselines[0].folder != short.baselines[0].folder


def test_one_axis_at_a_time(new_config: Callable[..., Any]) -> None:
    plan = make_plan(new_config(("click", "spend")), parse_comparison({**LISTS, "only_changed": "axes"}))
    assert [one.name for one in plan.candidates] == [
        "mmoe + equal", "mmoe + mgda", "ple + equal", "shared_bottom + equal",
    ]  # fmt: skip


def test_parts_listed_twice_and_single_tasks_are_refused(new_config: Callable[..., Any]) -> None:
    twice = parse_comparison({"sharing": ["ple", "ple"], "balancers": ["mgda", "equal", {"use": "mgda"}]})
    with pytest.raises(UserError) as found:
        make_plan(new_config(("click",)), twice)
    assert [str(problem) for problem in found.value.problems] == [
        "compare.sharing: ple is listed 2 times; list it once",
        "compare.balancers: mgda is listed 2 times; list it once",
        "tasks: one task shares with none; name two tasks or more",
    ]


def test_the_table_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    file.write_text(
        '[data]\nsource = "log.csv"\n[tasks.a]\nkind = "binary"\nlabel = "a"\n[compare]\nbalancers = ["equal"]\n'
        'seeds = 3\nlightgbm = false\n[[compare.sharing]]\nuse = "mmoe"\nexperts = 16\n'
    )
    config, found = read_comparison(file, ["compare.seeds=4", "train.epochs=2"], {"balancers": ["mgda"]})
    assert (found.seeds, found.lightgbm, found.balancers[0].use, config.train.epochs) == (4, False, "mgda", 2)
    assert found.sharing[0].options == {"experts": 16}


def test_mistakes_of_table_and_file_come_together(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    file.write_text(
        '[data]\nsource = "log.csv"\n[tasks.a]\nkind = "binry"\nlabel = "a"\n'
        '[compare]\nseeds = 0\nbalancer = ["mgda"]\n'
    )
    with pytest.raises(UserError) as found:
        read_comparison(file)
    assert [problem.where for problem in found.value.problems] == ["tasks.a.kind", "compare.seeds", "compare.balancer"]
    assert "did you mean 'balancers'?" in str(found.value)
