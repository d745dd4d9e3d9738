"""Small versions of the blocks that edge networks are built from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(into: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    padding = kernel // 2
    return nn.Sequential(
        nn.Conv2d(into, out, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)
    )


class Residual(nn.Module):
    """ResNet's basic block, with its projection."""

    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv(into, out, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.short = nn.Identity() if into == out and stride == 1 else nn.Conv2d(into, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.short(x))


class InvertedResidual(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, width: int, expand: int) -> None:
        super().__init__()
        hidden = width * expand
        self.up = nn.Sequential(nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(True))
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(True)
        )
        self.down = nn.Sequential(nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.depthwise(self.up(x)))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, squeeze: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, squeeze, 1), nn.Conv2d(squeeze, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class SqueezeExciteLinear(nn.Module):
    """The version that flattens, and expands its gate to the input's shape."""

    def __init__(self, width: int, squeeze: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(nn.Linear(width, squeeze), nn.ReLU(), nn.Linear(squeeze, width), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        gate = self.gate(self.pool(x).view(batch, channels)).view(batch, channels, 1, 1)
        return x * gate.expand_as(x)


class Dense(nn.Module):
    """DenseNet's block: every layer sees all features before it."""

    def __init__(self, into: int, growth: int, layers: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(into + n * growth) for n in range(layers))
        self.layers = nn.ModuleList(nn.Conv2d(into + n * growth, growth, 3, 1, 1) for n in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            features.append(layer(F.relu(norm(torch.cat(features, 1)))))
        return torch.cat(features, 1)


def shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    parts = x.view(batch, groups, channels // groups, height, width)
    return parts.transpose(1, 2).contiguous().view(batch, channels, height, width)


class ShuffleUnit(nn.Module):
    """ShuffleNetV2's unit: half passes by, half is convolved, then both are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv(half, half, 1), nn.Conv2d(half, half, 3, 1, 1, groups=half), nn.BatchNorm2d(half), conv(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        return shuffle(torch.cat([left, self.branch(right)], 1), 2)


class C2f(nn.Module):
    """YOLOv8's block: chunks, each bottleneck fed by the last, all concatenated."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.width = width // 2
        self.into = conv(width, width, 1)
        self.steps = nn.ModuleList(Residual(self.width, self.width) for _ in range(count))
        self.out = conv((2 + count) * self.width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.into(x).chunk(2, 1))
        for step in self.steps:
            parts.append(step(parts[-1]))
        return self.out(torch.cat(parts, 1))


class Attention(nn.Module):
    """Fused qkv, the head count kept and the head width read from the projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = ((query * self.scale) @ key.transpose(-2, -1)).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, tokens, -1))


class Window(nn.Module):
    """Shifted windows, fused qkv, and a table of relative positions."""

    def __init__(self, width: int = 16, size: int = 4, heads: int = 2) -> None:
        super().__init__()
        self.size, self.heads, self.scale = size, heads, (width // heads) ** -0.5
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn((2 * size - 1) ** 2, heads))
        places = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).flatten(1)
        apart = (places[:, :, None] - places[:, None]) + size - 1
        self.register_buffer("index", apart[0] * (2 * size - 1) + apart[1])

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        size, tokens = self.size, self.size**2
        y = torch.roll(self.norm(x), (-2, -2), (1, 2))
        y = y.view(batch, height // size, size, width // size, size, channels).transpose(2, 3)
        qkv = self.qkv(y.reshape(-1, tokens, channels)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        bias = self.table[self.index.view(-1)].view(tokens, tokens, -1).permute(2, 0, 1)
        weights = ((query * self.scale) @ key.transpose(-2, -1) + bias).softmax(-1)
        y = self.out((weights @ value).transpose(1, 2).flatten(2))
        y = y.view(batch, height // size, width // size, size, size, -1).transpose(2, 3)
        y = torch.roll(y.reshape(batch, height, width, -1), (2, 2), (1, 2))
        return (x + y).permute(0, 3, 1, 2)


class Transformer(nn.Module):
    """A ViT block: pre-norm attention and GELU MLP, with layer scale."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.gamma = nn.Parameter(0.1 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.gamma * self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.Sequential(Transformer(width, heads), Transformer(width, heads))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.position
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class ConvNeXt(nn.Module):
    """Depthwise, channels-last layer norm, MLP, layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


class LinearAttention(nn.Module):
    """EfficientViT's: keys times values first, so that a matrix of channels by channels appears."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = F.relu(self.query(tokens)), F.relu(self.key(tokens)), self.value(tokens)
        context = key.transpose(1, 2) @ value
        total = (query @ key.sum(1, keepdim=True).transpose(1, 2)) + 1.0
        mixed = self.out((query @ context) / total)
        return x + mixed.transpose(1, 2).reshape_as(x)


class Mixer(nn.Module):
    """Token mixing on the transposed tensor, then channel mixing."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        tokens = tokens + self.tokens(tokens)
        tokens = tokens.transpose(1, 2)
        return (tokens + self.channels(tokens)).transpose(1, 2).unflatten(2, x.shape[2:])


class Classifier(nn.Module):
    """Stem, some blocks of one width, pooled head."""

    def __init__(self, *blocks: nn.Module, width: int = 16, out: int | None = None) -> None:
        super().__init__()
        self.stem, self.blocks = conv(3, width), nn.Sequential(*blocks)
        self.head = nn.Linear(out or width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def randomise_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
    return model
