"""LeNet and ResNet-18: sizes as published, and what they compute."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from polytask.encoders.lenet import LeNet
from polytask.encoders.resnet import Block, ResNet18
from polytask.errors import UserError


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_lenet_has_the_published_layers() -> None:
    convolutions = (25 + 1) * 10 + (250 + 1) * 20
    assert parameters(LeNet()) == convolutions + (320 + 1) * 50
    assert LeNet(3)(torch.zeros(2, 3, 28, 28)).shape == (2, LeNet.out_features)


def test_lenet_is_the_published_formula() -> None:
    torch.manual_seed(0)
    net, x = LeNet().double(), torch.randn(4, 1, 28, 28, dtype=torch.float64)
    h = functional.relu(functional.max_pool2d(net.first(x), 2))
    h = functional.relu(functional.max_pool2d(net.second(h), 2))
    expected = functional.relu(net.linear(h.view(-1, 320)))
    torch.testing.assert_close(net(x), expected)


def test_lenet_drops_whole_channels_in_training_only() -> None:
    torch.manual_seed(0)
    net, x = LeNet(dropout=0.5), torch.randn(64, 1, 28, 28)
    seen: list[torch.Tensor] = []
    net.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    net(x)
    dropped = (seen[0] == 0).flatten(2)
    assert torch.equal(dropped.all(2), dropped.any(2))
    assert 0.4 < dropped.all(2).float().mean() < 0.6
    net.eval()
    torch.testing.assert_close(net(x), net(x))


def test_resnet_has_the_published_size() -> None:
    net = ResNet18()
    assert net.out_features == 2048
    # torchvision's 11,689,512 without its last layer, and a first convolution of 3 by 3 in the place of 7 by 7
    assert parameters(net) == 11_689_512 - 513 * 1000 - 64 * 3 * 49 + 64 * 3 * 9


def test_resnet_maps_every_image_size() -> None:
    for size in (32, 64, 96):
        net = ResNet18(1, size=size, width=4).eval()
        assert net(torch.zeros(2, 1, size, size)).shape == (2, net.out_features)


def test_a_block_adds_to_its_input() -> None:
    torch.manual_seed(0)
    same, narrower = Block(4, 4, 1).eval().double(), Block(4, 8, 2).eval().double()
    x = torch.rand(2, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(same(x), torch.relu(same.residual(x) + x))
    assert narrower(x).shape == (2, 8, 4, 4)


def test_numbers_out_of_range_are_named() -> None:
    with pytest.raises(UserError, match=r"dropout: 1\.0 given; choose a share from 0"):
        LeNet(dropout=1.0)
    with pytest.raises(UserError, match="channels: 0 given"):
        LeNet(0)
    with pytest.raises(UserError) as caught:
        ResNet18(0, size=48, width=0)
    assert [problem.where for problem in caught.value.problems] == ["channels", "width", "size"]
    assert "choose a multiple of 32" in str(caught.value)
