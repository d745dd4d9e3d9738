"""The blocks of edge networks: pruned in place and proved, with nothing frozen that could go."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import (
    C2f,
    Classifier,
    ConvNeXt,
    Dense,
    InvertedResidual,
    LinearAttention,
    Mixer,
    Residual,
    ShuffleUnit,
    SqueezeExcite,
    SqueezeExciteLinear,
    VisionTransformer,
    conv,
    randomise_statistics,
)
from torch import nn

from edgeprune.pruning import count_macs, count_params, prune
from edgeprune.values.spec import PruneSpec

NETWORKS = {
    "residual": lambda: Classifier(Residual(16, 16), Residual(16, 32, 2), Residual(32, 32), out=32),
    "inverted_residual": lambda: Classifier(InvertedResidual(16, 4), InvertedResidual(16, 4)),
    "squeeze_excite": lambda: Classifier(SqueezeExcite(16, 8), conv(16, 16)),
    "squeeze_excite_linear": lambda: Classifier(SqueezeExciteLinear(16, 8), conv(16, 16)),
    "dense": lambda: Classifier(Dense(16, 8, 3), out=40),
    "shuffle": lambda: Classifier(ShuffleUnit(16), ShuffleUnit(16)),
    "c2f": lambda: Classifier(C2f(16, 2)),
    "vision_transformer": VisionTransformer,
    "convnext": lambda: Classifier(ConvNeXt(16), ConvNeXt(16)),
    "linear_attention": lambda: Classifier(LinearAttention(16)),
    "mixer": lambda: Classifier(Mixer(256, 16)),
    "group_norm": lambda: Classifier(conv(16, 32, groups=4), nn.GroupNorm(4, 32), conv(32, 16)),
    "transposed": lambda: Classifier(
        nn.ConvTranspose2d(16, 24, 2, 2),
        nn.PReLU(24),
        nn.InstanceNorm2d(24),
        nn.ConvTranspose2d(24, 24, 2, 2, groups=24),
        nn.PixelShuffle(2),
        out=6,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_half_of_the_channels_go_from_each_architecture_with_proof(name):
    model, x = randomise_statistics(NETWORKS[name]()), torch.randn(2, 3, 16, 16)

    result = prune(model, PruneSpec(ratio=0.5, scope="local"), example_inputs=(x,))

    assert result.proof.max_relative <= 1e-5
    assert result.proof.unknown_ops == ()
    assert count_params(result.model) <= 0.5 * count_params(model)
    assert count_macs(result.model, (x,)) < 0.7 * count_macs(model, (x,))
    frozen = {row.name: row.frozen for row in result.report if row.frozen}
    kept = {"head.weight", "blocks.0.tokens.2.weight"}  # the outputs; the mixer's tokens, whose number is fixed
    assert set(frozen) <= kept


def test_statistics_of_norms_across_channels_run_over_the_kept_channels_and_the_proof_says_so():
    result = prune(Classifier(ConvNeXt(16)), PruneSpec(ratio=0.5), example_inputs=(torch.randn(2, 3, 16, 16),))

    assert result.proof.masked_norms == ("layer_norm",)
