"""Connections: what a layer reads of another, and what goes when nothing reads a channel any more."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import conv
from torch import nn

from edgeprune.errors import DataError, PruneError, UsageError
from edgeprune.pruning import prune, replay
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec

X = torch.randn(4, 3, 8, 8)


def connection(ratio: float, **more) -> PruneSpec:
    return PruneSpec(method="connection", ratio=ratio, **more)


class Fork(nn.Module):
    """One layer that two others read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.left, self.right = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        y = self.stem(x)
        return self.left(y) + self.right(y)


def by_hand() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -2.0], [1.0, 1.0]]))
        model[1].weight.copy_(torch.tensor([[1.0, 2.0, 0.5], [-1.0, 0.5, 1.0]]))
    return model


def rows(result, kind: str) -> dict[str, tuple[int, int]]:
    return {row.name: (row.width_before, row.width_after) for row in result.report if row.kind == kind}


def test_the_score_is_the_share_of_the_l1_mass_that_a_channel_brings():
    # Inputs (1, 0), (1, 2): hidden (1, 0, 1), (1, -4, 3): mean |x| 1, 2, 2; sums of |w| 2, 2.5, 1.5; masses 2, 5, 3.
    x = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    result = prune(by_hand(), connection(0.34), example_inputs=(x,))
    assert [result.report[0].score_min, result.report[0].score_max] == pytest.approx([0.2, 0.5])
    assert result.recipe.cuts[0].kept == (1, 2)


def test_calibration_data_decide_what_is_passed():
    data = [(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))]  # hidden (0, -2, 1): the first brings nothing
    x = torch.tensor([[5.0, 0.1]])
    kept = [
        prune(by_hand(), connection(0.34), example_inputs=(x,), calibration=given).recipe.cuts[0].kept
        for given in (None, data)
    ]
    assert kept == [(0, 2), (1, 2)]


def test_a_channel_that_one_layer_still_reads_stays_and_the_other_has_zeros():
    model = Fork()
    with torch.no_grad():
        model.stem.weight.fill_(1.0)
        model.left.weight.fill_(1.0)
        model.right.weight.fill_(1.0)
        model.left.weight[:, :2] *= 0.01
        model.right.weight[:, 1:3] *= 0.01
    result = prune(model, connection(0.5), example_inputs=(X,))

    assert rows(result, "connections") == {"left.weight": (4, 2), "right.weight": (4, 2)}
    assert result.model.stem.out_channels == 3  # channel 1 is read by nobody
    assert (result.model.left.weight == 0).all(0).flatten().tolist() == [True, False, False]
    assert (result.model.right.weight == 0).all(0).flatten().tolist() == [False, True, False]


def test_the_pruned_network_is_the_dense_one_with_the_connections_set_to_zero():
    model = Fork()
    result = prune(model, connection(0.5), example_inputs=(X,))
    zeroed = replay(model, PruneRecipe((), zeros=result.recipe.zeros))
    assert torch.allclose(zeroed(X), result.model(X), atol=1e-5)
    assert not torch.allclose(model(X), result.model(X), atol=1e-3)


def test_grouped_transposed_and_flattened_readers_are_measured():
    model = nn.Sequential(
        conv(3, 8), nn.Conv2d(8, 8, 3, groups=2, padding=1), nn.ConvTranspose2d(8, 6, 2), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip
    result = prune(model, connection(0.4), example_inputs=(X,))
    assert [row[0] for row in rows(result, "connections").values()] == [
        4,
        4,
        6,
    ]  # the two halves of a grouped layer go together
    zeroed = replay(model.eval(), PruneRecipe((), zeros=result.recipe.zeros))
    assert torch.allclose(zeroed(X), result.model.eval()(X), atol=1e-5)


@pytest.mark.parametrize("scope", ["global", "local"])
def test_the_share_is_of_all_connections_and_every_layer_keeps_some(scope):
    model = nn.Sequential(conv(3, 16), conv(16, 24), nn.Conv2d(24, 2, 1))
    left = rows(prune(model, connection(0.5, scope=scope), example_inputs=(X,)), "connections")
    assert sum(after for _, after in left.values()) == 20
    assert all(after >= 2 for _, after in left.values())
    most = rows(prune(model, connection(0.99, scope=scope), example_inputs=(X,)), "connections")
    assert all(after >= 1 for _, after in most.values())


def test_steps_reach_the_same_count_and_the_recipe_replays_on_the_dense_model():
    model = nn.Sequential(conv(3, 16), conv(16, 24), conv(24, 8), nn.Conv2d(8, 2, 1))
    seen = []

    def recover(pruned, recipe):
        seen.append(sum(zeros.count for zeros in recipe.zeros))
        with torch.no_grad():
            pruned[3].bias.add_(1.0)

    spec = connection(0.5, steps=2, round_to=4)
    result = prune(model, spec, example_inputs=(X,), recover=recover)
    assert sum(after for _, after in rows(result, "connections").values()) == 24
    assert seen[0] > 0
    again = replay(model, PruneRecipe.from_json(result.recipe.to_json()))
    again.load_state_dict(result.model.state_dict())
    assert torch.equal(again.eval()(X), result.model.eval()(X))
    assert all(layer[0].out_channels % 4 == 0 for layer in result.model[:3])


def test_a_batch_that_does_not_run_is_refused():
    data = [(torch.randn(2, 5), torch.tensor([0, 1]))]
    with pytest.raises(DataError, match="does not run on a batch"):
        prune(by_hand(), connection(0.5), example_inputs=(torch.ones(1, 2),), calibration=data)


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        (PruneSpec(method="connection", sparsity=0.5), UsageError, "takes a ratio"),
        (connection(0.5, criterion="l1"), UsageError, "ranks by 'connection' only"),
        (connection(0.5, scope="isomorphic"), UsageError, "global and local"),
        (connection(0.5, exclude=("*",)), PruneError, "reads channels that could be cut"),
    ],
)
def test_bad_input_is_refused(spec, kind, words):
    with pytest.raises(kind, match=words):
        prune(Fork(), spec, example_inputs=(X,))
