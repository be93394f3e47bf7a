"""A model from a table in memory: the loop of `polytask.fit` without a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from polytask.config import Config
from polytask.serving import Bundle
from polytask.tables import open_tables
from polytask.training.loop import EvaluationRecord, Record
from polytask.training.prepared import prepare
from polytask.training.single import new_training

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        bundle: The model with its preprocessing.
        history: Steps and evaluations.
    """

    bundle: Bundle
    history: tuple[Record, ...]


def train_in_memory(config: Config, table: pa.Table, train: Rows, validation: Rows) -> Trained:
    """Trains on some rows of a table; torch's own random state is left as it was.

    Args:
        config: What to train.
        table: Features and labels.
        train: Rows that train.
        validation: Rows that select the weights and end training. Without any, the last weights are kept, and
            evaluations are on the training rows.

    Raises:
        UserError: Options or columns are at fault, or a loss is not finite.
    """
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    if not len(validation):
        config = config.model_copy(update={"train": config.train.model_copy(update={"patience": 0})})
    parts = table.take(train), table.take(validation if len(validation) else train)
    best = {}
    with torch.random.fork_rng(devices=[]):
        prepared = prepare(open_tables(config, parts[0], validation=parts[1]), buffer=config.train.shuffle_buffer)
        training = new_training(config, prepared, config.train.seed)
        history = []
        for record in training:
            history.append(record)
            if len(validation) and isinstance(record, EvaluationRecord) and record.best:
                best = {name: value.clone() for name, value in training.model.state_dict().items()}
                scores = record.scores
    if best:
        training.model.load_state_dict(best)
    known = {"validation": scores} if best else {}
    return Trained(Bundle(config, prepared.preprocessor, training.model.cpu().eval(), known), tuple(history))


def divided(rows: int, share: float, codes: Sequence[Rows], draw: np.random.RandomState) -> tuple[Rows, Rows]:
    """Rows that train and rows that validate, by chance; every class keeps a row that trains.

    Args:
        rows: How many there are.
        share: The part that validates.
        codes: Per task with classes, the class of every row; -1 where it has none.
        draw: Where chance comes from.

    Example:
        >>> train, validation = divided(10, 0.2, [np.array([0] * 9 + [1])], np.random.RandomState(0))
        >>> len(train), len(validation), 9 in train
        (8, 2, True)
    """
    order = draw.permutation(rows)
    if not share:
        return order, order[:0]
    kept = np.zeros(rows, np.bool_)
    for own in codes:
        found, first = np.unique(own[order], return_index=True)
        kept[first[found >= 0]] = True
    movable = np.flatnonzero(~kept)
    taken = movable[: max(1, round(share * rows))]
    return np.sort(np.delete(order, taken)), np.sort(order[taken])
