"""Aggregators in whole trainings of a table, with labels that are missing in places."""

from copy import deepcopy

import pytest
import torch

from polytask.training.checkpoint import load_state, save_state
from polytask.training.single import new_training

OPTIONS = {
    "trimmed_mean": {"share": 0.34},
    "graddrop": {"leak": {"click": 0.1, "spend": 0.0, "visits": 0.2}},
    "excess_mtl": {"learning_rate": 0.1},
    "moco": {},
    "db_mtl": {},
    "ntkmtl": {},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_training_goes_on_bit_by_bit_from_any_saved_state(name, tmp_path, new_config, prepared_run, table):
    config = new_config(
        ("click", "spend", "visits"),
        encoder={"embedding": 4},
        sharing={"use": "ple", "experts": 2, "shared_experts": 1, "widths": [8]},
        balancer={"use": name, **OPTIONS[name]},
        train={"checkpoint_every": 5},
    )
    prepared = prepared_run(config, table)
    whole, records, saved = new_training(config, prepared, 1), [], []
    for record in whole:
        records.append(record)
        saved.append(deepcopy(whole.state_dict()))
    for cut in (0, 4):  # after the first step, and on the way
        save_state(tmp_path / f"{cut}", saved[cut])
        again = new_training(config, prepared, 1)
        again.load_state_dict(load_state(tmp_path / f"{cut}"))
        assert str(list(again)) == str(records[cut + 1 :])
        for part in ("model", "balancer"):
            ended, wanted = again.state_dict()[part], saved[-1][part]
            assert ended.keys() == wanted.keys()
            for key, value in wanted.items():
                assert torch.equal(ended[key].nan_to_num(7.0), value.nan_to_num(7.0)), key


@pytest.mark.parametrize("name", ["excess_mtl", "moco", "db_mtl"])
def test_the_fused_table_of_embeddings_has_no_history_and_trains(name, new_config, prepared_run, table):
    config = new_config(("click", "spend"), encoder={"embedding": 4}, balancer={"use": name})
    training = new_training(config, prepared_run(config, table), 1)
    before = training.model.state_dict()["encoder.table"].clone()
    for _ in training:
        pass
    shared = {key: value.numel() for key, value in training.model.encoder.named_parameters() if key != "table"}
    rows = training.balancer.state_dict()["balancer.history.rows"]
    assert rows.shape[0] == 2
    assert sum(shared.values()) <= rows.shape[1] < sum(p.numel() for p in training.model.parameters()) - before.numel()
    assert not torch.equal(training.model.state_dict()["encoder.table"], before)
