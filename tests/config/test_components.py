from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from polytask.config import ComponentConfig, check_options, describe_options, find, load_config, parse_config, resolve
from polytask.config.loading import PROVIDED, SECTIONS
from polytask.errors import UserError


def tower(
    tasks: int,
    in_features: int,
    widths: tuple[int, ...] = (32,),
    *,
    activation: Literal["relu", "silu"] = "relu",
    dropout: float = 0.0,
    weights: Mapping[str, float] | Sequence[float] = (),
) -> None:
    pass


PARTS = ("tasks", "in_features")


def test_options_arrive_in_the_declared_types() -> None:
    options = {"widths": [64, 32], "dropout": 0, "weights": {"a": 1.0}}
    checked = check_options(tower, options, path="towers", provided=PARTS)
    assert checked == {"widths": (64, 32), "dropout": 0.0, "weights": {"a": 1.0}}
    assert isinstance(checked["dropout"], float) or checked["dropout"] == 0


def test_all_mistakes_of_a_table_come_together() -> None:
    with pytest.raises(UserError) as caught:
        check_options(
            tower, {"width": [1], "activation": "rleu", "dropout": "much", "tasks": 3}, path="t", provided=PARTS
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "t.width: unknown option of tower (value [1]); did you mean 'widths'?",
        "t.activation: found 'rleu'; it should be 'relu' or 'silu' ('relu' | 'silu')",
        "t.dropout: found 'much'; it should be a valid number (float)",
        "t.tasks: unknown option of tower (value 3); choose one of widths, activation, dropout, weights",
    ]


def test_an_option_without_default_must_be_given() -> None:
    with pytest.raises(UserError, match=r"b\.in_features: missing, and tower has no default for it; add in_features"):
        check_options(tower, {}, path="b", provided=["tasks"])


def test_text_is_no_number_and_true_is_no_count() -> None:
    def builder(*, experts: int = 1) -> None: ...

    for value in ("3", True, 2.5):
        with pytest.raises(UserError, match=r"s\.experts: found"):
            check_options(builder, {"experts": value}, path="s")


def test_descriptions_show_type_and_default() -> None:
    shown = {option.name: (option.type, option.default) for option in describe_options(tower, PARTS)}
    assert shown["activation"] == ("'relu' | 'silu'", "'relu'")
    assert shown["weights"][0] == "Mapping[str, float] | Sequence[float]"


def test_unknown_names_have_close_matches() -> None:
    with pytest.raises(
        UserError, match=r"sharing\.use: nothing is named 'mmeo' in polytask\.sharing; did you mean 'mmoe'"
    ):
        find("polytask.sharing", "mmeo", path="sharing.use")
    with pytest.raises(UserError, match="nothing is named 'Task'"):  # importable, but not listed
        find("polytask.tasks", "Task", path="tasks.a.kind")


def test_code_outside_polytask_runs_only_when_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_code.py").write_text("def mine(tasks, in_features, *, depth: int = 1):\n    return depth\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    part = ComponentConfig.model_validate({"use": "outside_code:mine", "depth": 4})
    with pytest.raises(UserError, match="pass --allow-code outside_code"):
        resolve("polytask.sharing", part, path="sharing", provided=PARTS)
    assert "outside_code" not in sys.modules
    builder, options = resolve("polytask.sharing", part, path="sharing", provided=PARTS, allow_code=["outside_code"])
    assert builder(2, 8, **options) == 4
    with pytest.raises(UserError, match="has no function 'mien'; did you mean 'mine'"):
        find("polytask.sharing", "outside_code:mien", path="sharing.use", allow_code=["outside_code"])
    with pytest.raises(UserError, match="module 'nowhere' cannot be imported"):
        find("polytask.sharing", "nowhere:f", path="sharing.use", allow_code=["nowhere"])


def test_a_prefix_of_an_allowed_module_is_not_allowed() -> None:
    with pytest.raises(UserError, match="code outside polytask"):
        find("polytask.sharing", "os_evil:system", path="sharing.use", allow_code=["os"])


def test_the_file_and_its_components_are_judged_together(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[data]\nsource = "a.csv"\n[tasks.buy]\nkind = "binary"\nlable = "y"\n'
        '[tasks.pay]\nkind = "binry"\nlabel = "y"\n'
        '[sharing]\nuse = "ple"\nexpert = 3\n[balancer]\nuse = "equl"\n[train]\nseeds = 0\n'
    )
    with pytest.raises(UserError) as caught:
        load_config(file)
    found = {problem.where: problem.remedy for problem in caught.value.problems}
    assert found["tasks.buy.label"].startswith("add label")
    assert "did you mean 'label'" in found["tasks.buy.lable"]
    assert found["tasks.pay.kind"] == "did you mean 'binary'?"
    assert "'experts'" in found["sharing.expert"]
    assert found["balancer.use"] == "did you mean 'equal'?"
    assert "train.seeds" in found


@pytest.mark.parametrize(("section", "package"), [(name, package) for name, (package, _) in SECTIONS.items()])
def test_defaults_of_every_section_exist(section: str, package: str) -> None:
    builder = find(package, SECTIONS[section][1], path=section)
    assert check_options(builder, {}, path=section, provided=PROVIDED[package]) == {}


def test_the_smallest_configuration_is_complete() -> None:
    config = parse_config({"data": {"source": "a.csv"}, "tasks": {"buy": {"kind": "binary", "label": "y"}}})
    assert (config.encoder.use, config.sharing.use, config.balancer.use) == ("table", "mmoe", "equal")
    (label,) = config.labels()
    assert (label.task, label.kind, label.label, label.classes) == ("buy", "binary", "y", None)
