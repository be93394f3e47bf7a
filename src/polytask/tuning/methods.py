"""What is compared: one method per pair of architecture and balancer, each with its own part of the space."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polytask.balancing.interfaces import Scalarizer
from polytask.config import BalancerConfig, Config
from polytask.tuning.place import MISSING, builder_of, options_of, own_value, path_of, with_values
from polytask.tuning.space import Choices, Dimension, Range

RATE, ROWS_RATE = (1e-4, 1e-2), (3e-3, 0.3)
DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 0.1)
DROPOUTS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One line of the leaderboard.

    Attributes:
        name: What tables call it.
        slug: What files call it.
        config: The configuration with its parts.
        space: What of it is searched, by key.
    """

    name: str
    slug: str
    config: Config
    space: Mapping[str, Dimension]

    def budget(self, trials: int) -> int:
        """Trials: as many as every method has, or all there are where the space has fewer points."""
        return int(min(trials, math.prod(one.size for one in self.space.values())))

    def start(self) -> dict[str, Any]:
        """The configuration's own values, as far as they lie in the space."""
        own = {key: own_value(self.config, key) for key in self.space}
        return {key: value for key, value in own.items() if value is not MISSING and self.space[key].has(value)}

    def with_params(self, params: Mapping[str, Any]) -> Config:
        """The configuration of one trial."""
        return with_values(self.config, params)


def applies(config: Config, key: str) -> bool:
    """Whether a method has a key: options of architecture and balancer belong to those that know them."""
    section, option, *_ = path_of(key)
    if section not in ("sharing", "balancer") or option in options_of(config, section):
        return True
    if section == "balancer" and option in BalancerConfig.model_fields and option not in ("use", "options"):
        returned = typing.get_type_hints(builder_of(config, section)).get("return")
        return not (isinstance(returned, type) and issubclass(returned, Scalarizer))  # which compares no gradients
    return False


def usual_space(config: Config, *, ids: bool) -> dict[str, Dimension]:
    """What is searched where the file does not say: rates, decay, dropout, and the size of the architecture.

    Args:
        config: Of one method.
        ids: Whether there are embeddings of ids.
    """
    space: dict[str, Dimension] = {"train.learning_rate": Range(*RATE, log=True)}
    if ids:
        space["train.embedding_learning_rate"] = Range(*ROWS_RATE, log=True)
    space["train.weight_decay"] = Choices(DECAYS)
    for option in ("experts", "shared_experts", "widths", "dropout"):
        own = own_value(config, f"sharing.{option}")
        if option == "dropout" and own is not MISSING:
            space["sharing.dropout"] = Choices(DROPOUTS)
        elif sizes := _sizes(own):
            space[f"sharing.{option}"] = Choices(sizes)
    return space


def _sizes(own: Any) -> tuple[Any, ...]:
    """Half, the same, twice.

    Example:
        >>> _sizes(8), _sizes((128, 64)), _sizes(1), _sizes(None)
        ((4, 8, 16), ((64, 32), (128, 64), (256, 128)), (1, 2), ())
    """
    if isinstance(own, int) and not isinstance(own, bool) and own > 0:
        return tuple(dict.fromkeys((max(1, own // 2), own, 2 * own)))
    if isinstance(own, list | tuple) and own and all(_sizes(one) for one in own):
        scaled = (tuple(max(1, int(one * factor)) for one in own) for factor in (0.5, 1, 2))
        return tuple(dict.fromkeys(scaled))
    return ()
