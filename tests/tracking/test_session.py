from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.errors import Problem, UserError
from polytask.tracking import sender
from polytask.tracking.base import Logger, Point, TrackedRun
from polytask.tracking.memory import read_known
from polytask.tracking.session import Tracking

CONFIG = '[train]\nlearning_rate = 0.5\nseed = 3\nlog = ["fake"]\n'


class Tool:
    """Keeps what its loggers are handed, per run."""

    def __init__(self, points: int = 1) -> None:
        self.points, self.runs = points, dict[str, list[tuple[int, Mapping[str, float]]]]()
        self.told: list[TrackedRun] = []
        self.ends: dict[str, Mapping[str, float] | None] = {}

    def __call__(self, run: TrackedRun) -> Logger:
        self.told.append(run)
        return _Logger(self, run)


class _Logger:
    def __init__(self, tool: Tool, run: TrackedRun) -> None:
        self.id, self.points, self._tool = run.id or f"id of {run.place}", tool.points, tool

    def log(self, points: Sequence[Point]) -> None:
        self._tool.runs.setdefault(self.id, []).extend((point.step, point.values) for point in points)

    def finish(self, scores: Mapping[str, float] | None) -> None:
        self._tool.ends[self.id] = scores


def folder_in(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.toml").write_text(CONFIG)
    return path


def run_of(steps: int, evaluate_every: int) -> list[dict[str, Any]]:
    """A whole run's records."""
    records: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        records.append({"kind": "step", "step": step, "losses": [1 / step], "weights": [1.0], "learning_rate": 1.0})
        if step % evaluate_every == 0 or step == steps:
            records.append({"kind": "evaluation", "step": step, "scores": {"click": {"auc": step / 100}}, "score": 0.0})
    return records


def attempt(
    tool: Any, folder: Path, kept: list[dict[str, Any]], new: list[dict[str, Any]], steps: int, root: Path | None = None
) -> list[Problem]:
    """One process: takes up ``kept``, makes ``new``."""
    told: list[Problem] = []
    session = Tracking({"fake": tool}, root or folder, version="1.2", tell=told.append)
    session.begin(folder, tasks=["click"], steps=steps, records=kept)
    for record in new:
        session.see(record)
    session.close()
    return told


@settings(deadline=None, max_examples=40)
@given(
    steps=st.integers(1, 60),
    evaluate_every=st.integers(1, 25),
    points=st.integers(1, 30),
    data=st.data(),
)
def test_whatever_is_trained_again_is_logged_once(
    tmp_path_factory: pytest.TempPathFactory, steps: int, evaluate_every: int, points: int, data: st.DataObject
) -> None:
    records, straight, broken = run_of(steps, evaluate_every), Tool(points), Tool(points)
    attempt(straight, folder_in(tmp_path_factory.mktemp("a") / "run"), [], records, steps)
    folder = folder_in(tmp_path_factory.mktemp("b") / "run")
    kept = 0
    for _ in range(data.draw(st.integers(0, 3), label="crashes")):
        stop = data.draw(st.integers(kept, len(records)), label="stop")
        attempt(broken, folder, records[:kept], records[kept:stop], steps)
        kept = data.draw(st.integers(0, stop), label="last checkpoint")
    attempt(broken, folder, records[:kept], records[kept:], steps)
    assert broken.runs == straight.runs
    assert read_known(folder)["fake"].records == len(records)


def test_a_logger_that_comes_later_gets_everything(tmp_path: Path) -> None:
    records, tool = run_of(30, 10), Tool(points=1_000)
    attempt(tool, folder_in(tmp_path / "run"), records[:15], records[15:], 30)
    assert [step for step, _ in tool.runs["id of ."]] == [10, 10, 20, 20, 30, 30]


def test_seeds_and_baselines_know_their_parent(tmp_path: Path) -> None:
    root, tool = folder_in(tmp_path / "run"), Tool()
    session = Tracking({"fake": tool}, root, version="1.2", tell=pytest.fail)
    for place in ("seeds/3", "seeds/4", "baselines/click/seeds/3"):
        folder = folder_in(root / place)
        session.begin(folder, tasks=["click"], steps=5, records=[])
        for record in run_of(5, 5):
            session.see(record)
        (folder / "scores.json").write_text('{"scores": {"test": {"click": {"auc": 0.75}}}, "steps": 5}')
        session.finish()
    (root / "scores.json").write_text('{"scores": {"test": {"click": {"auc": 0.5}}}, "seeds": {}}')
    session.close()
    assert [(run.kind, run.name, run.parent) for run in tool.told] == [
        ("mean", "run", None),
        ("seed", "run/seeds/3", "id of ."),
        ("seed", "run/seeds/4", "id of ."),
        ("baseline", "run/baselines/click/seeds/3", "id of ."),
    ]
    assert tool.told[1].tags == {"version": "1.2", "kind": "seed", "seed": "3"} and "seed" not in tool.told[0].tags
    assert tool.told[1].config["train"]["learning_rate"] == 0.5
    assert tool.ends["id of seeds/3"] == {"final/test/click/auc": 0.75, "final/steps": 5.0}
    assert tool.ends["id of ."] == {"final/test/click/auc": 0.5}


def test_a_baseline_beside_one_seed_belongs_to_it(tmp_path: Path) -> None:
    root, tool = folder_in(tmp_path / "run"), Tool()
    attempt(tool, root, [], run_of(5, 5), 5)
    (root / "records.jsonl").write_text("")
    attempt(tool, folder_in(root / "baselines/click"), [], run_of(5, 5), 5, root)
    assert [(run.kind, run.parent) for run in tool.told] == [("run", None), ("baseline", "id of .")]


def test_a_run_that_is_interrupted_ends_without_scores(tmp_path: Path) -> None:
    tool = Tool()
    attempt(tool, folder_in(tmp_path / "run"), [], run_of(9, 5)[:3], 9)
    assert tool.ends == {"id of .": None}


class Failing(Tool):
    def __call__(self, run: TrackedRun) -> Logger:
        logger = super().__call__(run)

        def log(points: Sequence[Point]) -> None:
            raise ConnectionError("server gone")

        logger.log = log  # type: ignore[method-assign]
        return logger


def test_a_logger_that_fails_is_told_of_once(tmp_path: Path) -> None:
    told: list[Problem] = []
    session = Tracking(
        {"fake": Failing(), "good": (good := Tool(points=1_000))},
        folder_in(tmp_path / "run"),
        version="1",
        tell=told.append,
    )
    records = run_of(200, 10)
    session.begin(tmp_path / "run", tasks=["click"], steps=200, records=[])
    for record in records:
        session.see(record)
        if not told:
            time.sleep(0.001)
    session.close()
    (problem,) = told
    assert problem.severity == "warning" and "ConnectionError: server gone" in problem.what
    assert "training goes on" in problem.remedy
    assert len(good.runs["id of ."]) == 40
    assert {name: known.records for name, known in read_known(tmp_path / "run").items()} == {"fake": 0, "good": 220}


def test_a_logger_that_fails_at_the_end_is_told_of(tmp_path: Path) -> None:
    (problem,) = attempt(Failing(), folder_in(tmp_path / "run"), [], run_of(3, 3), 3)
    assert problem.where == "logger fake"


def test_a_logger_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    class Hanging(Tool):
        def __call__(self, run: TrackedRun) -> Logger:
            logger = super().__call__(run)
            logger.log = lambda points: free.wait(20)  # type: ignore[method-assign, assignment, return-value]
            return logger

    monkeypatch.setattr(sender.Sender.close, "__defaults__", (0.2,))
    started = time.monotonic()
    (problem,) = attempt(Hanging(), folder_in(tmp_path / "run"), [], run_of(3, 3), 3)
    assert "in time" in problem.what and time.monotonic() - started < 5
    free.set()


def refuse(run: TrackedRun) -> Logger:
    raise ConnectionError("nobody there")


def test_a_logger_that_cannot_begin_stops_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger fake: cannot begin \(ConnectionError: nobody there\)"):
        attempt(refuse, folder_in(tmp_path / "run"), [], [], 3)


def test_later_it_stops_nothing(tmp_path: Path) -> None:
    root, told, calls = folder_in(tmp_path / "run"), list[Problem](), Tool()

    def first_only(run: TrackedRun) -> Logger:
        return calls(run) if not calls.told else refuse(run)

    session = Tracking({"fake": first_only}, root, version="1", tell=told.append)
    session.begin(root, tasks=["click"], steps=3, records=[])
    session.finish()
    (root / "records.jsonl").write_text("")
    for task in ("click", "like"):
        session.begin(folder_in(root / "baselines" / task), tasks=["click"], steps=3, records=[])
        session.see(run_of(3, 3)[0])
        session.finish()
    session.close()
    assert [problem.what for problem in told] == ["cannot begin (ConnectionError: nobody there)"]


@pytest.mark.parametrize("text", ["{", "[]", '{"loggers": {"fake": 3}}', '{"loggers": []}'])
def test_a_damaged_memory_is_named(tmp_path: Path, text: str) -> None:
    folder = folder_in(tmp_path / "run")
    (folder / "tracking.json").write_text(text)
    with pytest.raises(UserError, match=r"tracking\.json: cannot be read .*; delete it"):
        attempt(Tool(), folder, [], [], 3)


def test_points_wait_for_one_another(tmp_path: Path) -> None:
    """While a logger is busy, what comes in is gathered for one call."""
    calls: list[int] = []

    class Slow(Tool):
        def __call__(self, run: TrackedRun) -> Logger:
            logger = super().__call__(run)
            logger.log = lambda points: (calls.append(len(points)), time.sleep(0.05))[0]  # type: ignore[method-assign]
            return logger

    attempt(Slow(), folder_in(tmp_path / "run"), [], run_of(500, 500), 500)
    assert sum(calls) == 2 and len(calls) <= 2
    assert json.loads((tmp_path / "run" / "tracking.json").read_text())["loggers"]["fake"]["records"] == 501


def test_loggers_share_one_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PAUSE", 0.0)
    monkeypatch.setattr(sender, "SHARE", 1e6)
    tools: dict[str, Any] = {f"tool {number}": Tool(points=1_000) for number in range(4)}
    session = Tracking(tools, folder_in(tmp_path / "run"), version="1", tell=lambda problem: pytest.fail(str(problem)))
    session.begin(tmp_path / "run", tasks=["click"], steps=500, records=[])
    for record in run_of(500, 5):
        session.see(record)
    session.close()
    assert {known.records for known in read_known(tmp_path / "run").values()} == {600}
    assert all(tool.runs == tools["tool 0"].runs for tool in tools.values())
