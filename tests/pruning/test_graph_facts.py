"""Orders of indices, several outputs, unknown ops, shared and baked shapes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pruning_architectures import conv, randomise_statistics
from torch import nn

from edgeprune.errors import PruneError
from edgeprune.pruning import count_params, prune, replay
from edgeprune.values.spec import PruneSpec

HALF = PruneSpec(ratio=0.5, scope="local")
OWN_CLASS = PruneSpec(ratio=0.5, scope="local", rewrite=False)


def rows(result):
    return {row.name: row for row in result.report}


def zero_channels(layer: nn.Conv2d, channels: list[int]) -> None:
    with torch.no_grad():
        layer.weight[channels] = 0
        layer.bias[channels] = 0


class Permuted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 8, 3), nn.Linear(8 * 12, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).permute(0, 3, 2, 1).flatten(1))


def test_dead_channels_go_through_a_permute_before_flatten_without_any_change_of_the_output():
    model, x = Permuted().eval(), torch.randn(3, 1, 6, 5)
    zero_channels(model.conv, [1, 3, 4, 6])

    result = prune(model, HALF, example_inputs=(x,))

    (cut,) = result.recipe.cuts
    assert cut.kept == (0, 2, 5, 7)
    columns = next(piece for piece in cut.slices if piece.tensor == "fc.weight")
    assert columns.kept == tuple(index for index in range(96) if index % 8 in (0, 2, 5, 7))
    torch.testing.assert_close(result.model(x), model(x))


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.branch = conv(3, 8), nn.Conv2d(8, 6, 1)
        self.head, self.map = nn.Linear(6, 3), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        y = self.trunk(x)
        branch = self.branch(y)
        return {"classes": self.head(branch.mean((2, 3))), "map": self.map(y), "features": branch}


def test_channels_that_reach_any_of_several_outputs_stay():
    result = prune(TwoOutputs(), HALF, example_inputs=(torch.randn(2, 3, 6, 6),))

    found = rows(result)
    assert found["trunk.0.weight"].width_after == 4
    for name in ("branch.weight", "head.weight", "map.weight"):
        assert found[name].frozen == "reaches a model output"
    assert result.model(torch.randn(1, 3, 6, 6))["features"].shape == (1, 6, 6, 6)


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = conv(3, 8), conv(8, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        y = self.second(self.first(x))
        y = torch.cumulative_trapezoid(y, dim=1) if y.dim() == 3 else torch.renorm(y, 2, 1, 1.0)
        return self.third(y)


def test_an_op_without_a_rule_freezes_what_passes_through_it_and_is_named_with_its_line():
    result = prune(Strange(), HALF, example_inputs=(torch.randn(2, 3, 6, 6),))

    found = rows(result)
    assert found["first.0.weight"].width_after == 4
    assert "op without a rule: renorm (test_graph_facts.py:" in found["second.0.weight"].frozen
    assert found["second.0.weight"].width_after == 8
    assert result.proof.unknown_ops[0].startswith("renorm (test_graph_facts.py:")


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.head = conv(3, 8), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        y = self.stem(x)
        for _ in range(3):
            y = torch.relu(self.shared(y))
        return self.head(y)


def test_a_module_called_several_times_is_cut_the_same_for_all_calls():
    result = prune(Shared(), HALF, example_inputs=(torch.randn(2, 3, 6, 6),))

    assert result.model.shared.weight.shape == (4, 4, 3, 3)
    assert rows(result)["stem.0.weight"].layers[:2] == ("stem.0", "shared")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.middle, self.down = nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(6, 12)
        self.down.weight = self.up.weight
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(torch.relu(self.middle(torch.relu(self.up(x)))) + self.down(x))


def test_tied_weights_stay_tied():
    model = Tied()
    result = prune(model, HALF, example_inputs=(torch.randn(2, 6),))

    assert result.model.up.weight is result.model.down.weight
    assert result.model.up.weight.shape == (6, 6)
    assert replay(model, result.recipe).up.weight.shape == (6, 6)


class Baked(nn.Module):
    """A classifier whose input size is a number in its Python code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fc = conv(3, 8), conv(8, 8), nn.Linear(8 * 9, 2)

    def forward(self, x):
        return self.fc(F.max_pool2d(self.second(self.first(x)), 2).view(-1, 72))


def test_in_the_own_class_channels_behind_a_size_that_the_code_spells_out_stay():
    result = prune(Baked(), OWN_CLASS, example_inputs=(torch.randn(2, 3, 6, 6),))

    found = rows(result)
    assert found["first.0.weight"].width_after == 4
    assert found["second.0.weight"].frozen.startswith("the model does not run with fewer of them: shape '[-1, 72]'")
    assert "(test_graph_facts.py:" in found["second.0.weight"].frozen


class Flowing(Baked):
    def forward(self, x):
        y = F.max_pool2d(self.second(self.first(x)), 2)
        return self.fc(y.view(y.size(0), -1))


