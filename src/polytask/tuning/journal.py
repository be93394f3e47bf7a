"""The one file of a sweep: an Optuna journal with a study per method."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.errors import MissingExtraError, Problem, UserError
from polytask.files import finite
from polytask.tuning.methods import Method
from polytask.tuning.space import Choices, Dimension
from polytask.tuning.trial import Objective, Outcome

INDEX, OUTCOME, SETTINGS = "trial", "outcome", "sweep"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a method.

    Attributes:
        index: Its number within the method.
        params: The values that it tries, by key.
        outcome: What came of it; None while it runs.
    """

    index: int
    params: Mapping[str, Any]
    outcome: Outcome | None = None


def load_optuna() -> Any:
    """The package, without its remarks.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        optuna = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna", extra="tune", purpose="polytask sweep") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def calm(optuna: Any) -> Iterator[None]:
    """Optuna's notes that something is experimental or unusual are not the user's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"optuna\..*")
        yield


class Journal:
    """Reads and writes the file; one process does.

    A trial is kept when it is finished: one that was interrupted is forgotten, and its number is given again. Optuna's
    own tools can open the file.

    Args:
        file: The journal; made if it is not there.
        methods: A study for each.
        objectives: Directions of the studies.
        settings: What must not change between two visits.

    Raises:
        UserError: The file cannot be read, or was begun with other settings; every difference is named.
    """

    def __init__(
        self, file: Path, methods: Sequence[Method], objectives: Sequence[Objective], settings: Mapping[str, Any]
    ) -> None:
        self._optuna, self._objectives, self._file = load_optuna(), objectives, file
        _heal(file)
        journal = importlib.import_module("optuna.storages.journal")
        with calm(self._optuna), self._readable():
            storage = self._optuna.storages.JournalStorage(journal.JournalFileBackend(str(file)))
        directions = ["maximize" if one.higher_is_better else "minimize" for one in objectives]
        known = set(self._optuna.get_all_study_names(storage))
        own = {method.slug: {**settings, "space": _toml(method.space)} for method in methods}
        found = {
            slug: self._optuna.load_study(study_name=slug, storage=storage).user_attrs.get(SETTINGS)
            for slug in own
            if slug in known
        }
        problems = [
            problem for slug, before in found.items() if before is not None for problem in _changes(before, own[slug])
        ]
        if problems:
            raise UserError(dict.fromkeys(problems))
        self._studies = {}
        for slug, attributes in own.items():
            study = self._optuna.create_study(
                study_name=slug, storage=storage, directions=directions, load_if_exists=True
            )
            if found.get(slug) is None:
                study.set_user_attr(SETTINGS, json.loads(json.dumps(attributes)))
            self._studies[slug] = study
        self._open: dict[tuple[str, int], Any] = {}

    def finished(self, method: Method) -> dict[int, Trial]:
        """The trials of earlier visits, by their numbers; those that did not end are closed."""
        study, found = self._studies[method.slug], dict[int, Trial]()
        states = self._optuna.trial.TrialState
        while study.get_trials(deepcopy=False, states=(states.WAITING,)):  # a crash came between its two lines
            study.ask()
        for one in study.get_trials(deepcopy=False):
            if one.state == states.RUNNING:
                study.tell(one.number, state=states.FAIL)
            elif one.state.is_finished() and OUTCOME in one.user_attrs:
                with self._readable():
                    index, outcome = int(one.user_attrs[INDEX]), Outcome.from_json(one.user_attrs[OUTCOME])
                    params = {key: method.space[key].decoded(value) for key, value in one.params.items()}
                found[index] = Trial(index, params, outcome)
        return found

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """What Optuna and we raise over a damaged file is said of the file."""
        try:
            yield
        except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
            what = f"is damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            remedy = "restore it, or delete it: the sweep then begins anew"
            raise UserError(Problem(str(self._file), what, remedy)) from error

    def begin(self, method: Method, trial: Trial) -> None:
        """A trial begins."""
        study = self._studies[method.slug]
        with calm(self._optuna):
            study.enqueue_trial(encoded(method.space, trial.params), user_attrs={INDEX: trial.index})
            self._open[method.slug, trial.index] = study.ask(distributions(self._optuna, method.space))

    def end(self, method: Method, index: int, outcome: Outcome) -> None:
        """A trial is over."""
        states, one = self._optuna.trial.TrialState, self._open.pop((method.slug, index))
        one.set_user_attr(OUTCOME, finite(outcome.json()))
        if len(self._objectives) == 1:  # Optuna has no curves of several objectives
            for step, (gain,) in zip(outcome.steps, outcome.curve, strict=True):
                one.report(gain if self._objectives[0].higher_is_better else -gain, step)
        study = self._studies[method.slug]
        if outcome.state == "complete":
            study.tell(one, list(outcome.values))
        else:
            study.tell(one, state=states.PRUNED if outcome.state == "pruned" else states.FAIL)


def distributions(optuna: Any, space: Mapping[str, Dimension]) -> dict[str, Any]:
    """The space in Optuna's words."""
    kinds, found = optuna.distributions, {}
    for key, one in space.items():
        if isinstance(one, Choices):
            found[key] = kinds.CategoricalDistribution([one.encoded(value) for value in one.values])
        elif one.whole:
            found[key] = kinds.IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
        else:
            found[key] = kinds.FloatDistribution(one.low, one.high, log=one.log, step=one.step)
    return found


def encoded(space: Mapping[str, Dimension], params: Mapping[str, Any]) -> dict[str, Any]:
    """Values in Optuna's words."""
    return {key: space[key].encoded(value) for key, value in params.items()}


def _toml(space: Mapping[str, Dimension]) -> dict[str, Any]:
    return {key: one.toml() for key, one in space.items()}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Problem]:
    now = json.loads(json.dumps(now))
    changed = [
        (f"sweep.{key}", before.get(key), now.get(key)) for key in sorted({*before, *now} - {"space"})
    ] + [
        (f'sweep.space."{key}"', before["space"].get(key), now["space"].get(key))
        for key in sorted({*before["space"], *now["space"]})
    ]  # fmt: skip
    return [
        Problem(
            where,
            f"was {_shown(old)} when this sweep was begun, is {_shown(new)} now",
            "set it back, or use a new --out",
        )
        for where, old, new in changed
        if old != new
    ]


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value)


def _heal(file: Path) -> None:
    """Removes a last line that a crash left half written: what is appended to it would spoil the file."""
    if not file.exists():
        return
    text = file.read_bytes()
    if text and not text.endswith(b"\n"):
        with file.open("r+b") as stream:
            stream.truncate(text.rfind(b"\n") + 1)
