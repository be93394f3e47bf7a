"""A front of trained models, the point that is shipped, and the files that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from polytask.errors import MissingExtraError, Problem, UserError
from polytask.evaluation.scores import Scores
from polytask.files import read_json, whole_file, write_json
from polytask.fronts import Front
from polytask.serving import Bundle, load_bundle
from polytask.tradeoffs.figure import draw
from polytask.tradeoffs.points import PARTS, Measure, Reached, front_of, front_of_seeds
from polytask.tradeoffs.words import page

FORMAT = 1
FILE, FRONT, TEST_FRONT, PAGE, FIGURE, BUNDLE = (
    "pareto.json", "front.json", "front-test.json", "pareto.md", "front.png", "bundle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is shipped.

    Attributes:
        words: What was asked for.
        point: The point.
        seed: Whose model.
    """

    words: str
    point: Reached
    seed: int

    @property
    def run(self) -> str:
        """The folder of its run, within that of the front."""
        return self.point.runs[self.point.seeds.index(self.seed)]

    @property
    def scores(self) -> Mapping[str, Scores]:
        """Of the model that is shipped, ``{part: {task: {metric: value}}}``."""
        return self.point.scores[self.point.seeds.index(self.seed)]


@dataclass(frozen=True)
class TradeOff:
    """A finished front.

    Attributes:
        path: Its folder.
        measures: The traded tasks and their primary metrics.
        points: What was reached, in the order of methods and preferences.
        reference: Per traded task, where hypervolumes are measured from.
        given_reference: Whether the user gave it.
        baselines: Per traded task the scores of its own network, per seed; empty without baselines.
        conditioned: Methods with one model for all preferences.
        failures: Runs without scores, and why.
        facts: Options, environment and rows, as ``pareto.json`` has them.
        chosen: What is shipped; None before the choice.
        allow_code: Modules outside polytask that the configuration may name.
    """

    path: Path
    measures: tuple[Measure, ...]
    points: tuple[Reached, ...]
    reference: tuple[float, ...]
    given_reference: bool
    baselines: Mapping[str, tuple[Mapping[str, Scores], ...]]
    conditioned: tuple[str, ...]
    failures: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    chosen: Chosen | None = None
    allow_code: tuple[str, ...] = ()

    @property
    def planned(self) -> tuple[Reached, ...]:
        """The points that the plan has."""
        return tuple(point for point in self.points if point.planned)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that there are scores of."""
        return tuple(part for part in PARTS if part in self.points[0].scores[0])

    @cached_property
    def front(self) -> Front:
        """Primary metrics on validation rows, the mean over seeds, one point per preference and method."""
        return front_of(self.planned, self.measures, "validation")

    @cached_property
    def test_front(self) -> Front:
        """The same points on test rows.

        Raises:
            UserError: If there is no test part.
        """
        if "test" not in self.parts:
            raise UserError(Problem("test_front", "the data have no test part", "use .front, of the validation part"))
        return front_of(self.planned, self.measures, "test")

    @property
    def methods(self) -> tuple[str, ...]:
        """Labels of the methods that reached something."""
        return tuple(dict.fromkeys(point.method for point in self.planned))

    def hypervolume(self, method: str, part: str = "validation") -> float:
        """Of one method's points, from `reference`."""
        own = [point for point in self.planned if point.method == method]
        return front_of(own, self.measures, part).hypervolume(self.reference)

    @property
    def bundle_path(self) -> Path:
        """The bundle of what was chosen."""
        return self.path / BUNDLE

    @property
    def bundle(self) -> Bundle:
        """What was chosen, ready to predict."""
        return load_bundle(self.bundle_path, allow_code=self.allow_code)

    def choose(self, choose: str | None = None, *, floor: Mapping[str, float] | None = None) -> TradeOff:
        """Ships another point, without training.

        Args:
            choose: A preference or a rule, as of `polytask.pareto`.
            floor: Per task the worst value of its primary metric that will do.

        Raises:
            UserError: If the wish is none, or no point reaches the floors.
        """
        from polytask.tradeoffs.again import choose_again

        return choose_again(self.path, choose, floor or {}, allow_code=self.allow_code)

    def write(self) -> str | None:
        """Writes all files but the bundle; returns why there is no figure, if so."""
        front_of_seeds(self.planned, self.measures, "validation").write(self.path / FRONT)
        if "test" in self.parts:
            front_of_seeds(self.planned, self.measures, "test").write(self.path / TEST_FRONT)
        missing = None
        try:
            draw(self, self.path / FIGURE)
        except MissingExtraError as error:
            missing = str(error)
        with whole_file(self.path / PAGE) as partial:
            partial.write_text(page(self, None if missing else FIGURE), encoding="utf-8")
        write_json(self.path / FILE, self._json())
        return missing

    def _json(self) -> dict[str, Any]:
        efficient = iter(self.front.efficient().tolist())
        chosen = None
        if self.chosen is not None:
            chosen = {
                "words": self.chosen.words, "method": self.chosen.point.method,
                "preference": self.chosen.point.preference, "seed": self.chosen.seed, "run": self.chosen.run,
            }  # fmt: skip
        return {
            "format": FORMAT,
            "measures": [asdict(one) for one in self.measures],
            "reference": {one.task: value for one, value in zip(self.measures, self.reference, strict=True)},
            "given_reference": self.given_reference,
            "hypervolume": {
                method: {part: self.hypervolume(method, part) for part in self.parts} for method in self.methods
            },
            "points": [
                {**point.to_json(), "efficient": next(efficient) if point.planned else None} for point in self.points
            ],
            "baselines": {task: list(own) for task, own in self.baselines.items()},
            "conditioned": list(self.conditioned),
            "failures": dict(self.failures),
            "chosen": chosen,
            **self.facts,
        }


