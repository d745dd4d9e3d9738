"""The networks of the exports study: each with its calibration data and, where it is trained, its test."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import data
import networks
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeprune import config
from edgeprune.examples.projects import write_project
from edgeprune.flow.project import Project

IMAGES, WINDOWS, EPOCHS = 32, 512, 4


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        model: In eval mode.
        example: One input.
        calibration: Batches of (inputs, targets).
        test: Inputs and targets that no training saw; None for random weights.
    """

    model: nn.Module
    example: Tensor
    calibration: Sequence[tuple[Tensor, Tensor]]
    test: tuple[np.ndarray, np.ndarray] | None = None


def _example(name: str) -> Case:
    folder = Path(tempfile.mkdtemp()) / name
    write_project(folder, name)
    project = Project(config.load(folder / "edgeprune.toml"))
    pairs = [(np.asarray(x), np.asarray(y)) for x, y in project.test]
    inputs, targets = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return Case(project.model, project.example_inputs[0], list(project.train)[:8], (inputs, targets))


def _motion(folder: Path) -> Case:
    windows = data.motion(folder / data.HAPT)
    model = networks.motion()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(windows.x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(windows.x[index]), windows.y[index]).backward()
            optimizer.step()
    chosen = torch.randperm(len(windows.x))[:WINDOWS].split(64)
    batches = [(windows.x[index], windows.y[index]) for index in chosen]
    return Case(model.eval(), windows.x[:1], batches, (windows.test_x.numpy(), windows.test_y.numpy()))


def _random(model: nn.Module, shape: tuple[int, ...], count: int) -> Case:
    # Random weights; batch norm takes its statistics from noise, or activations would grow layer by layer.
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(16, *shape))
    noise = [(torch.randn(8, *shape), torch.zeros(8)) for _ in range(count // 8)]
    return Case(model.eval(), torch.zeros(1, *shape), noise)


def _efficientnet(folder: Path) -> nn.Module:
    sys.path.append(str(folder / "packages"))
    from efficientnet_lite_pytorch import EfficientNet

    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return model


class _Basic(nn.Module):
    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        short = [nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out)] if stride > 1 else []
        self.short = nn.Sequential(*short)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return F.relu(self.body(x) + self.short(x))


def _resnet18() -> nn.Module:
    """Return ResNet18. Source: He et al. 2015, "Deep Residual Learning", table 1, arXiv:1512.03385."""
    widths = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2))
    blocks = [_Basic(*width) for width in (*widths, (512, 512, 1))]
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


CASES: dict[str, Callable[[Path], Case]] = {
    "fashion-mnist": lambda folder: _example("fashion-mnist"),
    "digits": lambda folder: _example("digits"),
    "hapt-cnn": _motion,
    "gru": lambda folder: _random(networks.speech(), (60, 20), 256),
    "mobilenet_v2": lambda folder: _random(networks.mobilenet_v2(), (3, 224, 224), IMAGES),
    "efficientnet_lite0": lambda folder: _random(_efficientnet(folder), (3, 224, 224), IMAGES),
    "resnet18": lambda folder: _random(_resnet18(), (3, 224, 224), IMAGES),
}
"""By name; each takes the folder of `make study-data`."""


def case(name: str, folder: Path) -> Case:
    """Build a case.

    Args:
        name: One of `CASES`.
        folder: Of `make study-data`.

    Returns:
        The same network each time.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return CASES[name](folder)
