"""Whatever a small convolutional network is built from, its prune is proved, and an independent mask agrees."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pruning_architectures import randomise_statistics
from torch import nn

from edgeprune.pruning import prune, replay
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec

OPS = ("conv", "grouped", "depthwise", "multiplier", "residual", "concat", "prelu", "norm", "gate", "shuffle", "chunk")


class RandomNetwork(nn.Module):
    """Runs a list of ops, keeping every intermediate of the current width for sums and concatenations."""

    def __init__(self, program: list[tuple[str, int]], flatten: str) -> None:
        super().__init__()
        self.program, self.flatten = program, flatten
        self.layers = nn.ModuleList()
        width, widths = 8, [8]
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        for op, pick in program:
            layer, width = _layer(op, width, 4 * (1 + pick % 3), widths[pick % len(widths)])
            self.layers.append(layer)
            widths.append(width)
        self.hidden = nn.Linear(width * 9 if flatten != "mean" else width, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        past = [x]
        for (op, pick), layer in zip(self.program, self.layers, strict=True):
            x = _run(op, layer, x, past[pick % len(past)])
            past.append(x)
        x = F.max_pool2d(F.relu(x), 2)
        if self.flatten == "mean":
            x = x.mean((2, 3))
        elif self.flatten == "permute":
            x = x.permute(0, 3, 2, 1).flatten(1)
        else:
            x = torch.flatten(x, 1)
        return self.head(F.relu(self.hidden(x)))


def _layer(op: str, width: int, out: int, other: int) -> tuple[nn.Module, int]:
    match op:
        case "conv":
            return nn.Conv2d(width, out, 3, padding=1), out
        case "grouped":
            return nn.Conv2d(width, out, 3, padding=1, groups=4), out
        case "depthwise":
            return nn.Conv2d(width, width, 3, padding=1, groups=width), width
        case "multiplier":
            return nn.Conv2d(width, 2 * width, 3, padding=1, groups=width), 2 * width
        case "residual":
            return nn.Conv2d(width, other, 1), other
        case "concat":
            return nn.Identity(), width + other
        case "prelu":
            return nn.PReLU(width), width
        case "norm":
            return nn.BatchNorm2d(width), width
        case "gate":
            return nn.Sequential(nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1), nn.Sigmoid()), width
        case _:
            return nn.Identity(), width


def _run(op: str, layer: nn.Module, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    match op:
        case "residual":
            return layer(F.relu(x)) + other
        case "concat":
            return torch.cat([x, other], 1)
        case "gate":
            return x * layer(x.mean((2, 3), keepdim=True))
        case "shuffle":
            return x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2)
        case "chunk":
            first, second = x.chunk(2, 1)
            return torch.cat([second, torch.tanh(first)], 1)
        case _:
            return layer(x)


def with_columns_zeroed(model: nn.Module, recipe: PruneRecipe) -> dict[str, torch.Tensor]:
    """The dense weights, with the removed in-columns of every plain or grouped layer set to zero."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for cut in recipe.cuts:
        for piece in cut.slices:
            weight = state[piece.tensor]
            if piece.dim == 1 and weight.dim() > 1:
                removed = [index for index in range(piece.size) if index not in piece.kept]
                weight[:, removed] = 0
    return state


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # each example exports a network: shrinking would take minutes
)
@given(
    program=st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 11)), min_size=1, max_size=6),
    flatten=st.sampled_from(["mean", "permute", "plain"]),
    ratio=st.sampled_from([0.25, 0.5, 0.7]),
    scope=st.sampled_from(["global", "local"]),
)
def test_every_prune_of_a_random_network_is_the_masked_dense_network(program, flatten, ratio, scope):
    torch.manual_seed(0)
    model = randomise_statistics(RandomNetwork(program, flatten)).eval()
    x = torch.randn(2, 3, 6, 6)

    result = prune(model, PruneSpec(ratio=ratio, scope=scope), example_inputs=(x,))

    assert result.proof.max_relative <= 1e-5
    assert any(row.width_after < row.width_before for row in result.report)
    masked = RandomNetwork(program, flatten).eval()
    masked.load_state_dict(with_columns_zeroed(model, result.recipe))
    with torch.no_grad():
        torch.testing.assert_close(result.model(x), masked(x), rtol=1e-4, atol=1e-5)
    again = replay(model, PruneRecipe.from_json(result.recipe.to_json()))
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), result.model.state_dict().values(), strict=True)
    )
