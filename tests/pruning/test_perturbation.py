"""Perturbed weights and smaller images hide no wrong cut."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import Classifier, Dense, conv, randomise_statistics
from test_proof import masked_as, shifted
from torch import nn

from edgeprune.errors import PruneError
from edgeprune.pruning import proof, prune, replay
from edgeprune.pruning.perturbation import Perturbed, smaller
from edgeprune.pruning.proof import Claim, prove
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec

LARGE = torch.randn(1, 3, 128, 160)


def perturbed(**state: torch.Tensor) -> Perturbed:
    return Perturbed(state, torch.Generator().manual_seed(0))


def test_every_row_and_column_has_a_factor_of_its_own_and_no_entry_is_zero():
    state = perturbed(
        weight=torch.ones(6, 5, 3, 3), table=torch.ones(1, 4, 7), scale=torch.ones(8), zeros=torch.zeros(4, 2)
    )

    kernel = state["weight"][:, :, 0, 0]
    assert len(kernel[:, 0].unique()) == 6 and len(kernel[0].unique()) == 5
    assert len(state["table"][0, 0].unique()) == 7 and len(state["table"][0, :, 0].unique()) == 4
    assert len(state["scale"].unique()) == 8
    assert bool((state["zeros"] > 0).all()) and len(state["zeros"].unique()) == 8
    assert torch.equal(state["weight"], state["weight"])


def test_what_tells_its_rows_and_columns_apart_stays_as_it_is():
    weight, scale = torch.randn(6, 5, 3, 3), torch.randn(6)
    state = perturbed(weight=weight, scale=scale)

    assert state["weight"] is weight and not torch.equal(state["scale"], scale)
    part = weight[:3].clone()
    assert state.cut("weight", {0: torch.arange(3)}, part).data_ptr() == part.data_ptr()


@pytest.mark.parametrize("place", [(slice(None), 0), (0,), (slice(None),)])
def test_one_number_everywhere_in_an_edge_is_told_apart(place):
    weight = torch.randn(6, 5)
    weight[place] = 0.25
    state = perturbed(weight=weight)

    assert len(state["weight"][:, 0].unique()) == 6 and len(state["weight"][0].unique()) == 5


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_slice_of_zeros_is_filled_wherever_it_stands(dim):
    tensor = torch.randn(5, 4, 3)
    tensor.select(dim, 2).zero_()

    assert bool((perturbed(weight=tensor)["weight"] != 0).all())
    assert bool((perturbed(weight=tensor.transpose(0, 1))["weight"] != 0).all())


def test_empty_tensors_stay_empty():
    assert perturbed(weight=torch.zeros(0, 3), other=torch.zeros(3, 0))["weight"].shape == (0, 3)


def test_tied_tensors_stay_tied_and_integers_stay_what_they_are():
    weight, count = torch.ones(3, 4), torch.tensor([1, 0, 2])
    state = perturbed(first=weight, second=weight, count=count, number=torch.tensor(2.0))

    assert torch.equal(state["first"], state["second"]) and not torch.equal(state["first"], weight)
    assert state["count"] is count and state["number"] == 2


def test_a_part_is_what_cutting_the_whole_gives():
    sparse = torch.randn(6, 5, 3, 3) * (torch.rand(6, 5, 3, 3) > 0.5)
    sparse[0, 0], plain = 0.0, torch.randn(2, 4)
    state = perturbed(kernel=sparse, vector=torch.randn(6), deep=torch.ones(3, 4, 5), plain=plain)
    rows, columns = torch.tensor([0, 2, 5]), torch.tensor([1, 3])

    assert torch.equal(state.cut("kernel", {0: rows, 1: columns}), state["kernel"][rows][:, columns])
    assert torch.equal(state.cut("kernel", {3: columns - 1}), state["kernel"][..., columns - 1])
    assert torch.equal(state.cut("vector", {0: rows}), state["vector"][rows])
    assert torch.equal(state.cut("deep", {2: columns}), state["deep"][..., columns])
    assert torch.equal(state.cut("plain", {1: columns}), plain[:, columns])
    known = sparse[rows]
    assert torch.equal(state.cut("kernel", {0: rows}, known), state["kernel"][rows])
    assert not torch.equal(state.cut("kernel", {0: rows}, known.flip(0)), state["kernel"][rows])


def test_large_images_are_cut_to_multiples_of_32_and_small_ones_are_left():
    found = smaller((torch.zeros(2, 3, 224, 160), torch.zeros(2, 7)))

    assert [tuple(each.shape) for each in found] == [(2, 3, 64, 64), (2, 7)]
    assert smaller((torch.zeros(1, 3, 128, 127),)) is None
    assert smaller((torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 8, 8))) is None
    assert smaller((torch.zeros(5, 100),)) is None


def masked_claim(model: nn.Module, recipe: PruneRecipe, true_recipe: PruneRecipe) -> Claim:
    return Claim(model, replay(model, recipe), masked_as(model, LARGE, true_recipe), recipe)


@pytest.mark.parametrize(
    ("tensor", "dim"), [("stem.0.weight", 0), ("blocks.0.norms.2.running_mean", 0), ("head.weight", 1)]
)
def test_a_wrong_index_fails_the_proof_on_large_images_too(tensor, dim):
    model = randomise_statistics(Classifier(Dense(16, 8, 3), out=40)).eval()
    recipe = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(LARGE,)).recipe

    assert prove(masked_claim(model, recipe, recipe), (LARGE,), 0).max_relative <= 1e-5
    with pytest.raises(PruneError, match="differs from the masked dense one"):
        prove(masked_claim(model, shifted(recipe, tensor, dim), recipe), (LARGE,), 0)


def test_a_head_of_zeros_hides_nothing_on_large_images():
    model = randomise_statistics(Classifier(conv(16, 16))).eval()
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    recipe = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(LARGE,)).recipe

    with pytest.raises(PruneError, match="differs"):
        prove(masked_claim(model, shifted(recipe, "blocks.0.0.weight", 1), recipe), (LARGE,), 0)


@pytest.mark.parametrize(
    "tail",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(8 * 128 * 160, 4)),  # raises at another size
        nn.Sequential(nn.Upsample(size=(128, 160)), nn.Conv2d(8, 2, 1)),
    ],
    ids=["flatten", "upsample"],
)
def test_a_network_of_one_image_size_is_proved_at_that_size(tail, monkeypatch):
    sizes = []
    compared = proof._compared

    def noted(claim, state, batch):
        sizes.append(tuple(batch[0].shape[2:]))
        return compared(claim, state, batch)

    monkeypatch.setattr(proof, "_compared", noted)
    model = nn.Sequential(conv(3, 8), conv(8, 8), tail).eval()
    result = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(LARGE,))

    assert result.proof.n_inputs == 2 and result.proof.max_relative <= 1e-5
    assert sizes[0] == (128, 160) and sizes[1] == (32, 64)
    assert sizes[2:] == ([(128, 160)] if isinstance(tail[0], nn.Flatten) else [])
