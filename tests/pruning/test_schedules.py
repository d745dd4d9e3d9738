"""How an amount grows over the steps, and what runs between them."""

from __future__ import annotations

import pytest
import torch
from pruning_architectures import conv
from torch import nn

from edgeprune.errors import UnknownName, UsageError
from edgeprune.pruning import prune, replay
from edgeprune.pruning.schedule import amounts
from edgeprune.values.spec import SCHEDULES as NAMES
from edgeprune.values.spec import PruneSpec

X = torch.randn(2, 3, 8, 8)


def chain() -> nn.Sequential:
    return nn.Sequential(conv(3, 16), conv(16, 24), nn.Conv2d(24, 2, 1))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.2, 0.4, 0.6, 0.8]),
        ("cubic", [0.8 * (1 - 0.75**3), 0.8 * (1 - 0.5**3), 0.8 * (1 - 0.25**3), 0.8]),
        ("exponential", [1 - 0.2**0.25, 1 - 0.2**0.5, 1 - 0.2**0.75, 0.8]),
    ],
)
def test_schedules_are_their_formulas_and_end_at_the_amount(schedule, expected):
    assert amounts(0.8, 4, schedule) == pytest.approx(expected)
    assert amounts(0.3, 1, schedule) == [0.3]
    assert set(NAMES) == {"linear", "cubic", "exponential"}


def test_an_unknown_schedule_names_the_nearest():
    for refused in (lambda: amounts(0.5, 2, "cubik"), lambda: PruneSpec(ratio=0.5, schedule="cubik")):
        with pytest.raises(UnknownName, match="Did you mean 'cubic'"):
            refused()


def test_the_exponential_schedule_is_refused_where_the_amount_is_no_share():
    with pytest.raises(UsageError, match="needs a share"):
        PruneSpec(method="weight", threshold=0.1, steps=2, schedule="exponential")


def test_the_hook_runs_between_steps_and_sees_the_scheduled_widths():
    seen = []

    def recover(model, recipe):
        seen.append(model[0][0].out_channels)
        assert recipe.cuts

    spec = PruneSpec(ratio=0.75, scope="local", steps=3, schedule="cubic")
    result = prune(chain(), spec, example_inputs=(X,), recover=recover)

    assert seen == [round(16 * (1 - share)) for share in amounts(0.75, 3, "cubic")[:2]]
    assert result.model[0][0].out_channels == 4


def test_what_the_hook_trains_is_in_the_result_and_the_given_model_is_untouched():
    model = chain()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def recover(pruned, recipe):
        with torch.no_grad():
            pruned[2].weight.fill_(0.125)
        pruned.train()

    result = prune(model, PruneSpec(ratio=0.5, steps=2), example_inputs=(X,), recover=recover)

    assert (result.model[2].weight == 0.125).all()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    again = replay(model, result.recipe)
    again.load_state_dict(result.model.state_dict())
    assert torch.equal(again.eval()(X), result.model.eval()(X))


def test_an_error_in_the_hook_passes_through_and_leaves_the_model():
    model = chain()
    before = model[0][0].weight.clone()

    def recover(pruned, recipe):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        prune(model, PruneSpec(ratio=0.5, steps=2), example_inputs=(X,), recover=recover)
    assert torch.equal(before, model[0][0].weight)
