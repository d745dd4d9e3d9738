"""How many channels go from where."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import Classifier, Residual, conv
from torch import nn

from edgeprune.errors import UsageError
from edgeprune.pruning import prune
from edgeprune.values.spec import PruneSpec

X = torch.randn(2, 3, 8, 8)


def chain(*widths: int) -> nn.Sequential:
    layers = [conv(into, out) for into, out in zip((3, *widths), widths, strict=False)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 2, 1))


def kept_widths(result) -> list[int]:
    return [row.width_after for row in result.report if row.frozen is None]


def test_local_scope_takes_the_same_share_from_each_group():
    assert kept_widths(prune(chain(16, 32, 8), PruneSpec(ratio=0.25, scope="local"), example_inputs=(X,))) == [
        12,
        24,
        6,
    ]


def test_global_scope_removes_the_share_of_all_channels_together():
    model = chain(16, 32, 8)
    with torch.no_grad():
        model[1][0].weight[:20] *= 0.01  # most of one layer is as good as silent

    widths = kept_widths(prune(model, PruneSpec(ratio=0.5), example_inputs=(X,)))

    assert sum(widths) == 28
    assert widths[1] <= 12
    assert widths[0] > 8


def test_groups_compare_whatever_the_scale_of_their_weights():
    model = chain(16, 16)
    before = kept_widths(prune(model, PruneSpec(ratio=0.5), example_inputs=(X,)))
    with torch.no_grad():
        model[1][0].weight.mul_(1000)

    assert kept_widths(prune(model, PruneSpec(ratio=0.5), example_inputs=(X,))) == before


def test_a_global_ranking_leaves_every_group_a_tenth_of_its_width():
    model = chain(20, 40)
    with torch.no_grad():
        spread = torch.linspace(1, 3, 20)[:, None, None, None]
        model[0][0].weight.copy_(spread.expand_as(model[0][0].weight))
        model[1][0].weight.fill_(1.0)
        model[1][0].weight[0] = 1000.0  # its mean is now far above all its other channels

    widths = kept_widths(prune(model, PruneSpec(ratio=0.6), example_inputs=(X,)))

    assert widths == [20, 4]


@pytest.mark.parametrize(("round_to", "expected"), [(1, [11, 22]), (4, [12, 24]), (8, [8, 24]), (32, [16, 32])])
def test_widths_are_rounded_to_the_nearest_multiple_and_never_grow(round_to, expected):
    spec = PruneSpec(ratio=0.3, scope="local", round_to=round_to)
    assert kept_widths(prune(chain(16, 32), spec, example_inputs=(X,))) == expected


def test_rounding_counts_the_width_of_a_grouped_layer_and_not_its_channels_per_group():
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=4), nn.Conv2d(32, 2, 1))
    result = prune(model, PruneSpec(ratio=0.4, scope="local", round_to=8), example_inputs=(X,))

    assert kept_widths(result) == [16, 16]
    assert result.model[1].groups == 4


def test_every_group_keeps_at_least_one_channel():
    widths = kept_widths(prune(chain(4, 8), PruneSpec(ratio=0.99, scope="local"), example_inputs=(X,)))
    assert widths == [1, 1]


def test_a_ratio_of_zero_leaves_all_widths_even_those_that_are_no_multiple():
    model = chain(10, 6)
    result = prune(model, PruneSpec(ratio=0.0, round_to=8), example_inputs=(X,))

    assert kept_widths(result) == [10, 6]
    assert result.recipe.cuts == ()
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), result.model.state_dict().values(), strict=True)
    )


def test_excluded_layers_and_all_that_is_coupled_with_them_keep_their_width():
    model = Classifier(Residual(16, 16), conv(16, 8), out=8)
    result = prune(model, PruneSpec(ratio=0.5, scope="local", exclude=("blocks.0.second",)), example_inputs=(X,))

    found = {row.name: row for row in result.report}
    assert found["stem.0.weight"].frozen == "excluded by 'blocks.0.second'"
    assert found["stem.0.weight"].width_after == 16
    assert found["blocks.0.first.0.weight"].width_after == 8
    assert found["blocks.1.0.weight"].width_after == 4


def test_a_consumer_that_is_excluded_does_not_hold_its_producer():
    result = prune(chain(8, 8), PruneSpec(ratio=0.5, scope="local", exclude=("1.*",)), example_inputs=(X,))
    assert kept_widths(result) == [4]


def test_an_exclude_pattern_that_matches_nothing_names_the_nearest_module():
    with pytest.raises(UsageError, match=r"matches no module. Did you mean 'stem'\?"):
        prune(Classifier(), PruneSpec(ratio=0.5, exclude=("sten",)), example_inputs=(X,))


def test_steps_reach_the_same_widths_as_one_cut_and_their_recipe_replays_on_the_dense_model():
    model = chain(16, 24)
    for scope in ("local", "global"):
        once = prune(model, PruneSpec(ratio=0.5, scope=scope), example_inputs=(X,))
        thrice = prune(model, PruneSpec(ratio=0.5, scope=scope, steps=3), example_inputs=(X,))

        assert sum(kept_widths(once)) == sum(kept_widths(thrice)) == 20
    assert [cut.width for cut in thrice.recipe.cuts] == [16, 24]


def test_the_same_seed_and_inputs_give_the_same_recipe():
    model = Classifier(Residual(16, 16))
    spec = PruneSpec(ratio=0.5, steps=2)
    recipes = {prune(model, spec, example_inputs=(X,)).recipe.to_json() for _ in range(2)}
    assert len(recipes) == 1


def test_the_report_counts_what_each_group_alone_saves():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    result = prune(model, PruneSpec(ratio=0.5), example_inputs=(X,))

    row = result.report[0]
    assert (row.width_before, row.width_after) == (8, 4)
    assert row.params_saved == 4 * (3 * 9 + 1) + 4 * 2
    assert row.macs_saved == 64 * (4 * 27 + 4 * 2)
    assert row.layers == ("0", "2")
    assert 0 < row.score_min < row.score_max
