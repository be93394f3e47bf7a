"""Decisions as sentences, for model cards and terminals."""

from __future__ import annotations

from polytask.decisions.decisions import Calibrated, Decisions
from polytask.decisions.fusion import Fusion
from polytask.decisions.threshold import Rule, Threshold


def in_words(decisions: Decisions) -> list[str]:
    """One line per calibration, threshold and score, with what it reached on the rows that it was fitted on.

    Example:
        >>> in_words(Decisions(thresholds={"like": Threshold(0.25, "f1", {"precision": 0.5, "recall": 1.0})}))
        ['like: yes from 0.25 on (f1), with precision 0.5 and recall 1']
    """
    lines = [_calibrated(name, own) for name, own in decisions.calibration.items()]
    lines += [_cut(name, own) for name, own in decisions.thresholds.items()]
    return lines + ([] if decisions.fusion is None else [_fused(decisions.fusion)])


def rule_text(rule: Rule) -> str:
    """A rule as the file says it.

    Example:
        >>> rule_text({"cost": (1.0, 5.0)}), rule_text(0.5)
        ('cost 1 : 5', 'given')
    """
    if isinstance(rule, dict):
        ((name, wanted),) = rule.items()
        return f"{name} {' : '.join(f'{one:g}' for one in wanted) if isinstance(wanted, tuple) else f'{wanted:g}'}"
    return rule if isinstance(rule, str) else "given"


def number(value: float | None) -> str:
    """Four digits, or a dash.

    Example:
        >>> number(0.123456), number(None)
        ('0.1235', '-')
    """
    return "-" if value is None else f"{value:.4g}"


def _calibrated(name: str, own: Calibrated) -> str:
    change = [f"{number(own.before.get(one))} to {number(own.after.get(one))}" for one in ("log_loss", "ece")]
    what = f"{own.map.method} calibration on {own.rows:,} rows"
    return f"{name}: {what}, cross-fitted log loss {change[0]}, ECE {change[1]}"


def _cut(name: str, own: Threshold) -> str:
    reached = " and ".join(f"{key} {number(own.reached.get(key))}" for key in ("precision", "recall"))
    missed = ", which is not what was asked for" if own.met is False else ""
    return f"{name}: yes from {own.value:.4g} on ({rule_text(own.rule)}), with {reached}{missed}"


def _fused(fusion: Fusion) -> str:
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in fusion.weights.items())
    aim = f"{fusion.objective} {number(fusion.reached.get('objective'))} of `{fusion.value}` within `{fusion.group}`"
    floors = [f"{task} {number(fusion.reached.get(task))} (floor {least:g})" for task, least in fusion.floors.items()]
    ranked = f"; ranks {', '.join(floors)}" if floors else ""
    return f"score: {fusion.form} of the predictions with weights {weights}; {aim}{ranked}"
