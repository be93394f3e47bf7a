from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polytask
from polytask.cli import main
from polytask.cli.output import score_table

ROWS = 1_200
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process: exit code, output, errors."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A small log with labels of several kinds, a leak, a row key and an outcome that needs a label."""
    rng = np.random.default_rng(0)
    age, city = rng.integers(16, 80, ROWS), rng.choice(["Oslo", "Rome", "Bonn"], ROWS)
    click = (rng.random(ROWS) < np.where(age > 40, 0.6, 0.3)).astype(int)
    seconds = np.where(click == 1, rng.exponential(30.0, ROWS), 0.0)
    like = pa.array(rng.random(ROWS) < 0.3, mask=click == 0)
    table = {
        "impression_id": np.arange(ROWS),
        "user_id": rng.integers(0, 150, ROWS),
        "age": age,
        "city": city,
        "instance_weight": rng.random(ROWS),
        "clicked_word": np.where(click == 1, "yes", "no"),
        "share": ((rng.random(ROWS) < 0.2) & (click == 1)).astype(int),
        "click": click,
        "like": like,
        "seconds": seconds,
        "visits": rng.poisson(1.0, ROWS),
        "mood": rng.choice(["sad", "glad", "mad"], ROWS),
        "pay": np.where(rng.random(ROWS) < 0.5, "paid", "free"),
    }
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(table), path)
    return path


LABELS = "click,like,seconds,visits,mood,pay"


