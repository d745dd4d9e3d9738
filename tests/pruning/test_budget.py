"""A share of the parameters as the aim of a prune."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import Dense, InvertedResidual, conv
from torch import nn

from edgeprune.errors import PruneError, UnknownName, UsageError
from edgeprune.pruning import count_params, prune
from edgeprune.values.spec import PruneSpec

X = torch.randn(2, 3, 16, 16)


def network() -> nn.Module:
    blocks = [conv(3, 32), InvertedResidual(32, 4), Dense(32, 16, 8), conv(160, 64)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()


def aimed(share: float, **more):
    return prune(network(), PruneSpec(target=f"params <= {share}x", **more), example_inputs=(X,))


@pytest.mark.parametrize("share", [0.75, 0.5, 0.25, 0.1])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_the_parameters_end_at_the_share_or_just_below(share, scope):
    result = aimed(share, scope=scope)
    left = count_params(result.model) / count_params(network())
    assert 0.85 * share < left <= share
    assert result.proof.max_relative <= 1e-5


def test_in_steps_it_is_reached_with_the_last_one():
    seen = []
    result = prune(
        network(),
        PruneSpec(target="params <= 0.3x", steps=3),
        example_inputs=(X,),
        recover=lambda model, recipe: seen.append(count_params(model)),
    )
    sizes = [*seen, count_params(result.model)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 0.3 * count_params(network()) < sizes[-2]


def test_what_cannot_be_reached_says_what_can():
    with pytest.raises(PruneError, match=r"2,066 parameters cannot be reached: \d+,\d+ have to stay"):
        aimed(0.01, exclude=("1*", "2*"))


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("params", UsageError, "is no target"),
        ("params <= 2x", UsageError, "is no target"),
        ("params < 0.5x", UsageError, "is no target"),
        ("speed <= 0.5x", UnknownName, "quantity of a target 'speed'"),
    ],
)
def test_a_target_that_is_none_is_refused_at_once(text, kind, words):
    with pytest.raises(kind, match=words):
        PruneSpec(target=text)


def test_other_quantities_and_methods_are_refused():
    with pytest.raises(UsageError, match="measured on a board"):
        prune(network(), PruneSpec(target="latency <= 0.5x"), example_inputs=(X,))
    with pytest.raises(UsageError, match="'layer' cannot aim"):
        prune(network(), PruneSpec(method="layer", target="params <= 0.5x"), example_inputs=(X,))
