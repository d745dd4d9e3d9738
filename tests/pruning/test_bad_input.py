"""Every bad input gives one clear message, and the model is whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pruning_architectures import Classifier, conv
from torch import nn

from edgeprune.errors import ModelError, PruneError, UsageError
from edgeprune.pruning import prune, replay
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec

X = torch.randn(2, 3, 8, 8)
HALF = PruneSpec(ratio=0.5)


def test_the_channel_method_asks_for_a_ratio():
    with pytest.raises(UsageError, match="takes a ratio"):
        prune(Classifier(), PruneSpec(sparsity=0.5), example_inputs=(X,))


def test_inputs_that_do_not_run_are_named_by_shape():
    with pytest.raises(ModelError, match=r"does not run on example inputs of shape \(2, 4, 8, 8\)"):
        prune(Classifier(), HALF, example_inputs=(torch.randn(2, 4, 8, 8),))


def test_outputs_that_are_not_finite_are_refused():
    model = Classifier()
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinity"):
        prune(model, HALF, example_inputs=(X,))


def test_half_precision_is_refused():
    with pytest.raises(ModelError, match=r"stem.0.weight is torch.float16. Prune in float32"):
        prune(Classifier().half(), HALF, example_inputs=(X.half(),))


def test_another_device_is_refused():
    with pytest.raises(ModelError, match=r"is on meta. Move the model"):
        prune(Classifier().to("meta"), HALF, example_inputs=(X,))


def test_a_forward_that_looks_at_values_is_refused_with_torchs_reason_in_one_line():
    class Looking(Classifier):
        def forward(self, x):
            y = self.stem(x)
            return self.head((y if y.sum() > 0 else -y).mean((2, 3)))

    with pytest.raises(PruneError, match=r"torch.export cannot capture the model: ") as caught:
        prune(Looking(), HALF, example_inputs=(X,))
    assert "\n" not in str(caught.value)
    assert "no `if` on a tensor" in caught.value.next_step


def test_a_model_that_cannot_be_copied_is_refused():
    model = Classifier()
    model.cache = model.head.weight * 2
    with pytest.raises(ModelError, match="cannot be copied"):
        prune(model, HALF, example_inputs=(X,))


def test_nothing_to_prune_says_why_for_each_group():
    with pytest.raises(PruneError, match=r"Every group has to stay: weight: reaches a model output"):
        prune(nn.Linear(4, 3), HALF, example_inputs=(torch.randn(2, 4),))
    with pytest.raises(PruneError, match="no convolution and no linear layer"):
        prune(nn.Sequential(nn.ReLU()), HALF, example_inputs=(X,))


def test_a_forward_that_fixes_every_width_is_told_the_line_that_does():
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = conv(3, 8), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            y = self.stem(x)
            assert y.shape[1] == 8, "eight channels, please"
            return self.head(y)

    with pytest.raises(
        PruneError, match=r"does not run with fewer of them: eight channels, please \(test_bad_input.py:"
    ):
        prune(Fixed(), replace(HALF, rewrite=False), example_inputs=(X,))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Classifier(width=12), r"dimension 0 of 'stem.0.weight' from length 16, and its shape is \(12, 3, 3, 3\)"),
        (nn.Sequential(conv(3, 16)), "cuts 'stem.0.weight', and the model has no such tensor"),
    ],
)
def test_a_recipe_for_another_model_names_the_tensor(other, message):
    recipe = prune(Classifier(), HALF, example_inputs=(X,)).recipe
    with pytest.raises(ModelError, match=message):
        replay(other, recipe)


def test_a_recipe_with_indices_that_do_not_exist_is_refused():
    recipe = prune(Classifier(), HALF, example_inputs=(X,)).recipe
    text = recipe.to_json().replace('"kept":[', '"kept":[-1,')
    with pytest.raises(ModelError, match=r"indices of 'stem.0.weight' that do not exist"):
        replay(Classifier(), PruneRecipe.from_json(text))


def test_a_recipe_whose_attributes_the_model_lacks_is_refused():
    recipe = PruneRecipe((), (("stem.9", "out_channels", 4),))
    with pytest.raises(ModelError, match=r"'out_channels' of module 'stem.9'"):
        replay(Classifier(), recipe)


@pytest.mark.parametrize(
    "spec",
    [
        PruneSpec(ratio=0.5),
        PruneSpec(ratio=0.0),
        PruneSpec(method="layer", ratio=0.0),
        PruneSpec(method="weight", sparsity=0.0),
    ],
)
def test_the_result_shares_nothing_with_a_model_in_eval_mode(spec):
    model = nn.Sequential(conv(3, 8), conv(8, 8), nn.Conv2d(8, 2, 1)).eval()
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    result = prune(model, spec, example_inputs=(X,), calibration=[(X, torch.zeros(2, 8, 8, dtype=torch.long))])

    assert not any(tensor.data_ptr() in own for tensor in result.model.state_dict().values() if tensor.numel())
