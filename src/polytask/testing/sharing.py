"""What every sharing architecture must hold to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polytask.sharing.representation import Sharing

TASKS, WIDTH, BATCH = 3, 6, 16


def check_sharing(build: Callable[[int, int], Sharing], *, dtype: torch.dtype = torch.float64) -> None:
    """Runs all checks on ``build(tasks, in_features)``.

    What compares two passes runs in evaluation, where an architecture has to be deterministic; shapes, what is reported
    and the Gramian are checked in training.

    Args:
        build: Makes an architecture without dropout; called several times.
        dtype: In which to compute.

    Raises:
        AssertionError: If a check fails; the message says which and how.

    Example:
        >>> from polytask.sharing import mmoe
        >>> check_sharing(lambda tasks, width: mmoe(tasks, width, experts=2, widths=(4,)))
    """
    torch.manual_seed(0)
    sharing = build(TASKS, WIDTH).to(dtype)
    x = torch.randn(BATCH, WIDTH, dtype=dtype)
    check_shapes(sharing, x)
    check_gramian(sharing, x)
    check_one_task(build(1, WIDTH).to(dtype), x)
    sharing.eval()
    check_same_twice(sharing, x)
    check_rows_are_independent(sharing, x)
    check_state_round_trip(build, sharing, x)
    check_split_backward(sharing, x)
    check_export(sharing, x)


def check_shapes(sharing: Sharing, x: Float[Tensor, "batch width"]) -> None:
    """One representation per task, also for a batch of one row and of none; nothing kept without gradients."""
    for rows in (BATCH, 1, 0):
        value = sharing(x[:rows]).value
        expected = (sharing.tasks, rows, sharing.out_features)
        assert tuple(value.shape) == expected, f"value has shape {tuple(value.shape)}, expected {expected}"
        assert value.dtype == x.dtype, f"value is {value.dtype} for an input of {x.dtype}"
        assert bool(torch.isfinite(value).all()), "value is not finite"
    for name, gates in sharing(x).gates.items():
        assert not gates.requires_grad, f"the reported gates of '{name}' are not detached"
        assert bool(torch.isfinite(gates).all()), f"the reported gates of '{name}' are not finite"
        assert len(gates) == BATCH, f"gates of '{name}' are {tuple(gates.shape)}, expected one entry a row of the batch"


def check_same_twice(sharing: Sharing, x: Float[Tensor, "batch width"]) -> None:
    """In evaluation nothing is drawn at random, and no pass leaves a trace in the next one."""
    with torch.no_grad():
        assert torch.equal(sharing(x).value, sharing(x).value), "two passes over the same input differ"


def check_rows_are_independent(sharing: Sharing, x: Float[Tensor, "batch width"]) -> None:
    """A row's representation does not depend on the other rows or on their order."""
    value = sharing(x).value
    order = torch.arange(len(x) - 1, -1, -1)
    torch.testing.assert_close(sharing(x[order]).value, value[:, order], msg=_said("depends on the order of the rows"))
    torch.testing.assert_close(sharing(x[:1]).value, value[:, :1], msg=_said("depends on the other rows"))


def check_state_round_trip(
    build: Callable[[int, int], Sharing], sharing: Sharing, x: Float[Tensor, "batch width"]
) -> None:
    """Parameters and buffers are all the state there is."""
    other = build(TASKS, WIDTH).to(x.dtype).train(sharing.training)
    other.load_state_dict(sharing.state_dict())
    assert torch.equal(other(x).value, sharing(x).value), "a copy with the same state gives another representation"


def check_split_backward(sharing: Sharing, x: Float[Tensor, "batch width"]) -> None:
    """Weights scale what is shared and leave alone what is private, against one plain backward pass per task.

    Shared is a parameter that the losses of two tasks reach, private one that a single loss reaches. The input always
    counts as shared: every task reads what made it.
    """
    x = x.detach().requires_grad_()
    leaves = [x, *sharing.parameters()]
    names = ["x", *(name for name, _ in sharing.named_parameters())]
    representation = sharing(x)
    down = torch.randn_like(representation.value)
    per_task = [
        torch.autograd.grad(representation.value[task], leaves, down[task], retain_graph=True, materialize_grads=True)
        for task in range(sharing.tasks)
    ]
    weights = torch.linspace(0.5, 3.0, sharing.tasks, dtype=x.dtype)
    representation.cut.weights = weights
    found = torch.autograd.grad(representation.value, leaves, down, materialize_grads=True)
    for name, grad, own in zip(names, found, zip(*per_task, strict=True), strict=True):
        rows = torch.stack(own)
        readers = (rows != 0).sum(0)
        is_shared = readers > (0 if name == "x" else 1)
        expected = torch.where(is_shared, torch.tensordot(weights, rows, 1), rows.sum(0))
        wrong = int((~torch.isclose(grad, expected, rtol=1e-4, atol=1e-5)).sum())
        assert not wrong, f"{wrong} of {grad.numel()} gradients of '{name}' are not weighted as they should"


def check_gramian(sharing: Sharing, x: Float[Tensor, "batch width"]) -> None:
    """Symmetric, positive semi-definite, bilinear in the tasks' gradients, and blind to private differences of rows."""
    for trained in (False, True):
        representation = sharing(x.detach().requires_grad_(trained))
        down = torch.randn_like(representation.value)
        gramian = representation.cut.gramian(down)
        scale = torch.linspace(-1.0, 2.0, sharing.tasks, dtype=x.dtype)
        scaled = representation.cut.gramian(down * scale.view(-1, 1, 1))
        assert tuple(gramian.shape) == (sharing.tasks, sharing.tasks), f"the Gramian has shape {tuple(gramian.shape)}"
        torch.testing.assert_close(gramian, gramian.T, msg=_said("the Gramian is not symmetric"))
        torch.testing.assert_close(
            scaled, torch.outer(scale, scale) * gramian, msg=_said("the Gramian is not bilinear in the gradients")
        )
        smallest, largest = torch.linalg.eigvalsh(gramian)[[0, -1]].tolist()
        assert smallest >= -1e-5 * max(largest, 1e-30), f"the Gramian has eigenvalues from {smallest} to {largest}"
        whole = representation.cut.gramian(torch.zeros_like(down))
        assert not whole.any(), "gradients of zero give a Gramian that is not zero"


def check_one_task(sharing: Sharing, x: Float[Tensor, "batch width"]) -> None:
    """With one task the weights at the representation are those of plain training."""
    representation = sharing(x)
    assert tuple(representation.value.shape) == (1, len(x), sharing.out_features), "one task: wrong shape"
    gramian = representation.cut.gramian(torch.ones_like(representation.value))
    assert tuple(gramian.shape) == (1, 1), "one task: the Gramian is not 1 x 1"


class _Value(nn.Module):
    """The representation as a plain tensor, which is what is served."""

    def __init__(self, sharing: Sharing) -> None:
        super().__init__()
        self.sharing = sharing

    def forward(self, x: Tensor) -> Tensor:
        """The value alone."""
        value: Tensor = self.sharing(x).value
        return value


def check_export(sharing: Sharing, x: Float[Tensor, "batch width"]) -> None:
    """`torch.export` takes it, for any number of rows."""
    program = torch.export.export(_Value(sharing), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for rows in (len(x), len(x) - 2):
        torch.testing.assert_close(
            program.module()(x[:rows]), sharing(x[:rows]).value, msg=_said("the exported program differs")
        )


def _said(what: str) -> Callable[[str], str]:
    """A message in front of the one that `torch.testing` gives."""
    return lambda details: f"{what}: {details}"
