"""Typed TOML: what a training run is, with every mistake of the file reported at once."""

from polytask.config.components import Option, asked_for, check_options, describe_options, find, placed, resolve
from polytask.config.data import DataConfig, FeatureOptions, SplitConfig, SplitValues
from polytask.config.deciding import FusionConfig, threshold_rule, undecided
from polytask.config.loading import (
    PROVIDED,
    apply_overrides,
    component_problems,
    load_config,
    parse_config,
    read_toml,
)
from polytask.config.models import BalancerConfig, ComponentConfig, Config, TaskConfig, TowersConfig, TrainConfig
from polytask.config.paths import absolute, simulator_name, source_kind
from polytask.config.sections import parse_section, read_sound_section, read_with_section
from polytask.config.writing import dump_config

__all__ = [
    "load_config",
    "parse_config",
    "read_toml",
    "apply_overrides",
    "component_problems",
    "parse_section",
    "read_sound_section",
    "read_with_section",
    "dump_config",
    "absolute",
    "source_kind",
    "simulator_name",
    "Config",
    "DataConfig",
    "SplitConfig",
    "SplitValues",
    "FeatureOptions",
    "TaskConfig",
    "BalancerConfig",
    "ComponentConfig",
    "TowersConfig",
    "TrainConfig",
    "FusionConfig",
    "threshold_rule",
    "undecided",
    "placed",
    "resolve",
    "find",
    "check_options",
    "asked_for",
    "describe_options",
    "Option",
    "PROVIDED",
]
