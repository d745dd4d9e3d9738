"""Refitting: the closest weights, layer by layer, and what is left alone."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import conv
from torch import nn

from edgeprune.pruning import finetune, prune
from edgeprune.pruning.refitting import refit
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import FinetuneSpec, PruneSpec

SHAPES = {"1d": (3, 16), "2d": (3, 8, 8)}


def data(*shape: int, n_batches: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(32, *shape), torch.randint(0, 4, (32,))) for _ in range(n_batches)]


def halved(model: nn.Module, loader, **more):
    return prune(model, PruneSpec(ratio=0.5, scope="local", **more), example_inputs=(loader[0][0],))


def distance(model: nn.Module, dense: nn.Module, loader) -> float:
    with torch.no_grad():
        return sum(float((model(x) - dense(x)).square().mean()) for x, _ in loader)


def test_what_the_channels_that_stay_can_tell_is_told():
    # Every channel stands twice, once weaker: the stronger half says everything.
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        model[0].weight[:4] /= model[0].weight[:4].abs().sum(1, keepdim=True)
        model[0].weight[4:], model[0].bias[4:] = model[0].weight[:4] / 2, model[0].bias[:4] / 2
        model[2].weight[:, 4:] *= 3
    loader = data(6)
    result = halved(model, loader)

    before = distance(result.model, model, loader)
    assert refit(result.model, model, result.recipe, loader, 4) == 2
    assert distance(result.model, model, loader) < 0.01 * before


def plain(kind: str) -> nn.Module:
    convolution, pool = (nn.Conv1d, nn.AdaptiveAvgPool1d) if kind == "1d" else (nn.Conv2d, nn.AdaptiveAvgPool2d)
    return nn.Sequential(
        convolution(3, 12, 3, padding=1), nn.ReLU(), convolution(12, 16, 3, stride=2, dilation=2), nn.ReLU(),
        convolution(16, 12, 1, bias=False), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(12, 4),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_convolutions_of_every_stride_and_dilation_come_closer_on_data_that_were_not_seen(kind):
    model, loader, fresh = plain(kind), data(*SHAPES[kind]), data(*SHAPES[kind])
    result = halved(model, loader)
    before = distance(result.model, model, fresh)
    assert refit(result.model, model, result.recipe, loader, 4) == 4
    assert distance(result.model, model, fresh) < 0.5 * before


def test_a_network_that_lost_nothing_before_a_layer_keeps_its_weights():
    model, loader = plain("2d"), data(*SHAPES["2d"])
    result = halved(model, loader, exclude=("0",))
    refit(result.model, model, result.recipe, loader, 4)
    torch.testing.assert_close(result.model[0].weight, model[0].weight, rtol=1e-4, atol=1e-5)


def test_zeros_that_have_to_stay_and_shared_and_grouped_layers_are_left_alone():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.twice, self.depthwise = conv(3, 8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=8)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.depthwise(self.twice(self.twice(self.stem(x)))).mean((2, 3)))

    model, loader = Net().eval(), data(3, 8, 8)
    result = halved(model, loader)
    assert refit(result.model, model, result.recipe, loader, 4) == 2  # stem and head
    assert torch.equal(result.model.twice.weight, halved(model, loader).model.twice.weight)

    hybrid = prune(model, PruneSpec(method="hybrid", ratio=0.5), example_inputs=(loader[0][0],))
    assert refit(hybrid.model, model, hybrid.recipe, loader, 4) == 0


def test_nothing_is_done_without_a_cut_or_without_batches():
    model, loader = plain("2d"), data(*SHAPES["2d"])
    result = halved(model, loader)
    assert refit(result.model, model, result.recipe, loader, 0) == 0
    assert refit(result.model, model, PruneRecipe(()), loader, 4) == 0


def test_inputs_that_say_nothing_leave_a_layer_as_it_was():
    model, loader = plain("2d"), data(*SHAPES["2d"])
    result = halved(model, loader)
    before = {name: value.clone() for name, value in result.model.state_dict().items()}
    assert refit(result.model, model, result.recipe, [(torch.zeros(8, 3, 8, 8), torch.zeros(8))], 1) >= 0
    assert all(torch.isfinite(value).all() for value in result.model.state_dict().values())
    assert before.keys() == result.model.state_dict().keys()


def test_fine_tuning_refits_first_where_it_is_told_what_was_cut():
    model, loader = plain("2d"), data(*SHAPES["2d"])
    dense = {name: value.clone() for name, value in model.state_dict().items()}
    spec = FinetuneSpec(epochs=0)
    told, untold = halved(model, loader), halved(model, loader)
    finetune(told.model, model, loader, spec, recipe=told.recipe)
    finetune(untold.model, model, loader, spec)
    assert distance(told.model, model, loader) < 0.5 * distance(untold.model, model, loader)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in dense.items())


def test_a_teacher_that_is_not_the_network_which_was_cut_teaches_without_a_refit():
    model, loader = plain("2d"), data(*SHAPES["2d"])
    half = halved(model, loader).model
    quarter = halved(half, loader)
    assert refit(quarter.model, model, quarter.recipe, loader, 4) == 0
    finetune(quarter.model, model, loader, FinetuneSpec(), recipe=quarter.recipe)
    assert refit(quarter.model, half, quarter.recipe, loader, 4) == 4
