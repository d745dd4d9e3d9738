"""The networks of the packing study."""

from __future__ import annotations

from torch import nn


def lenet_300_100() -> nn.Module:
    """Return the fully connected LeNet of Deep Compression: 266 610 parameters."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def lenet_5() -> nn.Module:
    """Return the convolutional LeNet as Caffe has it, which is the one of Deep Compression: 431 080 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def small_vgg() -> nn.Module:
    """Return a network of VGG's form for 28 x 28 pixels: six convolutions, three linear layers."""
    layers: list[nn.Module] = []
    width = 1
    for wider in (16, 32, 64):
        layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(wider, wider, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        width = wider
    head = [nn.Linear(576, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *head)
