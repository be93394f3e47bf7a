"""Ships a point: at the end of a run, and later as often as one likes, without training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from polytask.config import Config, load_config
from polytask.errors import Problem, UserError
from polytask.serving import load_bundle
from polytask.tables import open_tables
from polytask.tradeoffs.choice import Wish, best_seed, choose, read_wish
from polytask.tradeoffs.grid import shown
from polytask.tradeoffs.kept import load_front, saved_at
from polytask.tradeoffs.network import model_at
from polytask.tradeoffs.points import Reached
from polytask.tradeoffs.result import BUNDLE, Chosen, TradeOff, read_tradeoff
from polytask.tradeoffs.scoring import scores_at
from polytask.training.deciding import decide_on
from polytask.training.folder import CONFIG
from polytask.training.prepared import Prepared, prepare
from polytask.training.single import part_scores


def choose_again(
    folder: Path, text: str | None, floors: Mapping[str, float], *, allow_code: Sequence[str] = ()
) -> TradeOff:
    """Ships another point of a finished front, and writes its files anew.

    Args:
        folder: Of the front.
        text: A preference or a rule; see `polytask.tradeoffs.choice.read_wish`.
        floors: Per task the worst value of its primary metric that will do.
        allow_code: Modules outside polytask that the configuration names.

    Raises:
        UserError: If the folder holds no front, the wish is none, or no point reaches the floors.
    """
    found = read_tradeoff(folder, allow_code=allow_code)
    wish = read_wish(text, floors, [one.task for one in found.measures], found.methods)
    shipped = ship(found, wish, lambda: _data(folder, found, allow_code))
    shipped.write()
    return shipped


def ship(found: TradeOff, wish: Wish, prepared: Callable[[], Prepared]) -> TradeOff:
    """The front with the point that a wish means, whose bundle is written.

    Args:
        found: The front.
        wish: What is asked for.
        prepared: Gives the data; called where a conditioned model has no scores at this preference yet.

    Raises:
        UserError: If no point reaches the floors.
    """
    found = replace(found, points=(*found.planned, *_asked_for(found, wish, prepared)))
    point = choose(found.points, found.measures, wish)
    found = replace(found, points=tuple(one for one in found.points if one.planned or one is point))
    number = best_seed(point, found.measures, wish)
    chosen = Chosen(wish.words, point, point.seeds[number])
    _export(found, chosen, prepared)
    return replace(found, chosen=chosen)


def _asked_for(found: TradeOff, wish: Wish, prepared: Callable[[], Prepared]) -> list[Reached]:
    """Points of conditioned models at a preference that is not among those planned."""
    points = []
    for method in found.conditioned if wish.preference is not None else ():
        own = [point for point in found.planned if point.method == method]
        if wish.method not in (None, method) or not own or any(one.preference == wish.preference for one in own):
            continue
        assert wish.preference is not None
        first = own[0]
        scores = tuple(
            scores_at(found.path / run, [wish.preference], prepared, allow_code=found.allow_code)[0]
            for run in first.runs
        )
        points.append(Reached(method, wish.preference, first.seeds, first.runs, scores, planned=False))
    return points


def _export(found: TradeOff, chosen: Chosen, prepared: Callable[[], Prepared]) -> None:
    """Writes the bundle, and into its card where it comes from."""
    run, target = found.path / chosen.run, found.path / BUNDLE
    if chosen.point.method in found.conditioned:
        front, bundle, method = load_front(run, allow_code=found.allow_code)
        model, preference = model_at(front, chosen.point.preference), chosen.point.preference
        shipped = saved_at(bundle.config, bundle.preprocessor, model, chosen.scores, method, preference)
    else:
        shipped = load_bundle(run, allow_code=found.allow_code)
    wished = load_config(found.path / CONFIG, allow_code=found.allow_code)
    if asks_decisions(wished):  # points are compared without
        data = prepared()
        config = shipped.config.model_copy(update={"tasks": wished.tasks, "fusion": wished.fusion})
        decisions = decide_on(config, shipped.model, data, found.path, _warn)
        scores = part_scores(shipped.model, data, decisions)
        shipped = replace(shipped, config=config, decisions=decisions, scores=scores)
    shipped.save(target)
    tasks = ", ".join(one.task for one in found.measures)
    text = (
        f"\n## Trade-off\n\nOne of {len(found.planned)} points of a front between {tasks}, made by "
        f"`{chosen.point.method}` for the preference {shown(chosen.point.preference)}; chosen on validation rows by "
        f"{chosen.words}.\n"
    )
    with (target / "MODEL_CARD.md").open("a", encoding="utf-8") as card:
        card.write(text)


def _warn(problem: Problem) -> None:
    if problem.severity == "warning":
        warnings.warn(str(problem), stacklevel=2)


def asks_decisions(config: Config) -> bool:
    """Whether predictions are calibrated, cut at thresholds or fused, which is fitted for every model anew."""
    own = any(task.calibrate != "none" or task.threshold is not None for task in config.tasks.values())
    return own or config.fusion is not None


def _data(folder: Path, found: TradeOff, allow_code: Sequence[str]) -> Prepared:
    """The rows of the front, encoded as its models read them."""
    config = load_config(folder / CONFIG, allow_code=allow_code)
    if config.data.source == "memory":
        what = "the front was made of a table in memory, and this choice needs its rows again"
        raise UserError(Problem("--choose", what, "choose one of the points, or a rule"))
    bundle = load_bundle(folder / found.points[0].runs[0], allow_code=allow_code)
    return prepare(open_tables(config), buffer=config.train.shuffle_buffer, preprocessor=bundle.preprocessor)
