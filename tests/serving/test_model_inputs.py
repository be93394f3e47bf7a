from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import polytask
from polytask.serving import model_inputs


def test_a_model_taken_apart_predicts_what_its_bundle_predicts(table: pa.Table) -> None:
    options: dict[str, Any] = {"train": {"epochs": 1}, "drop": ["topic", "stars", "visits", "weight"]}
    bundle = polytask.fit(table, tasks=["click", "spend"], **options, verbose=False).bundle
    inputs = model_inputs(bundle, table.to_pandas())
    model = bundle.model
    with torch.inference_mode():
        rows = model.sharing(model.encoder(inputs)).value
        logits = model.heads(model.towers(rows))
        predicted = model.predict(inputs)["spend"]
    np.testing.assert_allclose(predicted, bundle.predict(table)["spend"], rtol=1e-5)
    np.testing.assert_allclose(torch.sigmoid(logits[0][0, :, 0]), bundle.predict(table)["click"], rtol=1e-5)
    with pytest.raises(polytask.UserError, match="column 'age': is missing"):
        model_inputs(bundle, table.drop_columns("age"))
