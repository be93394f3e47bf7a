"""torch-rechub: its own trainer, Dataset and loader on a dict of numpy arrays.

Its multi-layer perceptrons and gates carry batch normalisation that cannot be switched off. Weight decay, which its
trainer sets to 1e-5 unless told otherwise, is 0 as for everybody else.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE, PLE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator, PredictDataset
from typing_extensions import override

from benchmarks.common import Runner, load_arrays


class Rechub(Runner):
    """The library's defaults for everything that the sizes do not fix."""

    distribution: ClassVar[str] = "torch-rechub"

    @override
    def load(self) -> None:
        self.arrays = load_arrays(self.spec.train_file, self.spec)

    @override
    def start(self, seed: int) -> None:
        spec = self.spec
        torch.manual_seed(seed)
        self.cursor = 0
        sizes = zip(self.arrays.ids, spec.table.vocabularies, strict=True)
        features: list[Any] = [SparseFeature(name, size, embed_dim=spec.embedding) for name, size in sizes]
        features += [DenseFeature(name) for name in self.arrays.numerics]
        kinds = ["classification"] * spec.tasks
        experts = {"dims": list(spec.expert_widths)}
        towers = [{"dims": list(spec.towers)} for _ in range(spec.tasks)]
        if spec.architecture == "mmoe":
            model = MMOE(features, kinds, spec.experts, experts, towers)
        else:
            model = PLE(features, kinds, spec.levels, spec.ple_experts, spec.ple_experts, experts, towers)
        self.trainer = MTLTrainer(model, kinds, optimizer_params={"lr": spec.lr, "weight_decay": 0.0}, n_epoch=1)

    @override
    def train(self, rows: int) -> None:
        start, stop = self.next_rows(rows)
        x = {name: values[start:stop] for name, values in self.arrays.features.items()}
        y = self.arrays.labels[start:stop]
        data = DataGenerator(x, y)
        loader, _, _ = data.generate_dataloader(x_val=x, y_val=y, x_test=x, y_test=y, batch_size=self.spec.batch)
        self.trainer.train_one_epoch(loader)

    @override
    def predict(self, rows: int) -> NDArray[np.floating[Any]]:
        x = {name: values[:rows] for name, values in self.heldout.features.items()}
        loader = DataLoader(PredictDataset(x), batch_size=self.spec.batch)
        return np.asarray(self.trainer.predict(self.trainer.model, loader))