def process(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    root = str(Path(polytask.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = ["-c", code] if code else ["-m", "polytask", *arguments]
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, check=False)


# help and failures


def test_help_is_quick_to_say() -> None:
    heavy = "('torch', 'pyarrow', 'numpy', 'pandas', 'pydantic')"
    code = f"""
import sys
from polytask.cli import main
try:
    main(["--help"])
finally:
    print([name for name in {heavy} if name in sys.modules])
"""
    done = process(code=code)
    assert done.stdout.strip().endswith("[]"), done.stdout
    assert "polytask init log.parquet" in done.stdout


VERBS = ["init", "check", "train", "evaluate", "predict", "list", "demo", "data fetch", "data path", "data list"]


@pytest.mark.parametrize("verb", [*VERBS, "simulate short-video"])
def test_every_verb_shows_examples_of_itself(verb: str, run: Run) -> None:
    code, out, _ = run(*verb.split(), "--help")
    assert code == 0
    assert re.search(r"Examples?:", out) and f"polytask {verb}" in out


def test_version(run: Run) -> None:
    assert run("--version")[:2] == (0, f"{polytask.__version__}\n")


def test_wrong_usage_exits_with_2(run: Run) -> None:
    for arguments in (["chekc"], ["train", "a.toml"], ["list", "balancer"], ["simulate", "short-video", "--rows", "0"]):
        code, _, err = run(*arguments)
        assert code == 2 and err, arguments


def test_user_errors_are_readable_and_exit_with_2(run: Run, tmp_path: Path) -> None:
    code, out, err = run("check", tmp_path / "nothing.toml")
    assert code == 2 and not out
    assert err == (
        f"error: {tmp_path / 'nothing.toml'}: no such file\n"
        "  → polytask init DATA --labels a,b -o CONFIG.toml writes one\n"
    )
    code, _, err = run("data", "path", "census")
    assert (code, err) == (2, "error: data set 'census': is not known\n  → did you mean 'census-income'?\n")


BREAK = "import polytask.data.named as named; named.names = lambda: 1 / 0; from polytask.cli import main; main({})"


def test_our_own_failures_exit_with_1_and_say_how_to_see_more() -> None:
    done = process(code=BREAK.format(["data", "list"]))
    assert done.returncode == 1
    assert "failed: ZeroDivisionError: division by zero" in done.stderr and "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    done = process(code=BREAK.format(["data", "list", "--debug"]))
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_ctrl_c_exits_with_130(run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polytask.training.run as training

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_run", interrupted)
    config = tmp_path / "c.toml"
    config.write_text(f'[data]\nsource = "{log}"\n[tasks.click]\nkind = "binary"\nlabel = "click"\n')
    code, out, _ = run("train", config, "--out", tmp_path / "run")
    assert code == 130 and "--resume goes on" in out


# init and check


def test_a_proposal_has_the_right_kinds_and_leaves_out_what_it_should(run: Run, log: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    code, out, err = run("init", log, "--labels", LABELS, "-o", config)
    assert (code, err) == (0, "")
    text = config.read_text()
    table = tomllib.loads(text)
    assert table["data"]["source"] == "log.parquet"
    assert table["data"]["keys"] == ["impression_id"]
    assert table["data"]["drop"] == ["instance_weight", "clicked_word", "share"]
    assert "gives away the label of click" in text and "named like a sample weight" in text
    kinds = {name: task["kind"] for name, task in table["tasks"].items()}
    assert kinds == {
        "click": "binary",
        "like": "binary",
        "seconds": "regression",
        "visits": "count",
        "mood": "multiclass",
        "pay": "binary",
    }
    assert table["tasks"]["pay"]["classes"] in (["free", "paid"], ["paid", "free"])
    assert table["tasks"]["click"]["group"] == "user_id"
    assert re.search(r'kind = "binary" # .*% positive; .*% of the rows have no label and are not observed', text)
    assert re.search(r"# age +numeric +64 distinct integers", text)
    assert "left out share" in out and "next: polytask check" in out


def test_a_proposal_is_not_overwritten_without_force(run: Run, log: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("mine")
    code, _, err = run("init", log, "--labels", "click", "-o", config)
    assert code == 2 and "exists already" in err and "--force" in err and config.read_text() == "mine"
    assert run("init", log, "--labels", "click", "-o", config, "--force")[0] == 0
    assert "[tasks.click]" in config.read_text()


def test_a_proposal_splits_by_an_event_time(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = {"timestamp": 1_650_000_000 + np.arange(ROWS), "x": rng.random(ROWS), "y": rng.integers(0, 2, ROWS)}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    assert run("init", tmp_path / "t.parquet", "--labels", "y", "-o", tmp_path / "c.toml")[0] == 0
    data = tomllib.loads((tmp_path / "c.toml").read_text())["data"]
    assert data["split"]["by"] == "time" and data["split"]["column"] == "timestamp"


def test_wrong_labels_are_refused_together(run: Run, log: Path, tmp_path: Path) -> None:
    code, _, err = run("init", log, "--labels", "clik,lik", "--keys", "usr_id", "-o", tmp_path / "c.toml")
    assert code == 2 and not (tmp_path / "c.toml").exists()
    assert "--labels clik: no column 'clik'" in err and "did you mean 'click'" in err
    assert "--labels lik" in err and "--keys usr_id" in err
    code, _, err = run("init", log, "-o", tmp_path / "c.toml")
    assert code == 2 and "name the label columns: --labels" in err


def test_check_prints_columns_tasks_and_rates(run: Run, log: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    run("init", log, "--labels", "click,seconds", "-o", config)
    code, out, err = run("check", config)
    assert (code, err) == (0, "")
    assert re.search(r"age +numeric +auto +64 distinct integers", out)
    assert re.search(r"click +binary( +\d\d\.\d\d% positive){3} +click", out)
    assert re.search(r"seconds +regression +mean 1\d\.\d+ ± ", out)
    assert out.rstrip().endswith(f"polytask train {config} --out RUN")


def test_check_reports_configuration_and_data_together(run: Run, log: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f'[data]\nsource = "{log}"\ndrop = ["share"]\n[tasks.visits]\nkind = "binary"\nlabel = "visits"\n'
        '[tasks.pay]\nkind = "binary"\nlabel = "pay"\n[sharing]\nuse = "ple"\nexpert = 3\n'
    )
    code, out, err = run("check", config, "--set", "balancer.use=equl")
    assert code == 2 and "4 errors" in out
    for part in ("sharing.expert", "did you mean 'equal'?", "a value other than 0 and 1", "add classes = ["):
        assert part in err
    code, out, err = run("train", config, "--out", tmp_path / "run", "--set", "balancer.use=equl")
    assert code == 2 and "add classes = [" in err and "did you mean 'equal'?" in err
    assert not (tmp_path / "run").exists()


def test_mistakes_in_train_and_overrides_do_not_hide_those_of_the_data(run: Run, log: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[data]\nsource = "{log}"\n[tasks.pay]\nkind = "binary"\nlabel = "pay"\n[trian]\nx = 1\n')
    wrong = ("--set", "train.epochs=ten", "--set", "nonsense", "--set", "sharing.use=mmeo")
    code, out, err = run("check", config, *wrong)
    assert code == 2 and "5 errors" in out and "warning" not in out
    for part in ("train.epochs: found 'ten'", "did you mean 'train'?", "--set nonsense", "'mmoe'?", "add classes = ["):
        assert part in err
    code, _, again = run("train", config, "--out", tmp_path / "run", *wrong)
    assert code == 2 and again == err and not (tmp_path / "run").exists()


def test_check_finds_values_that_only_builders_know_to_be_wrong(run: Run, log: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    assert run("init", log, "--labels", "click,pay", "-o", config)[0] == 0
    wrong = ["sharing.experts=0", "tasks.click.gamma=-1", "tasks.pay.loss=hinge", "train.warm_start=nowhere"]
    code, out, err = run("check", config, *(word for one in wrong for word in ("--set", one)))
    assert code == 2 and "4 errors" in out
    for part in ("sharing.experts: 0 given", "tasks.click.gamma: is -1", "no loss 'hinge'", "nowhere: does not exist"):
        assert part in err


def test_check_stops_at_a_broken_file_with_all_its_mistakes(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[data]\nsource = "a.csv"\n[tasks.a]\nkind = "binary"\n[sharing]\nuse = "mmeo"\n')
    code, _, err = run("check", config, "--set", "train.batchsize=3")
    assert code == 2
    assert "tasks.a.label: missing" in err and "did you mean 'mmoe'" in err and "did you mean 'batch_size'" in err


# lists


@pytest.mark.parametrize("what", ["architectures", "balancers", "tasks", "encoders", "penalties", "metrics", "data"])
def test_lists_name_everything_with_a_summary(what: str, run: Run) -> None:
    code, out, _ = run("list", what)
    names = [line.split("  ") for line in out.splitlines()[1:] if line and not line.startswith(" ")]
    assert code == 0 and len(names) >= 1
    assert all(len(entry) == 2 and entry[1] for entry in names)


def test_lists_show_options_with_defaults(run: Run) -> None:
    out = run("list", "architectures")[1]
    assert "mmoe  " in out and "    experts = 8  (int)" in out
    assert "in_features" not in out  # given by the library


def test_data_sets_are_listed_with_licence_and_place(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTASK_DATA", str(tmp_path))
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    code, out, _ = run("data", "list")
    assert code == 0 and "licence: CC BY 4.0" in out and "not here; polytask data fetch census-income" in out
    code, _, err = run("data", "path", "census-income")
    assert code == 2 and "is not on this machine" in err


# the whole road


def test_init_train_evaluate_predict(run: Run, log: Path, tmp_path: Path) -> None:
    config, folder = tmp_path / "c.toml", tmp_path / "run"
    assert run("init", log, "--labels", LABELS, "-o", config)[0] == 0
    small = ["--set", "train.steps=6", "--set", "sharing.experts=2", "--set", "sharing.widths=[8]", "--threads", "1"]
    code, out, err = run("train", config, "--out", folder, *small)
    assert code == 0, err
    assert str(folder) in out.replace("\n", "")
    resolved = tomllib.loads((folder / "config.toml").read_text())
    assert resolved["train"]["steps"] == 6 and resolved["train"]["threads"] == 1
    code, out, err = run("evaluate", folder, log, "--json", tmp_path / "scores.json")
    assert code == 0 and "auc" in out, err
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["click"]["rows"] == ROWS and 0.0 <= scores["click"]["auc"] <= 1.0
    code, out, err = run("predict", folder, log, "-o", tmp_path / "p.parquet", "--keys", "user_id")
    assert code == 0 and f"{ROWS:,} rows" in out, err
    predictions = pq.read_table(tmp_path / "p.parquet")
    assert predictions.num_rows == ROWS and predictions.column_names[:2] == ["user_id", "click"]
    assert {"mood_glad", "mood_mad", "mood_sad"} <= set(predictions.column_names)
    code, _, err = run("predict", folder, log, "-o", tmp_path / "q.parquet", "--keys", "usr_id")
    assert code == 2 and "did you mean 'user_id'" in err


def test_simulated_data_are_ready_for_init(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "sim.parquet"
    assert run("simulate", "short-video", "--rows", "3000", "-o", log, "--seed", "3")[0] == 0
    assert pq.read_metadata(log).num_rows == 3000
    code, out, _ = run("init", log, "--labels", "click,long_view,like", "-o", tmp_path / "c.toml")
    assert code == 0 and "task like: binary" in out
    assert run("check", tmp_path / "c.toml")[0] == 0


def test_scores_of_many_metrics_have_a_line_each() -> None:
    few = {"click": {"auc": 0.75, "rows": 1_200}}
    assert [column.header for column in score_table("", few).columns] == ["task", "rows", "auc"]
    many = {"click": {**{f"metric_{n}": 0.5 for n in range(12)}, "rows": 1_200}, "buy": {"auc": math.nan, "rows": 3}}
    table = score_table("", many)
    cells = [[str(cell) for cell in column._cells] for column in table.columns]
    assert cells[0] == ["click", *[""] * 12, "buy", ""] and cells[1][:2] == ["rows", "metric_0"]
    assert cells[2][0] == "1,200" and cells[2][-1] == "-"
