"""Training that feels int8 leaves weights that int8 reads exactly, and changes nothing else about a model."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import conv
from torch import nn

from edgeprune.errors import UsageError
from edgeprune.pruning import finetune, prune
from edgeprune.pruning.quantization_aware import int8_felt, rounded_weight
from edgeprune.values.spec import FinetuneSpec, PruneSpec


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(conv(1, 8), nn.MaxPool2d(2), conv(8, 8), nn.Flatten(), nn.Linear(128, 4)).eval()


def data(n_batches: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(5)
    return [(torch.randn(16, 1, 8, 8), torch.randint(0, 4, (16,))) for _ in range(n_batches)]


def steps_of(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight in steps of its channels' int8 scales."""
    rows = weight.detach().flatten(1)
    return rows / (rows.abs().amax(1, keepdim=True) / 127)


@pytest.mark.parametrize("averaging_ratio", [0.0, 0.75])
def test_trained_weights_stand_on_the_int8_grid_of_their_channels(averaging_ratio):
    model = network()
    spec = FinetuneSpec(epochs=2, quantization_aware_epochs=1, averaging_ratio=averaging_ratio)
    finetune(model, network(), data(), spec)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            steps = steps_of(module.weight)
            assert torch.allclose(steps, steps.round(), atol=1e-3)


def test_without_it_they_do_not():
    model = network()
    finetune(model, network(), data(), FinetuneSpec(epochs=2))
    steps = steps_of(model[-1].weight)
    assert not torch.allclose(steps, steps.round(), atol=1e-3)


def test_the_weights_learn_through_the_rounding():
    model = network()
    weight = model[-1].weight
    with int8_felt(model):
        model(data(1)[0][0]).square().sum().backward()
        assert model[-1].weight is weight
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_inside_the_block_the_input_is_read_in_255_steps():
    layer = nn.Linear(1, 1, bias=False)
    x = torch.linspace(-1, 1, 2001).unsqueeze(1)
    with int8_felt(layer):
        found = layer(x).detach()
    assert 200 < len(found.unique()) <= 256


def test_zeros_and_constant_inputs_come_out_exact():
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight[0] = 0
    with int8_felt(model):
        assert torch.equal(model(torch.zeros(3, 4)), model.bias.expand(3, 2))


def test_a_model_is_as_it_was_when_its_forward_raises():
    model = network()
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    weights = [layer.weight for layer in layers]
    with pytest.raises(RuntimeError), int8_felt(model):
        model(torch.randn(2, 3, 8, 8))
    assert all(layer.weight is weight for layer, weight in zip(layers, weights, strict=True))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_what_a_recipe_zeroed_stays_zero():
    model = network()
    found = prune(model, PruneSpec(method="weight", sparsity=0.5), example_inputs=(data(1)[0][0],))
    zero = found.model[-1].weight == 0
    finetune(found.model, model, data(), FinetuneSpec(quantization_aware_epochs=1), recipe=found.recipe)
    assert zero.any()
    assert not found.model[-1].weight[zero].any()


def test_rounding_is_idempotent():
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rounded_weight(rounded_weight(weight)), rounded_weight(weight))


def test_more_such_epochs_than_there_are_are_refused():
    with pytest.raises(UsageError, match="quantization_aware_epochs 3 is not within the 2 epochs"):
        FinetuneSpec(epochs=2, quantization_aware_epochs=3)