def test_a_view_that_follows_the_width_costs_nothing():
    result = prune(Flowing(), HALF, example_inputs=(torch.randn(2, 3, 6, 6),))

    assert result.model.fc.in_features == 36


class Padded(nn.Module):
    """A shortcut padded with zero channels, as in the CIFAR ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide, self.head = conv(3, 8), nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 2, 1)

    def forward(self, x):
        y = self.stem(x)
        return self.head(torch.relu(self.wide(y) + F.pad(y, (0, 0, 0, 0, 2, 2))))


def test_in_the_own_class_channels_that_meet_padding_stay_and_those_that_are_padded_go():
    result = prune(Padded(), OWN_CLASS, example_inputs=(torch.randn(2, 3, 6, 6),))

    found = rows(result)
    assert found["wide.weight"].frozen.startswith("the model does not run with fewer of them")
    assert found["wide.weight"].width_before == 4
    assert found["stem.0.weight"].width_after == 4
    assert result.model.wide.weight.shape[:2] == (8, 4)


class FromInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.back, self.head = conv(3, 8), nn.Conv2d(8, 3, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(x + self.back(self.up(x)))


def test_channels_that_are_added_to_the_input_stay():
    result = prune(FromInput(), HALF, example_inputs=(torch.randn(2, 3, 6, 6),))

    assert "meets channels that stay, in add" in rows(result)["back.weight"].frozen
    assert rows(result)["up.0.weight"].width_after == 4


class Written(nn.Module):
    """A buffer of zeros that two branches are written into."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 2, 1)
        self.after = nn.Conv2d(2, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        both = x.new_zeros(len(x), 8, *x.shape[2:])
        both[:, :4] = self.left(x)
        both[:, 4:] = self.right(x)
        return self.last(torch.relu(self.after(self.head(both))))


def test_channels_written_into_a_tensor_of_fixed_width_stay():
    result = prune(Written(), HALF, example_inputs=(torch.randn(2, 3, 4, 4),))

    found = rows(result)
    assert found["left.weight"].frozen and found["right.weight"].frozen
    assert found["after.weight"].width_after == 3


def test_one_and_three_dimensional_networks_are_pruned():
    flat = nn.Sequential(
        nn.Conv1d(6, 16, 5), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 16, 3), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    deep = nn.Sequential(
        nn.Conv3d(1, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(64, 3)
    )
    for model, x in ((flat, torch.randn(2, 6, 32)), (deep, torch.randn(2, 1, 6, 6, 6))):
        result = prune(randomise_statistics(model), HALF, example_inputs=(x,))
        assert count_params(result.model) < 0.55 * count_params(model)


def test_batch_norm_statistics_go_with_their_channels():
    model = randomise_statistics(nn.Sequential(conv(3, 8), nn.Conv2d(8, 2, 1)))
    result = prune(model, HALF, example_inputs=(torch.randn(2, 3, 6, 6),))

    kept = list(result.recipe.cuts[0].kept)
    before, after = model[0][1], result.model[0][1]
    assert torch.equal(after.running_mean, before.running_mean[kept])
    assert torch.equal(after.running_var, before.running_var[kept])
    assert after.num_features == 4


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.into, self.layer, self.out = nn.Linear(4, 8), layer, nn.Linear(width, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        y, _ = self.layer(torch.relu(self.into(x)))
        return self.head(torch.relu(self.out(y[:, -1])))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("both_ways", [False, True])
def test_hidden_units_go_from_all_layers_and_directions_of_a_recurrent_module(kind, both_ways):
    layer = kind(8, 10, num_layers=2, batch_first=True, bidirectional=both_ways)
    model = Recurrent(layer, 20 if both_ways else 10)
    result = prune(model, HALF, example_inputs=(torch.randn(2, 5, 4),))

    assert result.model.layer.hidden_size == 5 and result.model.layer.input_size == 4
    assert rows(result)["layer.weight_hh_l0"].width_after == 5
    assert result.model.out.in_features == (10 if both_ways else 5)
    assert count_params(result.model) < 0.4 * count_params(model)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projected_recurrent_module_keeps_its_width():
    model = Recurrent(nn.LSTM(8, 10, batch_first=True, proj_size=6), 6)
    result = prune(model, HALF, example_inputs=(torch.randn(2, 5, 4),))

    assert result.model.layer.hidden_size == 10
    assert rows(result)["out.weight"].width_after == 4


class TwoViews(Baked):
    """One size follows the width, one does not; both stand as numbers in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 8)

    def forward(self, x):
        y = self.first(x)
        batch, channels = y.shape[:2]
        y = y * torch.sigmoid(self.gate(y.mean((2, 3)))).view(batch, channels, 1, 1)
        return self.fc(F.max_pool2d(self.second(y), 2).view(-1, 72))


def test_in_the_own_class_only_sizes_that_do_not_follow_the_width_hold_channels():
    result = prune(TwoViews(), OWN_CLASS, example_inputs=(torch.randn(2, 3, 6, 6),))

    found = rows(result)
    assert found["first.0.weight"].width_after == 4
    assert found["first.0.weight"].layers == ("first.0", "gate", "first.1", "second.0")
    assert found["second.0.weight"].width_after == 8


class Wrapped(nn.Module):
    """Parts of its forward run in graphs of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        y = self.first(x)
        with torch.no_grad():
            z = torch.relu(self.second(y))
        with torch.autocast("cpu", enabled=False):
            z = z * torch.sigmoid(y)
        return self.head(z)


def test_channels_are_followed_into_no_grad_and_disabled_autocast():
    result = prune(Wrapped(), HALF, example_inputs=(torch.randn(2, 3, 4, 4),))

    assert result.proof.unknown_ops == ()
    assert rows(result)["first.weight"].layers == ("first", "second", "head")
    assert result.model.second.weight.shape == (4, 4, 1, 1)


class CountedGroups(nn.Module):
    """Four rows of channels, each repeated, then taken for four rows again whatever is left of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv(3, 8), nn.Conv2d(8, 4, 1), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        y = self.second(self.first(x)).repeat_interleave(4, 1)
        return self.head(torch.relu(y.unflatten(1, (4, 4)).flip(2).transpose(1, 2).flatten(1, 2)))


class SilentlyCounted(CountedGroups):
    def forward(self, x):
        y = self.second(self.first(x)).repeat_interleave(4, 1)
        return self.head(torch.relu(y.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2)))


@pytest.mark.parametrize("kind", [CountedGroups, SilentlyCounted])
def test_in_the_own_class_channels_that_are_counted_by_a_number_stay_even_if_it_would_run(kind):
    result = prune(kind(), OWN_CLASS, example_inputs=(torch.randn(2, 3, 4, 4),))

    found = rows(result)
    assert found["first.0.weight"].width_after == 4
    assert "unflatten" in found["second.weight"].frozen


class Halves(nn.Module):
    """One layer whose first channels are coupled with one layer, the others with another; and a counted input."""

    def __init__(self) -> None:
        super().__init__()
        self.all, self.left, self.right = nn.Conv2d(3, 12, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, x, times):
        return self.head(torch.relu(self.all(x) + times * torch.cat([self.left(x), self.right(x)], 1)))


def test_groups_that_start_in_the_same_layer_have_names_of_their_own_in_report_and_recipe():
    model, inputs = Halves(), (torch.randn(2, 3, 4, 4), 2)
    result = prune(model, PruneSpec(ratio=0.5, scope="local", steps=2), example_inputs=inputs)

    assert [(row.name, row.width_after) for row in result.report[:2]] == [("all.weight", 4), ("all.weight#2", 2)]
    assert [cut.name for cut in result.recipe.cuts] == ["all.weight", "all.weight#2"]
    assert replay(model, result.recipe).all.out_channels == 6


class SumOfProducts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 2)
        self.mix = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        weights = torch.einsum("blc,bmc->blm", self.left(x), self.right(x)).softmax(-1)
        values = torch.einsum("blm,bmc->blc", weights, self.left(x) @ self.mix)
        return self.head(torch.relu(values))


def test_channels_are_followed_through_einsum_and_bare_matrix_products():
    result = prune(SumOfProducts(), HALF, example_inputs=(torch.randn(2, 5, 6),))

    assert {row.name: row.width_after for row in result.report} == {
        "left.weight": 4, "mix": 4, "head.weight": 2,
    }  # fmt: skip


class TorchAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.attention = nn.Linear(6, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.down, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = self.into(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x + self.down(F.gelu(self.up(x))))


def test_in_its_own_class_torchs_attention_keeps_its_width_and_the_mlp_beside_it_is_pruned():
    result = prune(TorchAttention(), OWN_CLASS, example_inputs=(torch.randn(2, 5, 6),))

    found = rows(result)
    assert "nn.MultiheadAttention 'attention'" in found["into.weight"].frozen
    assert found["up.weight"].width_after == 8


class FusedAttention(nn.Module):
    def __init__(self, scale: float | None) -> None:
        super().__init__()
        self.scale = scale
        self.qkv, self.out = nn.Linear(8, 48), nn.Linear(16, 8)

    def forward(self, x):
        query, key, value = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return self.out(y.transpose(1, 2).flatten(2))


def test_head_width_goes_from_fused_attention_if_its_scale_is_given():
    result = prune(FusedAttention(0.3), HALF, example_inputs=(torch.randn(2, 5, 8),))
    assert result.model.qkv.out_features == 24
    assert result.model.out.in_features == 8


def test_in_the_own_class_head_width_stays_where_it_sets_the_scale():
    with pytest.raises(PruneError, match="sets the scale of scaled_dot_product_attention"):
        prune(FusedAttention(None), OWN_CLASS, example_inputs=(torch.randn(2, 5, 8),))
