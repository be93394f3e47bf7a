"""DeepCTR-Torch: its own ``fit`` and ``predict`` on a dict of numpy arrays.

``l2_reg_embedding`` is 0 because its default penalises the whole table in every step, which nobody else here does.
Gates are linear and its PLE takes the number of shared experts from ``specific_expert_num``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import MMOE, PLE
from numpy.typing import NDArray
from typing_extensions import override

from benchmarks.common import Runner, load_arrays


class DeepCtr(Runner):
    """The library's defaults for everything that the sizes do not fix."""

    distribution: ClassVar[str] = "deepctr-torch"

    @override
    def load(self) -> None:
        self.arrays = load_arrays(self.spec.train_file, self.spec)

    @override
    def start(self, seed: int) -> None:
        spec = self.spec
        self.cursor = 0
        sizes = zip(self.arrays.ids, spec.table.vocabularies, strict=True)
        columns: list[Any] = [SparseFeat(name, size, embedding_dim=spec.embedding) for name, size in sizes]
        columns += [DenseFeat(name, 1) for name in self.arrays.numerics]
        common: dict[str, Any] = {
            "expert_dnn_hidden_units": spec.expert_widths,
            "gate_dnn_hidden_units": (),
            "tower_dnn_hidden_units": spec.towers,
            "l2_reg_embedding": 0,
            "l2_reg_linear": 0,
            "seed": seed,
            "task_types": ("binary",) * spec.tasks,
            "task_names": spec.labels,
        }
        own = {"shared_expert_num": spec.ple_experts, "specific_expert_num": spec.ple_experts}
        if spec.architecture == "mmoe":
            self.model = MMOE(columns, num_experts=spec.experts, **common)
        else:
            self.model = PLE(columns, num_levels=spec.levels, **own, **common)
        optimizer = torch.optim.Adam(self.model.parameters(), lr=spec.lr)
        self.model.compile(optimizer, loss=["binary_crossentropy"] * spec.tasks)

    @override
    def train(self, rows: int) -> None:
        start, stop = self.next_rows(rows)
        x = {name: values[start:stop] for name, values in self.arrays.features.items()}
        self.model.fit(x, self.arrays.labels[start:stop], batch_size=self.spec.batch, epochs=1, verbose=0)

    @override
    def predict(self, rows: int) -> NDArray[np.floating[Any]]:
        x = {name: values[:rows] for name, values in self.heldout.features.items()}
        return np.asarray(self.model.predict(x, batch_size=self.spec.batch))
