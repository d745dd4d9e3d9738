"""Models whose code holds widths as numbers: their graph is written again, proved, and is still a model to train."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from pruning_architectures import Classifier, conv, randomise_statistics
from torch import nn

from edgeprune.pruning import count_params, prune, recalibrate, replay
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec

HALF = PruneSpec(ratio=0.5, scope="local")
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Baked(nn.Module):
    """A classifier whose input size is a number in its code, with dropout before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 8), conv(8, 12)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(12 * 16, 5)

    def forward(self, x):
        return self.fc(self.drop(F.max_pool2d(self.second(self.first(x)), 2).view(-1, 192)))


class Res2(nn.Module):
    """Res2Net's: a split into parts of a width that an attribute holds, each fed by the one before."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width // 4
        self.into, self.out = conv(width, width, 1), nn.Conv2d(width, width, 1)
        self.steps = nn.ModuleList(conv(self.width, self.width) for _ in range(3))

    def forward(self, x):
        first, *parts = torch.split(self.into(x), self.width, 1)
        found, y = [first], first
        for step, part in zip(self.steps, parts, strict=True):
            y = step(y + part)
            found.append(y)
        return x + self.out(torch.cat(found, 1))


class Uneven(nn.Module):
    """ReXNet's shortcut: only the first channels are added to."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.into, self.body = into, conv(into, out)

    def forward(self, x):
        y = self.body(x)
        return torch.cat([y[:, : self.into] + x, y[:, self.into :]], 1)


class Sections(nn.Module):
    """Parts of different width, as in MixNet."""

    def __init__(self) -> None:
        super().__init__()
        self.into = conv(16, 16, 1)
        self.parts = nn.ModuleList([conv(10, 10, 3, groups=10), conv(6, 6, 5, groups=6)])

    def forward(self, x):
        parts = torch.split(self.into(x), [10, 6], 1)
        return torch.cat([part(y) for part, y in zip(self.parts, parts, strict=True)], 1)


class Padded(nn.Module):
    """A shortcut padded with zero channels, as in the CIFAR ResNets."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.more, self.body = out - into, nn.Conv2d(into, out, 3, padding=1)

    def forward(self, x):
        side = self.more // 2
        return torch.relu(self.body(x) + F.pad(x, (0, 0, 0, 0, side, self.more - side)))


class TorchAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.norm = nn.Conv2d(16, 12, 2, 2), nn.LayerNorm(12)
        self.attention, self.out = nn.MultiheadAttention(12, 3, batch_first=True, dropout=0.1), nn.Linear(12, 16)

    def forward(self, x):
        batch = x.shape[0]
        y = self.into(x).reshape(batch, 12, 16).permute(0, 2, 1)
        z = self.norm(y)
        y = y + self.attention(z, z, z, need_weights=False)[0]
        return self.out(y).permute(0, 2, 1).reshape(batch, 16, 4, 4)


class Timm(nn.Module):
    """timm's attention: head count and head width are attributes, the scale is torch's default."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.width = heads, width // heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, channels, height, wide = x.shape
        y = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(y).reshape(batch, height * wide, 3, self.heads, self.width).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        y = F.scaled_dot_product_attention(query, key, value, dropout_p=0.1 if self.training else 0.0)
        y = self.out(y.transpose(1, 2).reshape(batch, height * wide, 16))
        return x + y.transpose(1, 2).reshape(batch, channels, height, wide)


