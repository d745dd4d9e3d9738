"""Weights, then evaluation, then structure; and recipes that hold all three."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import conv
from test_layers import Block, network
from torch import nn

from edgeprune.errors import UnknownName, UsageError
from edgeprune.pruning import finetune, prune, replay
from edgeprune.pruning.composition import composed
from edgeprune.pruning.keeping import live_masks
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import FinetuneSpec, PruneSpec

X = torch.randn(4, 3, 8, 8)
DATA = [(torch.randn(16, 3, 8, 8), torch.randint(0, 4, (16,))) for _ in range(2)]


def hybrid(**more) -> PruneSpec:
    return PruneSpec(method="hybrid", **more)


def chain() -> nn.Sequential:
    return nn.Sequential(conv(3, 16), conv(16, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4))


def widths(result, kind: str = "channels") -> list[int]:
    return [row.width_after for row in result.report if row.kind == kind and row.frozen is None]


def test_channels_whose_weights_became_zero_go_first():
    model = chain()
    with torch.no_grad():
        model[0][0].weight.fill_(0.2)
        model[0][0].weight[3:11] = 1e-4  # half of the channels, below the threshold
        model[0][0].weight[3:11, 0, 0, 0] = 50.0  # one large weight in each of them keeps their norms above the others
        model[1][0].weight.fill_(0.2)
    result = prune(model, hybrid(threshold=0.01, exclude=("1", "4")), example_inputs=(X,))

    gone = set(range(16)) - set(result.recipe.cuts[0].kept)
    assert gone and gone <= set(range(3, 11))


def test_a_ratio_is_that_of_the_weights_and_of_the_channels():
    result = prune(chain(), hybrid(ratio=0.5), example_inputs=(X,))
    first = [row for row in result.report if row.kind == "weights"]
    assert sum(widths(result)) == 20
    assert sum(zeros.count for zeros in result.recipe.zeros) == round(0.5 * sum(row.width_before for row in first))
    assert result.size.disk_after < 0.6 * result.size.disk_before
    assert result.proof.max_relative <= 1e-5


def test_with_an_amount_of_weights_the_channels_follow_what_became_zero():
    result = prune(chain(), hybrid(sparsity=0.25), example_inputs=(X,))
    assert sum(widths(result)) == 30


def test_what_is_left_has_true_zeros_that_training_keeps():
    model = chain()
    result = prune(model, hybrid(ratio=0.4), example_inputs=(X,), calibration=DATA)
    masks = live_masks(result.recipe)
    assert any(mask.any() for mask in masks.values())
    finetune(result.model, model, DATA, FinetuneSpec(learning_rate=0.05), recipe=result.recipe)
    for name, mask in masks.items():
        assert (result.model.get_parameter(name)[mask] == 0).all()


def test_a_layer_that_costs_nothing_goes_too_and_one_that_costs_stays():
    blocks = [Block(8, 8), Block(8, 8), conv(8, 12), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)]
    model = nn.Sequential(conv(3, 8), *blocks).eval()
    with torch.no_grad():
        model[2].second.weight.zero_()
        model[2].second.bias.zero_()
        many = torch.randn(256, 3, 8, 8)
        model[-1].weight.mul_(100)
        model[-1].bias.sub_(model(many).mean(0))
        data = [(many, model(many).argmax(1))]
    spec = hybrid(ratio=0.5, exclude=("0", "1"))
    model[2].second.weight.data[0, 0, 0, 0] = 1e-9
    result = prune(model, spec, example_inputs=(X,), calibration=data)
    assert [removal.module for removal in result.recipe.removals] == ["2"]
    assert {row.name: row.width_after for row in result.report if row.kind == "layers"}["2"] == 0


def test_where_the_layers_that_go_leave_no_channel_to_cut_the_rest_stays():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4))
        model[0].bias.zero_()
    many = torch.rand(64, 4)
    data = [(many, model(many).argmax(1))]
    result = prune(model, hybrid(ratio=0.6), example_inputs=(many,), calibration=data)
    assert [removal.module for removal in result.recipe.removals] == ["0"]
    assert result.model[2].weight.shape == (4, 4)


def test_without_calibration_data_the_notes_say_that_layers_were_not_evaluated():
    assert any(
        "Layers were not evaluated" in note for note in prune(chain(), hybrid(ratio=0.2), example_inputs=(X,)).notes
    )


@pytest.mark.parametrize("amount", [{"ratio": 0.6}, {"sparsity": 0.5}, {"relative_threshold": 0.2}])
def test_steps_with_training_replay_exactly_on_the_dense_model(amount):
    model = network(Block(8, 8), conv(8, 12), Block(12, 12), width=8)[:4]
    model = nn.Sequential(*model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)).eval()
    recipes = []

    def recover(pruned, recipe):
        recipes.append(recipe)
        finetune(pruned, model, DATA, FinetuneSpec(learning_rate=0.01))

    spec = hybrid(steps=3, schedule="cubic" if "relative_threshold" in amount else "exponential", **amount)
    result = prune(model, spec, example_inputs=(X,), calibration=DATA, recover=recover)

    assert len(recipes) == 2
    again = replay(model, PruneRecipe.from_json(result.recipe.to_json()))
    for name, mask in live_masks(result.recipe).items():
        assert (result.model.get_parameter(name)[mask] == 0).all()
        assert (again.get_parameter(name)[mask] == 0).all()
    again.load_state_dict(result.model.state_dict())
    assert torch.equal(again.eval()(X), result.model.eval()(X))


def test_recipes_of_weights_layers_and_channels_compose_to_the_same_model():
    model = network(Block(8, 8), Block(8, 8))
    steps = [
        PruneSpec(ratio=0.25),
        PruneSpec(method="weight", sparsity=0.5),
        PruneSpec(method="layer", ratio=0.5),
        PruneSpec(ratio=0.5, scope="local"),
        PruneSpec(method="weight", sparsity=0.7),
    ]
    now, recipe = model, PruneRecipe(())
    for spec in steps:
        result = prune(now, spec, example_inputs=(X,), calibration=DATA)
        now, recipe = result.model, composed(recipe, result.recipe)
    again = replay(model, recipe)
    assert torch.equal(again(X), now(X))
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in now.state_dict().items()
    }


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        (hybrid(nm="2:4"), UsageError, "empties no channel"),
        (hybrid(target="latency <= 0.5x"), UsageError, "cannot aim at"),
        (hybrid(ratio=0.5, criterion="layer_loss"), UnknownName, "criterion 'layer_loss'"),
    ],
)
def test_bad_input_is_refused(spec, kind, words):
    with pytest.raises(kind, match=words):
        prune(chain(), spec, example_inputs=(X,))


class Fixed(nn.Module):
    """Holds a width as a number, so that its graph has to be written again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(256, 32), nn.Linear(32, 4)

    def forward(self, x):
        y = nn.functional.adaptive_avg_pool2d(torch.relu(self.stem(x)), 4).view(-1, 256)
        return self.head(torch.relu(self.inner(y)))


@pytest.mark.parametrize("method", ["hybrid", "connection", "channel"])
def test_steps_replay_where_the_graph_was_written_again(method):
    model = Fixed().eval()
    spec = PruneSpec(method=method, ratio=0.5, steps=2, scope="local")
    result = prune(model, spec, example_inputs=(X,), calibration=DATA)
    assert result.recipe.rewriting is not None
    again = replay(model, PruneRecipe.from_json(result.recipe.to_json()))
    again.load_state_dict(result.model.state_dict())
    assert torch.equal(again.eval()(X), result.model.eval()(X))
    left = {row.name: row.width_after for row in result.report if row.kind == "channels"}
    for name in ("stem.weight", "inner.weight"):
        assert result.model.get_parameter(name).shape[0] == left[name] < model.get_parameter(name).shape[0]


def test_a_layer_that_no_step_could_afford_to_remove_is_in_the_report():
    result = prune(network(Block(8, 8)), hybrid(ratio=0.2), example_inputs=(X,), calibration=DATA)
    row = next(row for row in result.report if row.kind == "layers" and row.name == "1")
    assert (row.width_after, row.score_min, row.frozen) == (1, None, None)
