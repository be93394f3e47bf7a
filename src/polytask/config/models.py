"""The typed form of the TOML file: one frozen model per table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_serializer, model_validator

from polytask.config.base import Fraction, Names, Positive, Table, Values
from polytask.config.data import DataConfig, FeatureOptions
from polytask.config.deciding import FusionConfig, ThresholdRule
from polytask.specs import LabelSpec


class _WithOptions(Table):
    """A table whose keys beyond the fields are options of a builder; they are checked against its signature."""

    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, table: object) -> object:
        if not isinstance(table, Mapping) or set(table) <= set(cls.model_fields):
            return table
        own = {key: value for key, value in table.items() if key in cls.model_fields and key != "options"}
        return {**own, "options": {key: value for key, value in table.items() if key not in own}}

    @model_serializer(mode="plain")
    def _flatten(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "options"}
        return {**fields, **self.options}


class TaskConfig(_WithOptions):
    """One objective.

    Attributes:
        kind: ``binary``, ``multiclass``, ``ordinal``, ``regression`` or ``count``.
        label: A column, or an expression over columns; a missing value means "not observed".
        where: The sample space, an expression: rows outside it are not observed.
        after: A task that must happen before this one; both are binary.
        weight: A column of non-negative sample weights.
        group: A column of user or query ids (for GAUC).
        kpi: The metric that balancers may follow (``dtp``), one of those whose best value is 1; by default the task's
            primary one, or its improvement over the constant prediction.
        classes: The label's values in class order, where they are not 0, 1, ...; for ``binary``: negative, positive.
        calibrate: How predictions are calibrated on the validation rows: ``isotonic`` or ``platt`` for binary tasks,
            ``temperature`` for tasks with classes.
        threshold: Where predictions of a binary task say yes: a number, ``f1``, ``youden``, or a table with one of
            ``precision``, ``recall``, ``rate`` and ``cost``.
        options: Options of the task's builder (``positive_weight``, ``loss``, ...).
    """

    kind: str
    label: Annotated[str, Field(min_length=1)]
    where: str | None = None
    after: str | None = None
    weight: str | None = None
    group: str | None = None
    kpi: str | None = None
    classes: Values | None = None
    calibrate: Literal["isotonic", "platt", "temperature", "none"] = "none"
    threshold: ThresholdRule | None = None


class ComponentConfig(_WithOptions):
    """A part chosen by name.

    Attributes:
        use: A name from `polytask list`, or an import path ``"package.module:function"``.
        options: Options of that builder.
    """

    use: str


class BalancerConfig(ComponentConfig):
    """How the tasks' losses or gradients are joined.

    Attributes:
        use: A name from `polytask list balancers`, or an import path ``"package.module:function"``.
        at: Where gradients are compared; ``None`` leaves it to the balancer.
        every: Steps between two computations of the weights; in between they are used again.
        share: Share of a batch's rows on which gradients are compared.
        options: Options of that builder.
    """

    at: Literal["representation", "last_layer", "parameters"] | None = None
    every: Positive = 1
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


class TowersConfig(_WithOptions):
    """The per-task towers between sharing and heads; all keys are options of their builder."""


class TrainConfig(Table):
    """How long and how fast to train, and what to repeat.

    Attributes:
        epochs: Passes over the training rows.
        steps: At most so many optimizer steps, however many ``epochs`` would take.
        batch_size: Rows a step.
        micro_batches: Pieces in which a step's rows are computed, to save memory; the step is the same.
        learning_rate: Peak learning rate.
        embedding_learning_rate: Peak learning rate of the embedding rows (row-wise Adagrad).
        embedding_weight_decay: Decoupled decay of the embedding rows that a batch touches.
        embedding_initial: Start of the row-wise Adagrad accumulators: damps the first steps of rare rows.
        weight_decay: Decoupled weight decay of matrices.
        warmup: Share of all steps in which the learning rate rises from 0.
        decay: How it falls afterwards.
        clip_norm: Largest norm of a gradient.
        non_finite: What a loss or a gradient that is NaN or infinite does: ``stop`` ends training, ``skip`` leaves the
            step out; after 20 such steps in a row training stops all the same.
        patience: Evaluations without a better validation score before training stops; 0 never stops early.
        evaluate_every: Steps between evaluations; ``None`` evaluates after each epoch.
        checkpoint_every: Steps between checkpoints.
        seed: The first seed.
        seeds: Runs with so many consecutive seeds.
        baselines: Also train one network per task, with the same budget.
        precision: ``bf16`` computes in bfloat16 and keeps float32 weights.
        device: ``auto`` takes CUDA where there is one.
        threads: CPU threads; ``None`` leaves torch's choice.
        shuffle_buffer: Rows in the shuffle buffer; bounds the memory of reading.
        compile: Compile the model with ``torch.compile``.
        warm_start: A bundle whose weights to start from.
        probe: Steps between probes of gradients and gates; 0: none. By default there are about 20 of a run's model, and
            none of baselines and comparisons.
        probe_affinity: Whether probes measure the look-ahead affinity of tasks as well.
        diagnostics: Write ``diagnostics.json`` at the end.
        segment: A column with few values, for whose values gates and scores are shown apart.
        log: Loggers: ``tensorboard``, ``mlflow``, ``wandb``, or an import path ``"package.module:function"``.
        selection: Weights of tasks in the score that selects the weights of the model; 1 for a task without.
    """

    epochs: Positive = 10
    steps: Positive | None = None
    batch_size: Positive = 1024
    micro_batches: Positive = 1
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    embedding_learning_rate: Annotated[float, Field(gt=0.0)] = 0.03
    embedding_weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    embedding_initial: Annotated[float, Field(ge=0.0)] = 0.0
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    warmup: Fraction = 0.05
    decay: Literal["cosine", "linear", "none"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0.0)] | None = None
    non_finite: Literal["stop", "skip"] = "stop"
    patience: Annotated[int, Field(ge=0)] = 3
    evaluate_every: Positive | None = None
    checkpoint_every: Positive = 500
    seed: Annotated[int, Field(ge=0)] = 0
    seeds: Positive = 1
    baselines: bool = False
    precision: Literal["float32", "bf16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive | None = None
    shuffle_buffer: Positive = 262_144
    compile: bool = False
    warm_start: str | None = None
    probe: Annotated[int, Field(ge=0)] | None = None
    probe_affinity: bool = False
    diagnostics: bool = True
    segment: str | None = None
    log: Names = ()
    selection: dict[str, Annotated[float, Field(ge=0.0)]] | None = None


class Config(Table):
    """A whole training configuration.

    Attributes:
        data: Where the rows come from.
        features: Options per column; the entry ``defaults`` holds for all of them.
        tasks: The objectives, in the order of their outputs.
        encoder: Columns to a vector.
        sharing: The vector to one representation per task.
        penalty: What pulls together the parameters that belong to single tasks; none by default.
        towers: What stands between sharing and heads.
        chain: How tasks with ``after`` are learnt.
        balancer: How the tasks' losses or gradients are joined.
        train: How long, how fast, what to repeat.
        fusion: One ranking score from all predictions; none by default.

    Example:
        >>> config = Config.model_validate(
        ...     {"data": {"source": "log.parquet"}, "tasks": {"click": {"kind": "binary", "label": "is_click"}}}
        ... )
        >>> config.sharing.use, config.train.batch_size
        ('mmoe', 1024)
    """

    data: DataConfig
    features: dict[str, FeatureOptions] = Field(default_factory=dict)
    tasks: Annotated[dict[str, TaskConfig], Field(min_length=1)]
    encoder: ComponentConfig = ComponentConfig(use="table")
    sharing: ComponentConfig = ComponentConfig(use="mmoe")
    penalty: ComponentConfig | None = None
    towers: TowersConfig = TowersConfig()
    chain: ComponentConfig | None = None
    balancer: BalancerConfig = BalancerConfig(use="equal")
    train: TrainConfig = TrainConfig()
    fusion: FusionConfig | None = None
    _relative_to: Path = PrivateAttr(default_factory=Path)
    _allow_code: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _default_use(cls, table: object) -> object:
        """A table that only sets options means the default part: ``[sharing] experts = 4`` is MMoE."""
        if not isinstance(table, Mapping):
            return table
        parts = {name: cls.model_fields[name].default.use for name in ("encoder", "sharing", "balancer")}
        parts["chain"] = "plain"
        filled = {
            name: {"use": use, **table[name]}
            for name, use in parts.items()
            if isinstance(table.get(name), Mapping) and "use" not in table[name]
        }
        return {**table, **filled}

    @property
    def relative_to(self) -> Path:
        """The folder that relative paths start from: where the TOML file lies."""
        return self._relative_to

    @property
    def allow_code(self) -> tuple[str, ...]:
        """Modules outside polytask whose functions the configuration may name; never stored in the file."""
        return self._allow_code

    def placed(self, relative_to: Path, *, allow_code: tuple[str, ...] | None = None) -> Config:
        """The same configuration with another folder for relative paths, or other modules allowed."""
        copy = self.model_copy()
        copy._relative_to = relative_to
        copy._allow_code = self._allow_code if allow_code is None else allow_code
        return copy

    def feature(self, column: str) -> FeatureOptions:
        """The options of one column, with ``[features.defaults]`` filled in."""
        return self.features.get(column, FeatureOptions()).over(self.features.get("defaults", FeatureOptions()))

    def labels(self) -> tuple[LabelSpec, ...]:
        """What the data room must know of the tasks, in their order."""
        return tuple(self._label(name) for name in self.tasks)

    def _label(self, name: str) -> LabelSpec:
        task = self.tasks[name]
        after = None if task.after is None else self._label(task.after)
        return LabelSpec(name, task.kind, task.label, task.where, task.weight, task.group, task.classes, after)
