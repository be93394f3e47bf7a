"""Permutation importance: what a task's loss gains when a feature says nothing any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from polytask.data.block import Block
from polytask.data.preprocessor import Preprocessor
from polytask.data.reader import to_batch
from polytask.evaluation.predicted import predict_observed
from polytask.model import Model
from polytask.types import TaskName

MOST_ROWS, FEWEST_ROWS = 5_000, 500
MOST_REPEATS, FEWEST_REPEATS = 3, 2
BUDGET = 300_000
"""Rows that go through the model for all features together: many features have fewer repeats and rows each."""


@dataclass(frozen=True, slots=True)
class Importance:
    """How much worse a task is predicted without what one column says.

    Attributes:
        rise: Mean rise of the task's loss over the repeats, as a share of the loss; NaN where it is undefined.
        spread: Standard deviation over the repeats.
    """

    rise: float
    spread: float


@dataclass(frozen=True, slots=True)
class Importances:
    """All features and tasks.

    Attributes:
        rows: Rows that they rest on.
        repeats: Permutations of each column.
        tasks: Per task, per raw column.
    """

    rows: int
    repeats: int
    tasks: Mapping[TaskName, Mapping[str, Importance]]


def permutation_importance(model: Model, preprocessor: Preprocessor, block: Block, *, seed: int = 0) -> Importances:
    """Shuffles the values of one raw column after the other, and looks at the loss of every task.

    A column of which the others tell as much has none, however much the model reads it: importance is of this model on
    these rows. The loss is that of the predictions which selects weights, not the training loss.

    Paper: Breiman, "Random Forests", Machine Learning 2001 (section 10); as a share of the loss, Fisher, Rudin and
    Dominici, "All Models are Wrong, but Many are Useful", JMLR 2019.

    Args:
        model: In any mode; it is put back into it.
        preprocessor: How the rows were encoded.
        block: Encoded, labelled rows; at most 5,000 of them are used.
        seed: Decides which rows, and the permutations, the same for all columns.
    """
    places = preprocessor.places()
    columns = max(len(places), 1)
    rows = min(len(block), MOST_ROWS)
    repeats = MOST_REPEATS if columns * rows * MOST_REPEATS <= BUDGET else FEWEST_REPEATS
    rows = min(rows, max(FEWEST_ROWS, BUDGET // (columns * repeats)))
    chance = np.random.default_rng(seed)
    block = block.take(chance.permutation(len(block))[:rows])  # the first ones may be of one day, or of one user
    orders = [chance.permutation(rows) for _ in range(repeats)]
    training = model.training
    model.eval()

    def losses(one: Block) -> dict[TaskName, float]:
        return {name: made.loss for name, made in predict_observed(model, to_batch(one, preprocessor)).items()}

    before = losses(block)
    tasks: dict[TaskName, dict[str, Importance]] = {name: {} for name in before}
    for column, place in places.items():
        after = [losses(_shuffled(block, column, place, order)) for order in orders]
        for name, loss in before.items():
            rises = np.array([(one[name] - loss) / loss if loss > 0 else np.nan for one in after])
            tasks[name][column] = Importance(float(rises.mean()), float(rises.std()))
    model.train(training)
    return Importances(rows, repeats, tasks)


def _shuffled(block: Block, column: str, place: tuple[slice, slice], order: npt.NDArray[np.int64]) -> Block:
    """The same rows with the encoded values of one raw column in another order."""
    ids, numeric = block.ids.copy(), block.numeric.copy()
    for values, own in ((ids, place[0]), (numeric, place[1])):
        values[:, own] = values[order, own]
    sequences = dict(block.sequences)
    if column in sequences:
        sequences[column] = replace(block, sequences={column: sequences[column]}).take(order).sequences[column]
    return replace(block, ids=ids, numeric=numeric, sequences=sequences)
