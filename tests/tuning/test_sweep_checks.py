from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polytask.config import load_config
from polytask.errors import UserError
from polytask.tuning.checks import find_methods, setting_problems
from polytask.tuning.space import Choices, Range
from polytask.tuning.table import parse_sweep, read_sweep

TASKS = ("click", "spend")
HEAD = '[data]\nsource = "log.csv"\n[tasks.a]\nkind = "binary"\nlabel = "a"\n'


def methods(config: Any, **table: Any) -> list[Any]:
    return find_methods(config, parse_sweep(table), ids=False)


def wrong(config: Any, **table: Any) -> list[str]:
    options = parse_sweep(table)
    problems = setting_problems(config, options)
    try:
        find_methods(config, options, ids=False)
    except UserError as error:
        problems += error.problems
    return [str(problem) for problem in problems]


def test_every_architecture_with_every_balancer(new_config: Any) -> None:
    space = {"sharing.experts": [2, 4], "sharing.levels": [1, 2], "balancer.c": [0.2], "balancer.every": [1, 2]}
    found = methods(new_config(TASKS), sharing=["mmoe", "ple"], balancers=["equal", "cagrad"], space=space)
    assert {one.name: sorted(one.space) for one in found} == {
        "mmoe + equal": ["sharing.experts"],
        "mmoe + cagrad": ["balancer.c", "balancer.every", "sharing.experts"],
        "ple + equal": ["sharing.experts", "sharing.levels"],
        "ple + cagrad": ["balancer.c", "balancer.every", "sharing.experts", "sharing.levels"],
    }
    assert [one.slug for one in found] == ["mmoe+equal", "mmoe+cagrad", "ple+equal", "ple+cagrad"]
    assert found[0].config.sharing.options == {"experts": 2, "widths": [8]}  # the file's own table
    assert [one.budget(7) for one in found] == [2, 4, 4, 7]


def test_parts_of_one_name_go_by_their_options(new_config: Any) -> None:
    found = methods(new_config(TASKS), sharing=["ple", {"use": "ple", "levels": 3}], space={})
    assert [one.name for one in found] == ["ple + equal", "ple(levels=3) + equal"]
    assert found[0].slug == "ple+equal" and found[1].slug.startswith("ple-") and found[1].slug.endswith("+equal")


def test_a_usual_space_fits_the_architecture(new_config: Any) -> None:
    config = new_config(TASKS)
    (own,), (bottom,) = methods(config), methods(config, sharing=["shared_bottom"])
    assert own.space["sharing.experts"] == Choices((1, 2, 4)) and own.space["sharing.widths"] == Choices(
        ((4,), (8,), (16,))
    )
    assert "sharing.experts" not in bottom.space and bottom.space["sharing.widths"].size == 3
    assert isinstance(own.space["train.learning_rate"], Range) and "train.embedding_learning_rate" not in own.space
    assert own.start().keys() == own.space.keys()  # the file's own settings lie in it
    (ids,) = find_methods(config, parse_sweep({}), ids=True)
    assert "train.embedding_learning_rate" in ids.space


def test_whole_numbers_are_numbers_where_any_may_stand(new_config: Any) -> None:
    space = {"sharing.dropout": {"low": 0, "high": 1}, "sharing.experts": {"low": 1, "high": 4}}
    (found,) = methods(new_config(TASKS), space=space)
    assert found.space["sharing.dropout"].size == float("inf") and found.space["sharing.experts"].size == 4


def test_contradictions_are_refused_together(new_config: Any) -> None:
    config = new_config(TASKS, train={"steps": 5, "warm_start": "bundle"})
    space = {
        "train.batch_size": [32, 64], "train.epochs": [1, 2], "train.rate": [1], "data.source": ["a"],
        "features.a.kind": [1], "tasks.click.label": ["a"], "tasks.clik.weight": [1], "sharing.use": ["ple"],
        "penalty.strength": [1.0], "foo": [1], "sharing.levels": [1, "2"], "sharing.expert": [1], "sharing": [1],
        "encoder.embedding": [2.5],
    }  # fmt: skip
    parts = [{"use": "ple", "levels": 3}, "mmoe"]
    found = wrong(config, objective=["spend", "clik"], sharing=parts, space=space)
    assert [line.split(":")[0] for line in found] == [
        "train.warm_start", "sweep.objective", 'sweep.space."train.batch_size"', 'sweep.space."train.epochs"',
        'sweep.space."train.rate"', 'sweep.space."data.source"', 'sweep.space."features.a.kind"',
        'sweep.space."tasks.click.label"', 'sweep.space."tasks.clik.weight"', 'sweep.space."sharing.use"',
        'sweep.space."penalty.strength"', 'sweep.space."foo"', 'sweep.space."sharing"', "sweep.sharing 'ple'.levels",
        'sweep.space."sharing.expert"', 'sweep.space."sharing.levels"', 'sweep.space."encoder.embedding"',
    ]  # fmt: skip
    text = "\n".join(found)
    assert "3 is fixed here and searched in sweep.space; remove one of the two" in text
    assert "is part of the budget, or changes no result" in text and "say train.epochs in its place" in text
    assert "unknown option of ple, mmoe; did you mean 'experts'" in text and "list them in sweep.sharing" in text


def test_names_are_checked_before_options(new_config: Any) -> None:
    found = wrong(new_config(TASKS), sharing=["mmoe", "plee", "mmoe"], balancers=["mgd"], space={"sharing.experts": 3})
    assert [line.split(":")[0] for line in found] == [
        "sweep.sharing", "sweep.sharing 'plee'.use", "sweep.balancers 'mgd'.use", 'sweep.space."sharing.experts"',
    ]  # fmt: skip


def test_the_table_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    file.write_text(f'{HEAD}[sweep]\ntrials = 3\nsharing = ["ple"]\n[sweep.space]\n"sharing.levels" = [1, 2]\n')
    config, found = read_sweep(file, ["sweep.trials=4", "train.epochs=2"], {"balancers": ["mgda"]})
    assert (found.trials, found.balancers[0].use, found.sharing[0].use, config.train.epochs) == (4, "mgda", "ple", 2)
    assert found.space == {"sharing.levels": [1, 2]}
    assert load_config(file).tasks.keys() == {"a"}  # other verbs read past it


def test_mistakes_of_table_and_file_come_together(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    file.write_text(f'{HEAD}[sweep]\ntrials = 0\nobjectiv = "mean"\npruning = "medium"\nobjective = "click"\n[tran]\n')
    with pytest.raises(UserError) as found:
        read_sweep(file)
    assert [problem.where for problem in found.value.problems] == [
        "tran", "sweep.trials", "sweep.objective", "sweep.pruning", "sweep.objectiv",
    ]  # fmt: skip
    assert 'say "mean", "tasks", or a list of tasks' in str(found.value)
