"""The networks that are pruned, written the ordinary way, and how each is trained."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


def mnist() -> nn.Module:
    """Return a LeNet with batch norm: (n, 1, 28, 28) -> (n, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.BatchNorm2d(20), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.BatchNorm2d(50), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def _conv(into: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shaped like `x`."""
        total: Tensor = x + self.body(x)
        return total.relu()


def fashion() -> nn.Module:
    """Return a small residual network: (n, 1, 28, 28) -> (n, 10)."""
    return nn.Sequential(
        _conv(1, 16), _conv(16, 32, 2), _Residual(32), _conv(32, 64, 2), _Residual(64),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def motion() -> nn.Module:
    """Return a network of 1-D convolutions: (n, 6, 128) -> (n, 6)."""
    widths = (6, 64, 64, 96, 128)
    blocks = [
        nn.Sequential(nn.Conv1d(a, b, 5, 2, 2, bias=False), nn.BatchNorm1d(b), nn.ReLU()) for a, b in pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, 6))


class _Spoken(nn.Module):
    def __init__(self, mels: int, width: int, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(mels, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes), of features, shape (n, frames, mels)."""
        heard: Tensor = self.gru(x)[0]
        logits: Tensor = self.head(heard[:, -1])
        return logits


def speech() -> nn.Module:
    """Return a recurrent network: (n, frames, 20) -> (n, 10)."""
    return _Spoken(20, 96, 10)


def article() -> nn.Module:
    """Return a CNN of 2.8 million parameters: (n, 1, 28, 28) -> (n, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9216, 304), nn.ReLU(), nn.Dropout(0.25), nn.Linear(304, 10),
    )  # fmt: skip


def vgg16() -> nn.Module:
    """Return VGG16 with batch norm for small images: (n, 1, 28, 28) -> (n, 10).

    Source:
        Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1, column D, arXiv:1409.1556.
    """
    blocks = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    layers: list[nn.Module] = []
    into = 1
    for index, (width, count) in enumerate(blocks):
        for _ in range(count):
            layers.append(_conv(into, width))
            into = width
        if index < len(blocks) - 1:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 10),
    )  # fmt: skip


def _conv6(into: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out), nn.ReLU6()
    )


class _Inverted(nn.Module):
    def __init__(self, into: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = into * expansion
        self.conv = nn.Sequential(
            *([_conv6(into, inner)] if expansion > 1 else []), _conv6(inner, inner, 3, stride, inner),
            nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        self.residual = stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        found: Tensor = self.conv(x)
        return x + found if self.residual else found


class _MobileNetV2(nn.Module):
    SETTINGS = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        blocks, into = [], 32
        for expansion, width, count, stride in self.SETTINGS:
            for index in range(count):
                blocks.append(_Inverted(into, width, stride if index == 0 else 1, expansion))
                into = width
        self.features = nn.Sequential(_conv6(3, 32, 3, 2), *blocks, _conv6(320, 1280))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, 1000)."""
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def mobilenet_v2() -> nn.Module:
    """Return MobileNetV2 with torchvision's names of parameters: (n, 3, 224, 224) -> (n, 1000).

    Source:
        Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2, arXiv:1801.04381.
    """
    return _MobileNetV2()