class UnderNoGrad(nn.Module):
    """A baked size inside a graph of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(16, 8, 1)
        self.second = nn.Linear(8 * 64, 16)

    def forward(self, x):
        with torch.no_grad():
            y = torch.relu(self.first(x)).view(-1, 512)
        return self.second(y)[:, :, None, None]


BLOCKS = {
    "baked": Baked,
    "res2": lambda: Classifier(Res2()),
    "uneven": lambda: Classifier(Uneven(16, 22), out=22),
    "sections": lambda: Classifier(Sections()),
    "padded": lambda: Classifier(Padded(16, 24), out=24),
    "torch_attention": lambda: Classifier(TorchAttention()),
    "timm_attention": lambda: Classifier(Timm()),
    "no_grad": lambda: Classifier(UnderNoGrad()),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_half_of_the_channels_go_although_the_code_counts_them_and_nothing_but_the_output_is_frozen(name):
    model = randomise_statistics(BLOCKS[name]())
    result = prune(model, HALF, example_inputs=(X,))

    assert result.proof.mode == "rewritten"
    assert result.proof.max_relative <= 1e-5
    assert count_params(result.model) <= 0.55 * count_params(model)
    assert [row.name for row in result.report if row.frozen] in (["head.weight"], ["fc.weight"])


@pytest.mark.parametrize("name", [name for name in BLOCKS if name != "no_grad"])
def test_a_rewritten_model_takes_other_batches(name):
    result = prune(randomise_statistics(BLOCKS[name]()), HALF, example_inputs=(X,))

    with torch.no_grad():
        together, alone = result.model.eval()(X.repeat(2, 1, 1, 1)), result.model(X[:1])
    torch.testing.assert_close(together[:1], alone)
    assert len(together) == 4


def test_an_example_batch_of_one_leaves_the_batch_open():
    result = prune(Classifier(Timm()), HALF, example_inputs=(X[:1],))
    assert len(result.model(torch.cat([X, X]))) == 4


def test_a_rewritten_model_holds_the_tensors_of_the_user_under_their_names():
    model = randomise_statistics(Classifier(TorchAttention()))
    result = prune(model, HALF, example_inputs=(X,))

    dense, pruned = model.state_dict(), result.model.state_dict()
    assert set(pruned) == set(dense)
    for name, value in dense.items():
        assert all(now <= before for now, before in zip(pruned[name].shape, value.shape, strict=True))
    assert isinstance(result.model.get_submodule("stem.1"), nn.BatchNorm2d)


def test_a_rewritten_model_trains_with_dropout_and_batch_norm():
    result = prune(randomise_statistics(Baked()), HALF, example_inputs=(X,))
    model = result.model
    assert model.training
    before = {name: value.clone() for name, value in model.state_dict().items()}

    first, second = model(X), model(X)
    assert not torch.equal(first, second)
    second.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not torch.equal(model.state_dict()["first.1.running_mean"], before["first.1.running_mean"])
    model.eval()
    assert torch.equal(model(X), model(X))


def test_batch_norm_of_a_rewritten_model_is_recalibrated():
    model = prune(randomise_statistics(Baked()), HALF, example_inputs=(X,)).model
    before = model.state_dict()["second.1.running_mean"].clone()

    recalibrate(model, [(X, torch.zeros(2))], 1)

    assert not torch.equal(model.state_dict()["second.1.running_mean"], before)


def test_a_rewritten_model_is_copied_exported_and_pruned_again():
    model = randomise_statistics(Baked())
    result = prune(model, HALF, example_inputs=(X,))
    pruned = copy.deepcopy(result.model).eval()

    torch.export.export(pruned, (X,))
    again = prune(pruned, HALF, example_inputs=(X,))
    assert count_params(again.model) < 0.55 * count_params(pruned)
    with torch.no_grad():
        torch.testing.assert_close(pruned(X), result.model.eval()(X))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", ["baked", "timm_attention"])
def test_the_recipe_of_a_rewritten_model_replays(name, steps):
    model = randomise_statistics(BLOCKS[name]())
    result = prune(model, PruneSpec(ratio=0.5, scope="local", steps=steps), example_inputs=(X,))

    again = replay(model, PruneRecipe.from_json(result.recipe.to_json()))

    held = result.model.state_dict()
    assert again.state_dict().keys() == held.keys()
    assert all(torch.equal(value, held[name]) for name, value in again.state_dict().items())
    assert again.training == model.training
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(X), result.model.eval()(X))


def test_several_outputs_come_back_in_the_model_s_own_structure():
    class Several(Baked):
        def forward(self, x):
            return {"mean": x.mean(), "scores": [super().forward(x), None]}

    result = prune(randomise_statistics(Several()), HALF, example_inputs=(X,))

    found = result.model(X)
    assert result.proof.mode == "rewritten"
    assert found["scores"][1] is None and found["scores"][0].shape == (2, 5)


def test_attention_keeps_the_scale_of_the_dense_model():
    model = Classifier(Timm()).eval()
    with torch.no_grad():
        # Two of eight channels of each head are silent: that they go must change nothing.
        dead = [head * 8 + channel for head in range(2) for channel in (1, 6)]
        weight, bias = model.blocks[0].qkv.weight, model.blocks[0].qkv.bias
        rows = [part * 16 + index for part in range(3) for index in dead]
        weight[rows], bias[rows] = 0, 0
    spec = PruneSpec(ratio=0.25, scope="local", exclude=("stem", "blocks.0.out"))
    result = prune(model, spec, example_inputs=(X,))

    assert result.proof.mode == "rewritten"
    assert result.model.state_dict()["blocks.0.qkv.weight"].shape == (36, 16)
    with torch.no_grad():
        torch.testing.assert_close(result.model.eval()(X), model(X))
