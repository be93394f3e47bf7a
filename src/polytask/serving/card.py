"""The model card: what a bundle is, in words and numbers that people read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from polytask.config import Config
from polytask.data.preprocessor import Preprocessor
from polytask.decisions import Decisions, in_words
from polytask.model import Model


def model_card(
    config: Config, preprocessor: Preprocessor, model: Model, scores: Mapping[str, Any], decisions: Decisions
) -> str:
    """Markdown: tasks, decisions, scores, inputs, configuration."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        f"# {' + '.join(preprocessor.tasks)}",
        "",
        f"One {config.sharing.use} model for {len(preprocessor.tasks)} task(s), balanced by `{config.balancer.use}`, "
        f"{parameters:,} parameters, trained with polytask.",
        "",
        "## Tasks",
        "",
        "| task | kind | label | sample space | observed training rows | mean label |",
        "|---|---|---|---|---|---|",
    ]
    for label in preprocessor.labels:
        stats, spec = preprocessor.stats[label.spec.task], label.spec
        where = f"`{spec.where}`" if spec.where else f"after {spec.after.task}" if spec.after else "all rows"
        lines.append(f"| {spec.task} | {spec.kind} | `{spec.label}` | {where} | {stats.rows:,} | {stats.mean:.4g} |")
    if decisions:
        lines += ["", "## Decisions", "", "Fitted on validation rows; predictions go through them.", ""]
        lines += [f"- {line}." for line in in_words(decisions)]
    for part, tasks in scores.items():
        lines += ["", f"## Scores on the {part} part", "", "| task | metric | value |", "|---|---|---|"]
        for task, metrics in tasks.items():
            lines += [
                f"| {task} | {metric} | {value:.5g} |"
                for metric, value in metrics.items()
                if value is not None and not math.isnan(value)
            ]
    columns = ", ".join(f"`{name}`" for name in preprocessor.feature_columns())
    lines += ["", "## Inputs", "", f"{len(preprocessor.columns)} columns: {columns}.", ""]
    lines += [
        "Unseen categories share one embedding row, missing ones another; missing numbers are imputed.",
        "",
        "The exact configuration is in `config.toml`.",
        "",
    ]
    return "\n".join(lines)
