"""What the ranks say, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.reproduce.neutral.experiment import EQUAL, STATIC
from polytask.reproduce.neutral.ranks import Ranking

NAMES = {STATIC: "tuned static weights", EQUAL: "equal weights"}


def verdict(ranking: Ranking, over: Ranking, *, level: float) -> list[str]:
    """Sentences: whether methods differ at all, and which are better or worse than static and than equal weights.

    Args:
        ranking: Over data sets and seeds.
        over: Over data sets.
        level: Of the tests.
    """
    said = [_friedman(ranking, "data sets and seeds", level), _friedman(over, "data sets alone", level)]
    for control in (STATIC, EQUAL):
        said += compared(ranking, control, level=level)
    ordered = sorted(ranking.mean.items(), key=lambda item: item[1])
    place = [name for name, _ in ordered].index(STATIC) + 1
    (first, lowest), own = ordered[0], ranking.mean[STATIC]
    said.append(
        f"The lowest mean rank has {NAMES.get(first, first)} ({lowest:.1f} of {len(ordered)}); tuned static weights "
        f"are number {place} ({own:.1f}), equal weights have {ranking.mean[EQUAL]:.1f}."
    )
    return said


def compared(ranking: Ranking, control: str, *, level: float) -> list[str]:
    """Who is better and who is worse than a control, by Holm's procedure.

    Args:
        ranking: Has the control.
        control: Its name.
        level: Of the tests.
    """
    mean = ranking.mean
    far = [name for name, p in ranking.against(control).items() if p < level]
    better = sorted((name for name in far if mean[name] < mean[control]), key=mean.__getitem__)
    worse = sorted((name for name in far if mean[name] > mean[control]), key=mean.__getitem__)
    title, at = NAMES[control], f"at {100 * level:g} %"
    said = (
        [_sentence(better, "better", title, at)]
        if better
        else [f"No balancer is significantly better than {title} {at}."]
    )
    return [*said, _sentence(worse, "worse", title, at) if worse else f"None is significantly worse than {title} {at}."]


def _sentence(names: Sequence[str], how: str, control: str, at: str) -> str:
    verb = "is" if len(names) == 1 else "are"
    return f"Significantly {how} than {control} {at} {verb} {', '.join(NAMES.get(name, name) for name in names)}."


def _friedman(ranking: Ranking, blocks: str, level: float) -> str:
    held = "differ" if ranking.p < level else "are not shown to differ"
    count, methods = ranking.ranks.shape
    return (
        f"Over {blocks} the {methods} methods {held} (Friedman, {count} blocks: chi-square {ranking.statistic:.1f}, "
        f"p = {ranking.p:.2g})."
    )