_OWN = {
    "format", "measures", "reference", "given_reference", "hypervolume", "points", "baselines", "conditioned",
    "failures", "chosen",
}  # fmt: skip


def read_tradeoff(folder: Path, *, allow_code: Sequence[str] = ()) -> TradeOff:
    """The front in a folder, as far as its files tell.

    Raises:
        UserError: If the folder holds none, or one of another format.
    """
    file = folder / FILE
    try:
        found = read_json(file)
        if isinstance(found["format"], int) and found["format"] > FORMAT:
            what = f"has format {found['format']}, this polytask reads {FORMAT}"
            raise UserError(Problem(str(file), what, "install the polytask version that wrote it"))
        if found["format"] != FORMAT:
            raise ValueError("it names no known format")
        points = tuple(Reached.from_json(one) for one in found["points"])
        if not points:
            raise ValueError("it has no points")
        measures = TypeAdapter(tuple[Measure, ...]).validate_python(found["measures"])
        result = TradeOff(
            folder, measures, points, tuple(found["reference"][one.task] for one in measures),
            found["given_reference"], {task: tuple(own) for task, own in found["baselines"].items()},
            tuple(found["conditioned"]), dict(found["failures"].items()),
            {key: value for key, value in found.items() if key not in _OWN}, allow_code=tuple(allow_code),
        )  # fmt: skip
        result.front  # noqa: B018  # every point has a score for every measure
        said = found["chosen"]
        if said is None:
            return result
        point = next(
            one for one in points
            if one.method == said["method"] and list(one.preference) == said["preference"]
        )  # fmt: skip
        return replace(result, chosen=Chosen(said["words"], point, said["seed"]))
    except FileNotFoundError as error:
        remedy = "name the folder of a finished front, or a configuration with --out FOLDER"
        raise UserError(Problem(str(folder), f"holds no {FILE}", remedy)) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        what = f"cannot be read ({type(error).__name__}: {error})"
        raise UserError(Problem(str(file), what, "run the same command with --resume: it is written again")) from error
