"""A small network for 28x28 grey pictures, written as any PyTorch network is: EdgePrune needs nothing special in it.

A plain chain, then a residual block, then a depthwise-separable layer, then one number per class.
"""

from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = ConvBlock(channels, hidden)
        self.reduce = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.norm(self.reduce(self.expand(x))))


class SeparableBlock(nn.Sequential):
    """A convolution within each channel (depthwise), then one across channels (pointwise)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            ConvBlock(inputs, inputs, groups=inputs),
            ConvBlock(inputs, outputs, size=1),
        )


class FashionNet(nn.Module):
    """(B, 1, 28, 28) pictures -> (B, 10) scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBlock(1, 48, stride=2)  # 14x14
        self.widen = ConvBlock(48, 96)
        self.shrink = nn.MaxPool2d(2)  # 7x7
        self.residual = ResidualBlock(96, hidden=96)
        self.separable = SeparableBlock(96, 128)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shrink(self.widen(self.stem(x)))
        x = self.separable(self.residual(x))
        return self.classify(self.pool(x).flatten(1))


def build() -> nn.Module:
    """Make the network; edgeprune.toml names this function."""
    return FashionNet()
