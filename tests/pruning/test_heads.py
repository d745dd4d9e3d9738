"""Attention: the same channels of every head go, or whole heads do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pruning_architectures import Attention, Classifier, Transformer, Window
from test_rewriting import Timm, TorchAttention
from torch import nn

from edgeprune.pruning import count_params, prune, replay
from edgeprune.values.spec import PruneSpec

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
WIDTH = PruneSpec(ratio=0.5, scope="local", exclude=("stem",))
WHOLE = PruneSpec(ratio=0.5, scope="local", exclude=("stem",), heads="whole")


class Tokens(nn.Module):
    """Runs a block for tokens on a map."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class Biased(nn.Module):
    """LeViT's: keys narrower than values, all in one layer; a bias per head and offset, picked by a table."""

    def __init__(self, width: int = 16, heads: int = 4, key: int = 4, value: int = 8, tokens: int = 64) -> None:
        super().__init__()
        self.heads, self.key, self.value = heads, key, value
        self.qkv, self.out = nn.Linear(width, heads * (2 * key + value)), nn.Linear(heads * value, width)
        self.biases = nn.Parameter(torch.randn(heads, tokens))
        self.register_buffer("places", (torch.arange(tokens)[:, None] - torch.arange(tokens)).abs())

    def forward(self, x):
        batch, tokens, _ = x.shape
        query, key, value = self.qkv(x).view(batch, tokens, self.heads, -1).split([self.key, self.key, self.value], 3)
        query, key, value = query.permute(0, 2, 1, 3), key.permute(0, 2, 3, 1), value.permute(0, 2, 1, 3)
        weights = (query @ key * self.key**-0.5 + self.biases[:, self.places]).softmax(-1)
        return x + self.out((weights @ value).transpose(1, 2).reshape(batch, tokens, self.heads * self.value))


class Separate(nn.Module):
    """Three layers, a mask with a bias for each head, torch's fused call, heads counted by an attribute."""

    def __init__(self, width: int = 16, heads: int = 4, tokens: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.register_buffer("bias", torch.randn(1, heads, tokens, tokens))

    def forward(self, x):
        batch, tokens, _ = x.shape
        sides = [
            side(x).view(batch, tokens, self.heads, -1).transpose(1, 2) for side in (self.query, self.key, self.value)
        ]
        y = F.scaled_dot_product_attention(*sides, attn_mask=self.bias)
        return x + self.out(y.transpose(1, 2).reshape(batch, tokens, -1))


BLOCKS = {
    "fused_qkv": (lambda: Tokens(Attention(16, 4)), "block.qkv", 48),
    "transformer": (lambda: Tokens(Transformer(16, 4)), "block.attention.qkv", 48),
    "window": (lambda: Window(heads=4), "qkv", 48),
    "biased": (lambda: Tokens(Biased()), "block.qkv", 64),
    "separate": (lambda: Tokens(Separate()), "block.query", 16),
    "timm": (lambda: Timm(heads=4), "qkv", 48),
    "torch_attention": (lambda: TorchAttention(), "attention.in_proj_weight", 36),
}


def rows_of(model, name):
    """The kept rows of a weight, as a pruned model's state dict has them."""
    state = model.state_dict()
    return state.get(f"blocks.0.{name}", state.get(f"blocks.0.{name}.weight"))


def kept_rows(result, name):
    pieces = [piece for cut in result.recipe.cuts for piece in cut.slices]
    names = (f"blocks.0.{name}", f"blocks.0.{name}.weight")
    kept = [set(piece.kept) for piece in pieces if piece.tensor in names and piece.dim == 0]
    return sorted(set.intersection(*kept))


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("spec", [WIDTH, WHOLE], ids=["width", "whole"])
def test_half_of_attention_goes_by_width_and_by_whole_heads(name, spec):
    make, layer, rows = BLOCKS[name]
    model = Classifier(make())
    result = prune(model, spec, example_inputs=(X,))

    assert result.proof.max_relative <= 1e-5
    assert result.proof.unknown_ops == ()
    assert len(rows_of(result.model, layer)) in (rows // 2, 2 * rows // 3)  # of three heads, two stay
    assert count_params(result.model.get_submodule("blocks.0")) < 0.75 * count_params(model.blocks[0])


@pytest.mark.parametrize(
    ("name", "parts", "heads"), [("fused_qkv", 3, 4), ("window", 3, 4), ("timm", 3, 4), ("biased", 1, 4)]
)
def test_whole_heads_go_with_all_their_channels_from_query_key_and_value(name, parts, heads):
    make, layer, rows = BLOCKS[name]
    kept = kept_rows(prune(Classifier(make()), WHOLE, example_inputs=(X,)), layer)

    width = rows // parts // heads
    left = {(row // (heads * width), row // width % heads) for row in kept}
    assert len(kept) == len(left) * width
    assert len({head for _, head in left}) == heads // 2
    assert len(left) == parts * heads // 2


@pytest.mark.parametrize("name", ["fused_qkv", "window", "timm"])
def test_head_width_goes_at_the_same_places_of_all_heads(name):
    make, layer, _ = BLOCKS[name]
    kept = kept_rows(prune(Classifier(make()), WIDTH, example_inputs=(X,)), layer)

    assert len(kept) == 24
    assert len({row % 4 for row in kept}) == 2


def test_tables_of_relative_positions_lose_the_columns_of_removed_heads():
    result = prune(Classifier(Window(heads=4)), WHOLE, example_inputs=(X,))
    assert result.model.state_dict()["blocks.0.table"].shape == (49, 2)


def test_reshapes_that_do_not_lead_to_attention_are_no_heads():
    from pruning_architectures import ShuffleUnit

    result = prune(Classifier(ShuffleUnit(16)), PruneSpec(ratio=0.5, scope="local", heads="whole"), example_inputs=(X,))
    assert result.model.blocks[0].branch[0][0].in_channels == 4


def test_the_recipe_of_whole_heads_replays():
    model = Classifier(Timm(heads=4))
    result = prune(model, WHOLE, example_inputs=(X,))
    again = replay(model, result.recipe)

    held = result.model.state_dict()
    assert all(torch.equal(value, held[name]) for name, value in again.state_dict().items())
