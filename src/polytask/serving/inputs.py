"""Raw rows as the tensors that a bundle's model reads, for those who take the model apart."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from polytask.data.reader import to_batch
from polytask.data.sources import open_source
from polytask.serving.bundle import Bundle
from polytask.types import Features


def model_inputs(bundle: Bundle, data: Any) -> Features:
    """Raw rows as what ``bundle.model`` and its ``encoder`` read, on the device of the model; all rows at once.

    Args:
        bundle: The model with its preprocessing.
        data: Anything that `open_source` opens: a path, a DataFrame, an Arrow table, a mapping of arrays.

    Raises:
        UserError: The data lacks columns, they have other types, or there are no rows.

    Example:
        >>> import numpy as np, polytask
        >>> from polytask.serving import model_inputs
        >>> table = {"x": np.arange(200.0), "buys": np.arange(200) % 2}
        >>> bundle = polytask.fit(table, tasks="buys", train={"epochs": 1}, verbose=False).bundle
        >>> bundle.model.encoder(model_inputs(bundle, {"x": [1.0, 2.0, 3.0]})).shape[0]
        3
    """
    source = open_source(data)
    bundle.preprocessor.check(source.schema, labels=False)
    table = pa.Table.from_batches(list(source.scan(bundle.preprocessor.feature_columns())))
    (rows,) = table.unify_dictionaries().combine_chunks().to_batches()
    features = to_batch(bundle.preprocessor.encode(rows), bundle.preprocessor).features
    return features.to(next(bundle.model.parameters()).device)
