"""Whole layers and residual blocks: which can go, what their going costs, and that the rest computes the same."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import conv
from torch import nn

from edgeprune.errors import PruneError, UsageError
from edgeprune.pruning import prune, replay
from edgeprune.pruning.bypass import Silent, bypassed
from edgeprune.pruning.capture import capture
from edgeprune.pruning.layer_units import find_units
from edgeprune.values.recipe import PruneRecipe, Removal
from edgeprune.values.spec import PruneSpec

X = torch.randn(4, 3, 8, 8)
DATA = [(torch.randn(8, 3, 8, 8), torch.randint(0, 4, (8,)))]


class Block(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.first, self.second = conv(into, out), nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x):
        return torch.relu(self.shortcut(x) + self.second(self.first(x)))


class Encoder(nn.Module):
    """A block whose two branches are added in turn."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.mix = (
            nn.BatchNorm2d(width),
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Dropout(0.1)),
        )
        self.mlp = nn.Sequential(nn.Conv2d(width, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, width, 1))
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.5))

    def forward(self, x):
        x = x + self.mix(self.norm(x))
        return x + self.scale * self.mlp(x)


def network(*blocks: nn.Module, width: int = 8) -> nn.Sequential:
    return nn.Sequential(conv(3, width), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)).eval()


def layer(ratio: float, **more) -> PruneSpec:
    return PruneSpec(method="layer", ratio=ratio, **more)


def units(model: nn.Module, exclude=()):
    return find_units(model, capture(model, (X,)), (X,), exclude)


def found(model: nn.Module) -> list[tuple[str, str]]:
    return [(unit.module, unit.bypass) for unit in units(model).candidates]


def test_residual_blocks_that_keep_the_shape_go_as_a_whole():
    model = network(Block(8, 8), Block(8, 8))
    assert found(model) == [("1", "identity"), ("2", "identity")]


def test_within_a_block_that_changes_the_shape_only_its_branch_and_its_square_layers_can_go():
    model = nn.Sequential(conv(3, 8), Block(8, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
    assert found(model) == [("1.second", "zero")]


def test_residual_branches_are_cut_and_not_turned_into_identities():
    assert found(network(Encoder(8))) == [("1.mix", "zero"), ("1.mlp", "zero")]


def test_plain_chains_give_their_layers_and_strings_of_blocks_their_blocks():
    chain = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    assert found(network(chain)) == [("1.0", "identity"), ("1.2", "identity")]
    assert found(network(conv(8, 8))) == [("1", "identity")]
    assert found(network(nn.Sequential(Block(8, 8), Block(8, 8)))) == [("1.0", "identity"), ("1.1", "identity")]


def test_layers_that_cannot_go_say_why():
    kept = units(network(Block(8, 8))).kept
    assert kept["0.0"] == "makes (4, 8, 8, 8) of (4, 3, 8, 8)"
    assert kept["4"] == "makes (4, 4) of (4, 8)"
    assert units(network(Block(8, 8), Block(8, 8)), ("2",)).kept["2"] == "excluded by '2'"


def test_a_classifier_stays_even_where_its_width_is_the_number_of_classes():
    model = network(conv(4, 4), width=4)
    assert found(model) == [("1", "identity")]
    assert units(model).kept["4"] == "computes a model output"


def test_a_last_block_may_go_since_what_it_adds_to_is_an_output_too():
    assert found(nn.Sequential(conv(3, 8), Block(8, 8)).eval()) == [("1", "identity")]
    assert found(nn.Sequential(conv(3, 8), conv(8, 8)).eval()) == []


def test_the_score_is_the_increase_of_the_mean_loss_by_hand():
    # Logits 2x with a doubling layer, x without: loss log(1 + e^-2) against log(1 + e^-1) for x = (1, 0), target 0.
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3))).eval()
    with torch.no_grad():
        model[0].weight.copy_(2 * torch.eye(2))
        model[1].weight.copy_(torch.eye(2))
        model[2].weight.copy_(torch.eye(2))
    data = [(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))]
    result = prune(model, layer(0.5), example_inputs=(torch.tensor([[1.0, 0.0]]),), calibration=data)

    by_hand = torch.tensor([-1.0]).exp().log1p() - torch.tensor([-2.0]).exp().log1p()
    assert [row.score_min for row in result.report[:2]] == [pytest.approx(float(by_hand), rel=1e-5), 0.0]
    assert [row.width_after for row in result.report[:2]] == [1, 0]
    assert isinstance(result.model[1], nn.Identity)


