"""A tiny network for 8x8 grey digits, written as any PyTorch network is: EdgePrune needs nothing special in it."""

from torch import Tensor, nn


class DigitNet(nn.Module):
    """(B, 1, 8, 8) pictures -> (B, 10) scores."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.inner = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = self.relu(x + self.norm(self.inner(x)))  # a residual block
        return self.classify(self.pool(x).flatten(1))


def build() -> nn.Module:
    """Make the network; edgeprune.toml names this function."""
    return DigitNet()
