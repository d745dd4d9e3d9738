from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeprune.errors import DataError, ModelError, UnknownName, UsageError
from edgeprune.pruning import CRITERIA, prune
from edgeprune.values.spec import PruneSpec


def two_layers() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0], [-0.5, 0.25]]))
        model[1].weight.copy_(torch.tensor([[1.0, 2.0, 0.5], [-1.0, 0.5, 1.0]]))
    return model


def scores(criterion: str, calibration=None) -> list[float]:
    """Scores of the three hidden channels, read where the engine uses them."""
    found = []
    load = CRITERIA.load(criterion)

    def listening(group):
        values = load(group)
        found.append(values)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"edgeprune.pruning.criteria.{criterion}", listening)
        prune(two_layers(), PruneSpec(ratio=0.3, criterion=criterion), example_inputs=(torch.ones(1, 2),),
              calibration=calibration)  # fmt: skip
    return found[0].tolist()


def test_l1_is_the_sum_of_magnitudes_of_the_producing_weights():
    assert scores("l1") == [3.0, 7.0, 0.75]


def test_l2_is_the_norm_of_the_producing_weights():
    assert scores("l2") == pytest.approx([5**0.5, 5.0, (0.25 + 0.0625) ** 0.5])


def test_taylor_is_the_sum_of_weight_times_gradient_over_all_coupled_slices_and_batches():
    # x = (1, 0), hidden h = (1, 3, -0.5), logits z = (6.75, 0), target 0: dL/dz = (p - 1, 1 - p), p = sigmoid(6.75).
    # dL/dW2[k, c] = dL/dz[k] * h[c]; dL/dh[c] = sum over k of dL/dz[k] * W2[k, c]; dL/dW1[c, 0] = dL/dh[c] * 1.
    x, target = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    slope = 1 - 1 / (1 + 2.718281828459045 ** -(6.75 - 0.0))
    hidden, first = [1.0, 3.0, -0.5], [1.0, 3.0, -0.5]
    into = [(1.0, -1.0), (2.0, 0.5), (0.5, 1.0)]
    by_hand = [
        abs(first[c] * slope * (into[c][1] - into[c][0])) + slope * abs(hidden[c]) * sum(abs(w) for w in into[c])
        for c in range(3)
    ]

    assert scores("taylor", [(x, target)]) == pytest.approx(by_hand, rel=1e-4)
    assert scores("taylor", [(x, target)] * 3) == pytest.approx([3 * value for value in by_hand], rel=1e-4)


def test_score_grows_with_weight_magnitude():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 1))
    with torch.no_grad():
        for channel, scale in enumerate((0.3, 2.0, 0.1, 1.0)):
            model[0].weight[channel] = scale
    for criterion in ("l1", "l2"):
        spec = PruneSpec(ratio=0.5, criterion=criterion)
        assert prune(model, spec, example_inputs=(torch.randn(1, 1, 5, 5),)).recipe.cuts[0].kept == (1, 3)


def test_taylor_without_calibration_data_says_what_to_pass():
    with pytest.raises(UsageError, match=r"no calibration data. Pass calibration="):
        scores("taylor")


def test_taylor_refuses_a_loss_that_is_not_a_number():
    with pytest.raises(ModelError, match="loss is nan"):
        scores("taylor", [(torch.full((1, 2), float("nan")), torch.tensor([0]))])


def test_taylor_refuses_targets_that_are_no_class_indices():
    with pytest.raises(DataError, match="no class indices for logits of shape"):
        scores("taylor", [(torch.ones(1, 2), torch.tensor([7]))])


def test_an_empty_calibration_loader_is_refused():
    with pytest.raises(DataError, match="yielded nothing"):
        scores("taylor", [])


def test_a_generator_of_calibration_data_serves_every_step():
    data = ((torch.randn(2, 2), torch.tensor([0, 1])) for _ in range(2))
    spec = PruneSpec(ratio=0.6, criterion="taylor", steps=2)
    result = prune(two_layers(), spec, example_inputs=(torch.ones(1, 2),), calibration=data)
    assert result.recipe.cuts[0].width == 3


def test_scores_that_are_not_finite_are_refused():
    model = two_layers()
    with torch.no_grad():
        model[0].weight[1, 1] = float("inf")
    with pytest.raises(ModelError, match="NaN or infinity"):
        prune(model, PruneSpec(ratio=0.3), example_inputs=(torch.tensor([[1.0, 0.0]]),))


def test_an_unknown_criterion_lists_the_known_ones():
    with pytest.raises(UnknownName, match="Did you mean 'taylor'"):
        prune(two_layers(), PruneSpec(ratio=0.3, criterion="tailor"), example_inputs=(torch.ones(1, 2),))