def test_the_loss_is_weighted_by_the_size_of_the_batches():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).eval()
    x, y = torch.randn(5, 2), torch.tensor([0, 1, 0, 1, 1])
    scores = [
        prune(model, layer(0.5), example_inputs=(x,), calibration=data).report[0].score_min
        for data in ([(x, y)], [(x[:1], y[:1]), (x[1:], y[1:])])
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_a_layer_that_computes_nothing_goes_first():
    blocks = [Block(8, 8) for _ in range(3)]
    with torch.no_grad():
        blocks[1].second.weight.zero_()
        blocks[1].second.bias.zero_()
    model = network(*blocks)
    with torch.no_grad():
        model[-1].weight.mul_(1000)
        many = torch.randn(256, 3, 8, 8)
        model[-1].bias.sub_(model(many).mean(0))
        data = [(many, model(many).argmax(1))]  # the model is right and sure, so any other answer costs
    result = prune(model, layer(0.3), example_inputs=(X,), calibration=data)
    assert result.recipe.removals == (Removal("2", "identity"),)
    assert result.proof.max_relative <= 1e-5


@pytest.mark.parametrize(("ratio", "count"), [(0.0, 0), (0.1, 1), (0.5, 2), (0.9, 4)])
def test_the_share_is_of_the_candidates_and_at_least_one(ratio, count):
    model = network(*[Block(8, 8) for _ in range(4)])
    result = prune(model, layer(ratio), example_inputs=(X,), calibration=DATA)
    assert len(result.recipe.removals) == count
    assert sum(row.width_after == 0 for row in result.report) == count


def test_pruned_equals_the_dense_network_with_the_same_modules_bypassed():
    model = network(Encoder(8), Block(8, 8), Encoder(8))
    result = prune(model, layer(0.6), example_inputs=(X,), calibration=DATA)

    removals = result.recipe.removals
    assert len(removals) == 3 and result.proof.n_inputs == 2
    with torch.no_grad(), bypassed(model, removals):
        expected = model(X)
    assert torch.allclose(result.model(X), expected, atol=1e-6)
    assert not torch.allclose(model(X), expected, atol=1e-3)
    for removal in removals:
        kind = Silent if removal.bypass == "zero" else nn.Identity
        assert isinstance(result.model.get_submodule(removal.module), kind)


def test_the_recipe_replays_and_takes_the_state_dict():
    model = network(Encoder(8), Block(8, 8))
    result = prune(model, layer(0.5), example_inputs=(X,), calibration=DATA)
    again = replay(model, PruneRecipe.from_json(result.recipe.to_json()))
    again.load_state_dict(result.model.state_dict())
    assert torch.equal(again(X), result.model(X))


def test_removal_is_measured_anew_after_each_one():
    # Two layers that undo each other: without one of them the other becomes the cheapest to lose.
    model = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(4)]).eval()
    with torch.no_grad():
        model[3].weight.copy_(torch.eye(2))
        model[0].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        model[1].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        model[2].weight.copy_(0.9 * torch.eye(2))
    x = torch.tensor([[3.0, 0.0]])
    result = prune(model, layer(0.99), example_inputs=(x,), calibration=[(x, torch.tensor([0]))])
    assert {removal.module for removal in result.recipe.removals[:1]} == {"2"}
    assert len(result.recipe.removals) == 3


def test_steps_train_between_removals():
    seen = []
    model = network(*[Block(8, 8) for _ in range(4)])
    prune(
        model, layer(0.5, steps=2), example_inputs=(X,), calibration=DATA,
        recover=lambda pruned, recipe: seen.append((len(recipe.removals), len(list(pruned.modules())))),
    )  # fmt: skip
    assert seen == [(1, len(list(model.modules())) - 6)]


def test_a_module_whose_attributes_are_read_elsewhere_stays_and_says_why():
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            assert self.body.in_features == 4
            return self.head(self.body(x))

    x, y = torch.randn(3, 4), torch.tensor([0, 1, 0])
    result = prune(Reading(), layer(0.5), example_inputs=(x,), calibration=[(x, y)])
    assert result.recipe.removals == ()
    assert result.report[0].frozen.startswith("the model does not run without it: 'Identity' object has no attribute")


def test_the_report_counts_what_each_block_costs():
    row = prune(network(Block(8, 8)), layer(0.5), example_inputs=(X,), calibration=DATA).report[1]
    assert (row.name, row.kind, row.width_before, row.width_after) == ("1", "layers", 1, 0)
    assert row.params_saved == (8 * 8 * 9 + 16) + (8 * 8 * 9 + 8)
    assert row.macs_saved == 2 * 64 * 8 * 8 * 9


@pytest.mark.parametrize(
    ("spec", "calibration", "kind", "words"),
    [
        (layer(0.5), None, UsageError, "no calibration data"),
        (PruneSpec(method="layer", sparsity=0.5), DATA, UsageError, "takes a ratio"),
        (layer(0.5, criterion="l1"), DATA, UsageError, "'layer_loss' only"),
        (layer(0.5, exclude=("1",)), DATA, PruneError, "No layer of this model can be bypassed"),
    ],
)
def test_bad_input_is_refused_and_the_model_untouched(spec, calibration, kind, words):
    model = network(Block(8, 8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(kind, match=words):
        prune(model, spec, example_inputs=(X,), calibration=calibration)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_removal_that_the_model_does_not_have_is_refused():
    recipe = PruneRecipe((), removals=(Removal("nowhere", "identity"),))
    with pytest.raises(UsageError, match="removes module 'nowhere'"):
        replay(network(Block(8, 8)), recipe)
