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
