"""Tasks of several kinds in one model, and the user's own losses."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from polytask.errors import UserError
from polytask.tasks import binary, count, multiclass, predict, regression, row_losses, stack
from polytask.types import LabelStats

STATS = LabelStats(rows=100, weight=100.0, mean=4.0, std=2.0, minimum=0.0, maximum=9.0)


def test_tasks_that_can_be_computed_together_are() -> None:
    tasks = [
        binary("click"),
        regression("time").fitted(STATS),
        binary("like", positive_weight=5.0, keep_negatives=0.5),
        multiclass("tier", classes=["a", "b", "c"]),
        binary("share", gamma=2.0),
        multiclass("size", classes=["s", "l"]),
        regression("price", scaling="none").fitted(STATS),
        regression("spend", loss="huber").fitted(STATS),
    ]
    groups = stack(tasks)
    assert [group.indices for group in groups] == [(0, 2), (1, 6), (3,), (4,), (5,), (7,)]
    assert [group.out_features for group in groups] == [1, 1, 3, 1, 2, 1]
    assert [task.name for task in groups[1].tasks] == ["time", "price"]


def test_losses_and_predictions_return_to_the_tasks_order() -> None:
    tasks = [binary("a"), count("b"), binary("c"), multiclass("d", classes=[0, 1, 2]), count("e")]
    groups = stack(tasks)
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(len(group.tasks), 6, group.out_features, generator=generator) for group in groups]
    labels = torch.randint(0, 2, (5, 6), generator=generator).float()
    own = {index: logits[g][row] for g, group in enumerate(groups) for row, index in enumerate(group.indices)}
    losses, predictions = row_losses(groups, logits, labels), predict(groups, logits)
    assert list(predictions) == ["a", "b", "c", "d", "e"]
    for index, task in enumerate(tasks):
        torch.testing.assert_close(losses[index], task.row_losses(own[index], labels[index]))
        torch.testing.assert_close(predictions[task.name], task.predict(own[index]))


def test_metrics_are_never_pooled_over_tasks() -> None:
    """DeepCTR-Torch 0.3.0 flattens all tasks into one vector, so that base rates alone give a splendid AUC."""
    generator = torch.Generator().manual_seed(0)
    rates = torch.tensor([[0.5], [0.02]])
    labels = (torch.rand(2, 20_000, generator=generator) < rates).float()
    noise = 0.1 * torch.randn(2, 20_000, generator=generator)  # within a task the predictions know nothing
    tasks = [binary("click"), binary("buy")]
    predictions = predict(stack(tasks), [(torch.logit(rates) + noise)[..., None]])

    pooled = roc_auc_score(labels.flatten(), torch.cat(list(predictions.values())))
    assert pooled > 0.7
    for index, task in enumerate(tasks):
        metrics = task.metrics()
        for part in torch.arange(20_000).tensor_split(5):
            metrics["auc"].update(predictions[task.name][part], labels[index, part])
        assert metrics["auc"].compute() == pytest.approx(0.5, abs=0.03)
        assert metrics["auc"].compute() == pytest.approx(roc_auc_score(labels[index], predictions[task.name]), abs=1e-3)


def asymmetric(logits: Tensor, labels: Tensor) -> Tensor:
    error = labels - logits[..., 0]
    return torch.where(error > 0, 3 * error, -error)


def averaged(logits: Tensor, labels: Tensor) -> Tensor:
    return asymmetric(logits, labels).mean()


def constant(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.ones_like(labels)


def number(logits: Tensor, labels: Tensor) -> Tensor:
    return 1.0  # type: ignore[return-value]


def raising(logits: Tensor, labels: Tensor) -> Tensor:
    return logits[..., 0] * (1 / 0)


not_a_function = 3


def test_own_loss_by_callable_or_import_path() -> None:
    logits, labels = torch.tensor([[0.0], [0.0]]), torch.tensor([8.0, 2.0])
    by_path = regression("time", loss=f"{__name__}:asymmetric").fitted(STATS)
    by_value = regression("time", loss=asymmetric).fitted(STATS)
    for task in (by_path, by_value):  # scaled targets are 2 and -1
        assert task.row_losses(logits, labels).tolist() == [6.0, 1.0]
        stack([task])[0].check_loss()
    assert task.predict(logits).tolist() == [4.0, 4.0]


def test_own_loss_is_not_imported_before_it_is_needed() -> None:
    task = binary("click", loss="no_such_module_here:f")
    assert task.predict(torch.zeros(1, 1)).tolist() == [0.5]  # serving runs no code of the user's


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            "no_such_module_here:f",
            r"tasks.time.loss: loss 'no_such_module_here:f': no module named 'no_such",
        ),
        (f"{__name__}:asymetric", rf"'asymetric' is not in module '{__name__}'; did you mean 'asymmetric'\?"),
        (f"{__name__}:not_a_function", r"'not_a_function' is not a function"),
        (
            averaged,
            r"the loss gave shape \[\] \(torch.float32\) for logits \[1, 2, 1\] and labels \[1, 2\]; ret",
        ),
        (number, r"tasks.time.loss: the loss gave float; return a tensor, one loss per row"),
        (raising, r"tasks.time.loss: the loss raised ZeroDivisionError: division by zero"),
        (constant, r"tasks.time.loss: its result does not depend on the logits"),
    ],
)
def test_mistakes_in_own_losses_are_explained(loss: str, message: str) -> None:
    (group,) = stack([regression("time", loss=loss).fitted(STATS)])
    with pytest.raises(UserError, match=message):
        group.check_loss()


def test_an_import_error_inside_the_users_module_names_what_is_missing(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "my_losses_abc.py").write_text("import not_installed_xyz\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="loss 'my_losses_abc:f': no module named 'not_installed_xyz'"):
        stack([binary("click", loss="my_losses_abc:f")])[0].check_loss()
