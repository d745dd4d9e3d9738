"""Single weights: which become zero, that they stay so, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import conv
from torch import nn

from edgeprune.errors import ModelError, PruneError, UnknownName, UsageError
from edgeprune.pruning import finetune, prune, replay
from edgeprune.pruning.keeping import live_masks, zeros_kept
from edgeprune.pruning.weight_ranking import MEASURES
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import WEIGHT_CRITERIA, FinetuneSpec, PruneSpec

X = torch.randn(2, 3, 8, 8)
V = torch.ones(1, 4)


def weight(**amount) -> PruneSpec:
    return PruneSpec(method="weight", **amount)


def linear(*rows: list[float]) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, len(rows), bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(rows))
    return model


def small() -> nn.Sequential:
    return nn.Sequential(conv(3, 8), conv(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def zeros_of(result) -> list[list[bool]]:
    return (result.model[0].weight == 0).tolist()


def test_the_absolute_threshold_zeroes_what_is_smaller_and_keeps_what_is_equal():
    result = prune(linear([0.1, -0.2, 0.3, -0.4]), weight(threshold=0.3), example_inputs=(V,))
    assert result.model[0].weight.tolist() == [pytest.approx([0.0, 0.0, 0.3, -0.4])]


def test_the_relative_threshold_is_a_share_of_each_tensors_largest_magnitude():
    model = nn.Sequential(*linear([0.1, -0.2, 0.3, -0.4]), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[10.0], [-40.0]]))
    result = prune(model, weight(relative_threshold=0.5), example_inputs=(V,))

    assert zeros_of(result) == [[True, False, False, False]]
    assert result.model[1].weight.tolist() == [[0.0], [-40.0]]


def test_a_local_level_takes_the_share_from_each_tensor_and_a_global_one_from_all():
    model = nn.Sequential(*linear([0.1, 0.2, 0.3, 0.4]), nn.Linear(1, 4, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    zeros = {
        scope: [row.width_before - row.width_after for row in
                prune(model, weight(sparsity=0.375, scope=scope), example_inputs=(V,)).report]
        for scope in ("local", "global")
    }  # fmt: skip
    assert zeros == {"local": [2, 2], "global": [3, 0]}


def test_an_nm_pattern_keeps_the_strongest_n_of_every_m_inputs():
    model = nn.Sequential(nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 4))
    result = prune(model, weight(nm="2:4"), example_inputs=(torch.randn(1, 8, 8, 8),))

    kept = (result.model[0].weight != 0).movedim(1, -1).reshape(-1, 4)
    assert (kept.sum(1) == 2).all()
    dense = model[0].weight.movedim(1, -1).reshape(-1, 4).abs()
    assert (dense.masked_fill(kept, float("inf")).amin(1) <= dense.masked_fill(~kept, 0).amax(1)).all()
    assert (dense.masked_fill(~kept, float("inf")).amin(1) >= dense.masked_fill(kept, 0).amax(1)).all()


def test_a_tensor_that_does_not_divide_into_blocks_stays_whole_and_says_why():
    result = prune(small(), weight(nm="2:4"), example_inputs=(X,))
    assert result.report[0].frozen == "its 3 inputs are no multiple of the pattern 2:4"
    assert result.report[0].width_before == result.report[0].width_after
    assert result.report[1].width_after == result.report[1].width_before // 2


def test_lamp_zeroes_by_the_share_in_the_weights_that_are_no_smaller():
    # Squares 1, 4 | 100, 400: LAMP 1/5, 1 | 1/5, 1: a tie, where magnitude would take both of the first tensor.
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
        model[1].weight.copy_(torch.tensor([[10.0], [20.0]]))
    result = prune(model, weight(sparsity=0.5, criterion="lamp"), example_inputs=(torch.ones(1, 2),))
    assert [row.width_after for row in result.report] == [1, 1]


@pytest.mark.parametrize("criterion", ["l2", "taylor", "hessian", "random"])
def test_every_criterion_for_weights_reaches_the_sparsity(criterion):
    data = [(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]))]
    spec = weight(sparsity=0.5, criterion=criterion, steps=2, scope="local")
    result = prune(small(), spec, example_inputs=(X,), calibration=data)
    assert [row.width_after / row.width_before for row in result.report] == pytest.approx([0.5] * 3, abs=0.01)


def test_only_masked_entries_change_and_they_are_exactly_zero():
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = prune(model, weight(sparsity=0.6), example_inputs=(X,))

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    masks = live_masks(result.recipe)
    for name, value in result.model.state_dict().items():
        mask = masks.get(name, torch.zeros_like(value, dtype=torch.bool))
        assert torch.equal(value, before[name].masked_fill(mask, 0))
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.6 * (8 * 27 + 64 * 9 + 32))
    assert result.proof.max_relative == 0.0


def test_the_recipe_replays_through_json():
    result = prune(small(), weight(threshold=0.1), example_inputs=(X,))
    recipe = PruneRecipe.from_json(result.recipe.to_json())
    assert recipe == result.recipe
    fresh = small()
    fresh.load_state_dict(result.model.state_dict())
    with torch.no_grad():
        fresh[0][0].weight.add_(1.0)
    again = replay(fresh, recipe)
    assert torch.equal(again[0][0].weight == 0, result.model[0][0].weight == 0)


@pytest.mark.parametrize("damage", ["!", "QUJD"])
def test_a_damaged_mask_is_refused(damage):
    result = prune(small(), weight(threshold=0.1), example_inputs=(X,))
    mask = result.recipe.zeros[0].mask
    with pytest.raises(UsageError, match=r"zeros of '0.0.weight' are damaged"):
        replay(small(), PruneRecipe.from_json(result.recipe.to_json().replace(mask, damage)))


def test_zeros_for_another_model_name_the_tensor():
    recipe = prune(small(), weight(threshold=0.1), example_inputs=(X,)).recipe
    with pytest.raises(ModelError, match=r"zeroes weights of '0.0.weight' of shape \(8, 3, 3, 3\)"):
        replay(nn.Sequential(conv(3, 4)), recipe)


def test_zeros_stay_zero_under_any_trainer():
    model = small()
    result = prune(model, weight(sparsity=0.5), example_inputs=(X,))
    masks = live_masks(result.recipe)
    seen = []

    optimizer = torch.optim.SGD(result.model.parameters(), 0.5)
    with zeros_kept(result.model, result.recipe):
        for _ in range(3):
            optimizer.zero_grad()
            result.model(X).square().sum().backward()
            seen += [int(result.model.get_parameter(name)[mask].count_nonzero()) for name, mask in masks.items()]
            optimizer.step()

    assert not any(seen)
    assert all((result.model.get_parameter(name)[mask] == 0).all() for name, mask in masks.items())
    assert not torch.equal(result.model[4].weight, model[4].weight)
    assert not result.model._forward_pre_hooks


@pytest.mark.parametrize("averaging_ratio", [0.0, 0.75])
def test_finetune_keeps_zeros_when_it_is_given_the_recipe(averaging_ratio):
    model = small()
    result = prune(model, weight(sparsity=0.5), example_inputs=(X,))
    data = [(torch.randn(8, 3, 8, 8), torch.randint(0, 4, (8,))) for _ in range(2)]
    spec = FinetuneSpec(epochs=1, learning_rate=0.1, averaging_ratio=averaging_ratio)
    finetune(result.model, model, data, spec, recipe=result.recipe)
    masks = live_masks(result.recipe)
    assert all((result.model.get_parameter(name)[mask] == 0).all() for name, mask in masks.items())


def test_steps_only_add_zeros_and_train_between():
    masks = []

    def recover(model, recipe):
        masks.append(live_masks(recipe)["0.0.weight"])
        with torch.no_grad():
            model[0][0].weight.normal_()

    result = prune(small(), weight(sparsity=0.8, steps=3, scope="local"), example_inputs=(X,), recover=recover)

    final = live_masks(result.recipe)["0.0.weight"]
    assert [int(mask.sum()) for mask in (*masks, final)] == [58, 115, 173]
    assert not (masks[0] & ~masks[1]).any() and not (masks[1] & ~final).any()
    assert torch.equal(result.model[0][0].weight == 0, final)


def test_tied_weights_are_zeroed_once_and_stay_tied():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    result = prune(model, weight(sparsity=0.5), example_inputs=(V,))
    assert result.model[2].weight is result.model[0].weight
    assert int((result.model[0].weight == 0).sum()) == 8
    assert len(result.report) == 1


def test_the_report_gives_the_size_on_disk_and_compressed_and_says_that_nothing_gets_faster():
    model = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 4))
    result = prune(model, weight(sparsity=0.9), example_inputs=(torch.randn(1, 256),))

    size = result.size
    assert size.disk_before == size.disk_after == 4 * (256 * 256 + 256 + 256 * 4 + 4)
    assert size.compressed_after < 0.3 * size.compressed_before
    assert "no speed" in result.notes[0]


def test_excluded_layers_stay_whole():
    result = prune(small(), weight(sparsity=0.5, exclude=("0",)), example_inputs=(X,))
    assert result.report[0].frozen == "excluded by '0'"
    assert (result.model[0][0].weight != 0).all()


def test_a_threshold_that_empties_a_layer_names_it_and_its_largest_weight():
    model = small()
    before = model[0][0].weight.clone()
    with pytest.raises(PruneError, match=r"every weight of '0.0.weight' to zero; its largest magnitude is 0\.\d+"):
        prune(model, weight(threshold=50.0), example_inputs=(X,))
    assert torch.equal(before, model[0][0].weight)


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        (lambda: weight(threshold=0.0), UsageError, "is no magnitude"),
        (lambda: weight(relative_threshold=1.5), UsageError, r"outside \(0, 1\]"),
        (lambda: weight(nm="4:2"), UsageError, "no N:M pattern"),
        (lambda: weight(nm="two"), UsageError, "no N:M pattern"),
    ],
)
def test_bad_amounts_are_refused(spec, kind, words):
    with pytest.raises(kind, match=words):
        spec()


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        (weight(ratio=0.5), UsageError, "takes no ratio"),
        (weight(sparsity=0.5, criterion="fpgm"), UnknownName, "criterion for single weights 'fpgm'"),
        (weight(threshold=0.1, criterion="taylor"), UsageError, "compared with magnitudes"),
        (weight(sparsity=0.5, scope="isomorphic"), UsageError, "is for channels"),
        (weight(sparsity=0.5, exclude=("*",)), PruneError, "All have to stay: 0.0.weight: excluded"),
    ],
)
def test_what_does_not_fit_weights_is_refused(spec, kind, words):
    with pytest.raises(kind, match=words):
        prune(small(), spec, example_inputs=(X,))


def test_the_names_of_the_criteria_for_weights_are_those_that_specs_know():
    assert tuple(MEASURES) == WEIGHT_CRITERIA
