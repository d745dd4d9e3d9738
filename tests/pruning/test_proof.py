"""The proof can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pruning_architectures import Classifier, Dense, conv, randomise_statistics
from torch import nn

from edgeprune.errors import PruneError
from edgeprune.pruning import prune, replay
from edgeprune.pruning.capture import capture
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.groups import channel_groups
from edgeprune.pruning.masking import MaskedNetwork
from edgeprune.pruning.proof import Claim, DoesNotRun, NotMasked, prove
from edgeprune.pruning.surgery import kept_indices
from edgeprune.pruning.walk import walk
from edgeprune.values.recipe import PruneRecipe, Slice
from edgeprune.values.spec import PruneSpec

X = torch.randn(2, 3, 8, 8)


def proof_of(model: nn.Module, recipe: PruneRecipe, true_recipe: PruneRecipe):
    """Prove `recipe` against the network masked as `true_recipe` says."""
    return prove(Claim(model, replay(model, recipe), masked_as(model, X, true_recipe), recipe), (X,), 0)


def masked_as(model: nn.Module, x: torch.Tensor, recipe: PruneRecipe) -> MaskedNetwork:
    captured = capture(model, (x,))
    trace = walk(model, captured)
    kept = {cut.name: cut.kept for cut in recipe.cuts}
    groups = channel_groups(trace, Evidence(model, None))
    removed = [np.delete(group.roots, kept[group.name]) for group in groups if group.name in kept]
    return MaskedNetwork(captured, trace, trace.gone(np.concatenate(removed)))


def shifted(recipe: PruneRecipe, tensor: str, dim: int) -> PruneRecipe:
    """Keep as many indices of one tensor dimension, one of them a removed one."""
    left = kept_indices(recipe)[tensor, dim]
    owner = next(cut for cut in recipe.cuts for piece in cut.slices if (piece.tensor, piece.dim) == (tensor, dim))

    def moved(piece: Slice) -> Slice:
        if (piece.tensor, piece.dim) != (tensor, dim):
            return piece
        spare = next(index for index in range(piece.size) if index not in piece.kept)
        return replace(piece, kept=tuple(sorted({*piece.kept, spare} - {left[0]})))

    wrong = replace(owner, slices=tuple(moved(piece) for piece in owner.slices))
    return replace(recipe, cuts=tuple(wrong if cut is owner else cut for cut in recipe.cuts))


@pytest.mark.parametrize(
    ("tensor", "dim"),
    [
        ("stem.0.weight", 0), ("stem.1.running_var", 0), ("stem.1.weight", 0), ("blocks.0.norms.2.running_mean", 0),
        ("blocks.0.layers.1.weight", 1), ("blocks.0.layers.0.bias", 0), ("head.weight", 1),
    ],
)  # fmt: skip
def test_one_wrong_index_in_any_tensor_fails_the_proof(tensor, dim):
    model = Classifier(Dense(16, 8, 3), out=40).eval()
    recipe = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(X,)).recipe

    assert proof_of(model, recipe, recipe).max_relative <= 1e-5
    with pytest.raises(PruneError, match="differs from the masked dense one"):
        proof_of(model, shifted(recipe, tensor, dim), recipe)


def test_a_rule_that_lets_channels_through_unmasked_fails_the_proof_and_changes_nothing(monkeypatch):
    from edgeprune.pruning.rules import RULES, Rule

    blind = {**RULES, "softmax": Rule(lambda trace, node, x, *rest: x)}
    monkeypatch.setattr("edgeprune.pruning.walk.RULES", blind)
    model = nn.Sequential(conv(3, 8), nn.Softmax(1), nn.Conv2d(8, 2, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    with pytest.raises(PruneError, match="nothing was changed"):
        prune(model, PruneSpec(ratio=0.5), example_inputs=(X,))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Outspoken(Classifier):
    """Runs with sixteen channels only, and says so by the error that our own mistakes mostly give."""

    def forward(self, x):
        x = self.stem(x)
        if x.shape[1] != 16:
            raise TypeError("sixteen channels, please")
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def halved():
    """A small network, and the recipe that halves it."""
    model = Outspoken().eval()
    return model, prune(Classifier().eval(), PruneSpec(ratio=0.5, scope="local"), example_inputs=(X,)).recipe


def test_what_the_model_raises_is_said_of_the_model(halved):
    model, recipe = halved
    with pytest.raises(DoesNotRun, match="The pruned model does not run: sixteen channels, please"):
        proof_of(model, recipe, recipe)


@pytest.mark.parametrize("part", ["cut_tensors", "random_like", "MaskedNetwork.run"])
def test_a_mistake_of_the_proof_itself_is_not_said_of_the_model(halved, monkeypatch, part):
    def mistaken(*_):
        raise TypeError("our mistake")

    owner = "edgeprune.pruning.masking" if part.startswith("Masked") else "edgeprune.pruning.proof"
    monkeypatch.setattr(f"{owner}.{part}", mistaken)
    _, recipe = halved
    with pytest.raises(TypeError, match="our mistake"):
        proof_of(Classifier().eval(), recipe, recipe)


def test_a_masked_network_that_torch_does_not_take_is_a_gap_of_ours(halved, monkeypatch):
    def misfit(*_):
        raise RuntimeError("The size of tensor a must match the size of tensor b")

    monkeypatch.setattr(MaskedNetwork, "run", misfit)
    _, recipe = halved
    with pytest.raises(NotMasked, match="The masked dense network does not run: The size of tensor a") as caught:
        proof_of(Classifier().eval(), recipe, recipe)
    assert "a gap in a rule of EdgePrune" in caught.value.next_step


def test_softmax_over_channels_freezes_them():
    model = nn.Sequential(conv(3, 8), conv(8, 8), nn.Softmax(1), nn.Conv2d(8, 2, 1))
    result = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(X,))

    assert "is weighed against all others in softmax" in result.report[1].frozen
    assert result.report[0].width_after == 4


def test_a_head_of_zeros_does_not_hide_a_wrong_cut():
    model = randomise_statistics(Classifier(conv(16, 16))).eval()
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    recipe = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(X,)).recipe

    with pytest.raises(PruneError, match="differs"):
        proof_of(model, shifted(recipe, "blocks.0.0.weight", 1), recipe)


def test_outputs_that_are_zero_whatever_the_weights_prove_nothing():
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(conv(3, 8), nn.Conv2d(8, 2, 1))

        def forward(self, x):
            return self.body(x) * 0

    with pytest.raises(PruneError, match="proves nothing"):
        prune(Silent(), PruneSpec(ratio=0.5), example_inputs=(X,))


def test_an_in_place_op_does_not_change_the_callers_inputs():
    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(conv(3, 8), nn.Conv2d(8, 2, 1))

        def forward(self, x):
            return self.body(torch.relu_(x))

    x = X.clone()
    prune(Hungry(), PruneSpec(ratio=0.5), example_inputs=(x,))
    assert torch.equal(x, X)


def test_the_model_is_untouched_and_the_result_has_its_training_flags():
    model = randomise_statistics(Classifier(Dense(16, 8, 2), out=32)).train()
    model.stem.eval()
    model.head.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    result = prune(model, PruneSpec(ratio=0.5), example_inputs=(X,))

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training and not model.stem.training and not model.head.weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert result.model.training and not result.model.stem.training and not result.model.stem[1].training
    assert not result.model.head.weight.requires_grad and result.model.stem[0].weight.requires_grad


def test_a_recipe_replays_bit_for_bit_and_takes_the_trained_state_dict():
    model = randomise_statistics(Classifier(Dense(16, 8, 2), out=32))
    result = prune(model, PruneSpec(ratio=0.5, steps=2), example_inputs=(X,))
    recipe = PruneRecipe.from_json(result.recipe.to_json())
    assert recipe == result.recipe

    again = replay(model, recipe)
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), result.model.state_dict().values(), strict=True)
    )
    fresh = replay(Classifier(Dense(16, 8, 2), out=32), recipe)
    fresh.load_state_dict(result.model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(X), result.model.eval()(X))
    assert str(fresh) == str(result.model)
