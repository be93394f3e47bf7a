"""Gradients lie in memory as their parameters do: fused optimizers walk through both side by side."""

import pytest
import torch
from torch import nn

import polytask.balancing
from polytask.balancing import Balancing, backward
from polytask.balancing.engine import Part
from polytask.balancing.split import SplitTasks
from polytask.config import asked_for
from polytask.sharing import mmoe
from polytask.towers import Heads, HeadStack, Towers
from polytask.types import Step

TASKS = 3
OWN = {"constant": {"weights": [1.0] * TASKS}, "annealed": {"weights": [1.0] * TASKS, "rates": [0.9] * TASKS}}


def build(name):
    builder = getattr(polytask.balancing, name)
    known = {"tasks": TASKS, "names": ["a", "b", "c"], "kinds": ["binary"] * TASKS}
    return builder(**asked_for(builder, known), **OWN.get(name, {}))


class Stacked(nn.Module):
    """Our own parts: towers are stacks that one product of matrices reads."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last)
        self.sharing = mmoe(TASKS, 16, experts=2, widths=(6, 5))
        self.towers, self.heads = Towers(TASKS, 5, (4,)), Heads(4, [HeadStack(tuple(range(TASKS)), 2)])

    def forward(self):
        x = torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(1))
        made = self.sharing(self.conv(x.contiguous(memory_format=torch.channels_last)).tanh().flatten(1))
        (logits,) = self.heads(self.towers(made.value))
        return (logits - 1.0).square().mean((1, 2)) * torch.tensor([1.0, 2.0, 3.0]), made


class Lists(nn.Module):
    """A list of heads; the first task reads its features transposed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last)
        self.heads = nn.ParameterList(torch.randn(16, 3).T.contiguous().T for _ in range(TASKS))

    def forward(self):
        x = torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(1))
        features = self.conv(x.contiguous(memory_format=torch.channels_last)).tanh().flatten(1)
        return [(features @ head - n).square().mean() for n, head in enumerate(self.heads)]


@pytest.mark.parametrize("name", polytask.balancing.__all__)
def test_strides_of_our_own_parts(name):
    model, balancer = Stacked(), build(name)
    for _ in range(2):  # the second time adds
        losses, made = model()
        step = Step(0, 0, torch.ones(TASKS, dtype=torch.bool), losses.detach(), torch.tensor([0.5, 0.6, 0.7]))
        Balancing(balancer, TASKS).backward([Part(SplitTasks(losses, made.value, made.cut))], step)
        assert {name: one.grad.stride() for name, one in model.named_parameters()} == {
            name: one.stride() for name, one in model.named_parameters()
        }


@pytest.mark.parametrize("name", polytask.balancing.__all__)
def test_strides_of_any_model(name):
    model = Lists()
    backward(model(), build(name), kpis=torch.tensor([0.5, 0.6, 0.7]))
    for one in model.parameters():
        assert one.grad.stride() == one.stride()


@pytest.mark.parametrize("at", ["representation", "parameters"])
def test_a_fused_step_is_a_plain_step(at):
    ends = []
    for fused in (False, True):
        model = Stacked()
        optimizer = torch.optim.AdamW(model.parameters(), 0.01, fused=fused)
        for _ in range(5):
            optimizer.zero_grad()
            losses, made = model()
            step = Step(0, 0, torch.ones(TASKS, dtype=torch.bool), losses.detach())
            Balancing(polytask.balancing.mgda(), TASKS, at=at).backward(
                [Part(SplitTasks(losses, made.value, made.cut))], step
            )
            optimizer.step()
        ends.append([one.detach() for one in model.parameters()])
    for plain, fused_end in zip(*ends, strict=True):
        torch.testing.assert_close(fused_end, plain, rtol=1e-4, atol=1e-5)
