"""Blocks whose `forward` does its own arithmetic, indexing and reshaping: pruned in place, with proof."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pruning_architectures import Classifier, Window, conv, randomise_statistics
from torch import nn
from torch.nn.utils import parametrizations

from edgeprune.pruning import count_params, prune
from edgeprune.values.spec import PruneSpec


class Ghost(nn.Module):
    """Half of the features are made cheaply from the other half; one too many would be cut off."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.out, half = out, (out + 1) // 2
        self.primary, self.cheap = conv(into, half, 1), conv(half, half, 3, groups=half)

    def forward(self, x):
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], 1)[:, : self.out]


class Standardised(nn.Conv2d):
    """Standardises its weight in every pass."""

    def forward(self, x):
        dims = (1, 2, 3)
        weight = (self.weight - self.weight.mean(dims, keepdim=True)) / (self.weight.std(dims, keepdim=True) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class ScaledStandardised(nn.Conv2d):
    """Standardises its weight by a batch norm over it, as normaliser-free networks do."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out, 3, 1, 1)
        self.gain = nn.Parameter(torch.rand(out, 1, 1, 1) + 0.5)

    def forward(self, x):
        flat, gain = self.weight.reshape(1, self.out_channels, -1), (self.gain * 0.2).view(-1)
        weight = F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


class HandMadeNorm(nn.Module):
    """A layer norm over channels, written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.rand(width) + 0.5), nn.Parameter(torch.randn(width))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return self.scale[:, None, None] * (x - mean) / torch.sqrt(variance + 1e-6) + self.shift[:, None, None]


class ResponseNorm(nn.Module):
    """ConvNeXtV2's: each channel's energy relative to the mean over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(1, width, 1, 1))

    def forward(self, x):
        energy = x.norm(p=2, dim=(2, 3), keepdim=True)
        return x + self.gamma * x * energy / (energy.mean(1, keepdim=True) + 1e-6)


class Rotary(nn.Module):
    """Queries and keys turned pairwise by position: the two halves of a head lose the same channels."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        angles = torch.randn(tokens, width // 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def turn(self, x):
        first, second = x.chunk(2, -1)
        return torch.cat([first * self.cos - second * self.sin, first * self.sin + second * self.cos], -1)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        weights = (self.turn(self.query(tokens)) @ self.turn(self.key(tokens)).transpose(1, 2) * 0.1).softmax(-1)
        return x + self.out(weights @ self.value(tokens)).transpose(1, 2).reshape_as(x)


class Selective(nn.Module):
    """Two kernels, weighed against each other for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.small, self.large = conv(width, width), conv(width, width, 5)
        self.squeeze, self.weigh = nn.Linear(width, 8), nn.Linear(8, 2 * width)

    def forward(self, x):
        both = torch.stack([self.small(x), self.large(x)], 1)
        weights = self.weigh(F.relu(self.squeeze(both.sum(1).mean((2, 3)))))
        return (both * weights.view(len(x), 2, -1, 1, 1).softmax(1)).sum(1)


class Blur(nn.Module):
    """One fixed kernel for all channels, stretched to as many as there are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.rand(1, 1, 3, 3))

    def forward(self, x):
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.kernel.expand(x.shape[1], -1, -1, -1), groups=x.shape[1])


class Gated(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x):
        return x + self.down(F.glu(self.up(x), 1))


class Steps(nn.Module):
    """Python control flow over layers and shapes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(width, width) for _ in range(3))

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            y = layer(x)
            x = x + y if number % 2 == 0 and x.shape == y.shape else y
        return x


class Pyramid(nn.Module):
    """U-Net: skips are concatenated with what comes back up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([conv(3, 8), conv(8, 16), conv(16, 32)])
        self.back, self.mix = nn.ConvTranspose2d(32, 16, 2, 2), nn.ModuleList([conv(32, 16), conv(24, 8)])
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        first = self.down[0](x)
        second = self.down[1](F.max_pool2d(first, 2))
        third = self.down[2](F.avg_pool2d(second, 2))
        y = self.mix[0](torch.cat([self.back(third), second], 1))
        y = F.interpolate(y, scale_factor=2, mode="bilinear")
        return self.out(self.mix[1](torch.cat([y, first], 1)))


BLOCKS = {
    "ghost": lambda: Classifier(Ghost(16, 24), Ghost(24, 16)),
    "weight_standardised": lambda: Classifier(Standardised(16, 16, 3, 1, 1), nn.ReLU(), conv(16, 16)),
    "scaled_standardised": lambda: Classifier(ScaledStandardised(16, 24), nn.ReLU(), ScaledStandardised(24, 16)),
    "weight_normed": lambda: Classifier(parametrizations.weight_norm(nn.Conv2d(16, 16, 3, 1, 1)), conv(16, 16)),
    "hand_made_norm": lambda: Classifier(HandMadeNorm(16), conv(16, 16)),
    "response_norm": lambda: Classifier(ResponseNorm(16), conv(16, 16)),
    "window": lambda: Classifier(Window()),
    "rotary": lambda: Classifier(Rotary(16, 256)),
    "selective": lambda: Classifier(Selective(16)),
    "blur": lambda: Classifier(Blur(), conv(16, 16)),
    "gated": lambda: Classifier(Gated(16)),
    "steps": lambda: Classifier(Steps(16)),
    "pyramid": Pyramid,
    "bare_norms": lambda: Classifier(
        nn.BatchNorm2d(16, affine=False), nn.InstanceNorm2d(16), nn.GroupNorm(4, 16, affine=False), conv(16, 16)
    ),
    "shuffled_groups": lambda: Classifier(
        nn.ChannelShuffle(4), conv(16, 16, groups=4), nn.PixelUnshuffle(2), conv(64, 16)
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_each_awkward_block_is_pruned_in_place_with_proof(name):
    model, x = randomise_statistics(BLOCKS[name]()), torch.randn(2, 3, 16, 16)

    result = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(x,))

    assert result.proof.max_relative <= 1e-5
    assert count_params(result.model) <= 0.55 * count_params(model)
    assert [row.name for row in result.report if row.frozen] in (["head.weight"], ["out.weight"])


def test_vectors_are_pruned_through_norms_without_parameters():
    model = nn.Sequential(
        nn.Linear(12, 32), nn.LayerNorm(32, elementwise_affine=False), nn.Linear(32, 16), nn.RMSNorm(16),
        nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 3), nn.LogSoftmax(1),
    )  # fmt: skip
    result = prune(
        randomise_statistics(model), PruneSpec(ratio=0.5, scope="local"), example_inputs=(torch.randn(4, 12),)
    )

    assert result.model[1].normalized_shape == (16,)
    assert [row.width_after for row in result.report] == [16, 8, 4, 3]
    assert result.report[-1].frozen == "is weighed against all others in log_softmax (module '9')"


def test_in_the_own_class_a_cut_at_a_number_keeps_the_channels_that_it_would_confuse():
    spec = PruneSpec(ratio=0.5, scope="local", rewrite=False)
    result = prune(Classifier(Ghost(16, 23), conv(23, 16)), spec, example_inputs=(torch.randn(2, 3, 16, 16),))

    found = {row.name: row for row in result.report}
    assert found["blocks.0.primary.0.weight"].frozen.startswith("the model does not run with fewer of them")
    assert found["stem.0.weight"].width_after == 8
