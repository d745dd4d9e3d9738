"""Each criterion against numbers worked out by hand, and what it says where it does not apply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.errors import PruneError, UsageError
from edgeprune.pruning import CRITERIA, prune
from edgeprune.pruning.capture import capture
from edgeprune.pruning.criteria import layer_adaptive
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.groups import channel_groups
from edgeprune.pruning.walk import walk
from edgeprune.values.spec import PruneSpec

X = torch.randn(2, 3, 8, 8)


def first_scores(criterion: str, model: nn.Module, example, calibration=None, seed: int = 0) -> list[float]:
    """Scores of the first group of a model."""
    evidence = Evidence(model.eval(), calibration, seed)
    trace = walk(model, capture(model, (example,)))
    return CRITERIA.load(criterion)(channel_groups(trace, evidence)[0]).tolist()


def two_layers() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0], [-0.5, 0.25]]))
        model[1].weight.copy_(torch.tensor([[1.0, 2.0, 0.5], [-1.0, 0.5, 1.0]]))
    return model


def with_norm(scales=(0.5, -2.0, 1.0)) -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor(scales))
    return model


def test_bn_scale_is_the_magnitude_of_batch_norms_scale():
    assert first_scores("bn_scale", with_norm(), X) == [0.5, 2.0, 1.0]


def test_bn_scale_adds_up_over_all_norms_that_a_channel_passes():
    model = nn.Sequential(*with_norm()[:3], nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        model[3].weight.copy_(torch.tensor([1.0, 1.0, -0.25]))
    assert first_scores("bn_scale", model, X) == [1.5, 3.0, 1.25]


def test_a_group_without_batch_norm_is_kept_by_bn_scale_and_the_report_says_so():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), *[nn.Conv2d(4, 3, 3), *with_norm()[1:]])
    result = prune(model, PruneSpec(criterion="bn_scale", ratio=0.34), example_inputs=(X,))

    bare, normed, _ = result.report
    assert (bare.width_after, bare.frozen) == (4, "has no batch norm whose scale could rank it")
    assert normed.width_after == 2
    assert result.recipe.cuts[0].kept == (1, 2)


def test_bn_scale_without_any_batch_norm_is_refused():
    with pytest.raises(PruneError, match=r"Every group has to stay: 0.weight: has no batch norm whose scale"):
        prune(two_layers(), PruneSpec(criterion="bn_scale", ratio=0.3), example_inputs=(torch.ones(1, 2),))


def test_fpgm_is_the_sum_of_distances_to_the_other_filters():
    # Filters (1, -2), (3, 4), (-0.5, 0.25): distances by Pythagoras.
    d01, d02, d12 = (4 + 36) ** 0.5, (2.25 + 5.0625) ** 0.5, (12.25 + 14.0625) ** 0.5
    expected = [d01 + d02, d01 + d12, d02 + d12]
    assert first_scores("fpgm", two_layers(), torch.ones(1, 2)) == pytest.approx(expected)


def test_fpgm_removes_the_filter_in_the_middle_even_if_it_is_the_largest():
    model = two_layers()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[9.0, 0.0], [5.0, 5.0], [5.0, -5.0]]))
        model[0].weight[0] = torch.tensor([9.0, 0.0])
    result = prune(model, PruneSpec(criterion="fpgm", ratio=0.3), example_inputs=(torch.ones(1, 2),))
    assert result.recipe.cuts[0].kept == (1, 2)


def test_lamp_divides_a_square_by_those_that_are_no_smaller():
    # m = 5, 25, 0.3125, ascending 0.3125, 5, 25.
    expected = [5 / 30, 1.0, 0.3125 / 30.3125]
    assert first_scores("lamp", two_layers(), torch.ones(1, 2)) == pytest.approx(expected)
    assert layer_adaptive(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert layer_adaptive(np.array([2.0, 2.0])).tolist() == [0.5, 1.0]


def test_lamp_ranks_all_groups_on_its_own_scale():
    # The wide layer's equal channels share one norm, so its scores are 1/n, 1/(n-1), … and it loses almost all.
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 4, 1), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        model[0].weight.fill_(0.1)
        model[1].weight.fill_(0.1)
    result = prune(model, PruneSpec(criterion="lamp", ratio=0.6), example_inputs=(X,))
    assert [row.width_after for row in result.report[:2]] == [4, 4]


def test_hessian_is_half_w_squared_times_the_mean_square_of_single_gradients():
    # Two examples x = (1, 0) and (2, 0), target 0; see test_criteria for the slopes of the softmax.
    def terms(x0: float) -> tuple[np.ndarray, np.ndarray]:
        first, into = np.array([1.0, 3.0, -0.5]), np.array([[1.0, 2.0, 0.5], [-1.0, 0.5, 1.0]])
        hidden = x0 * first
        logits = into @ hidden
        p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        slope = p - np.array([1.0, 0.0])
        return np.outer(slope, hidden), slope @ into * x0  # dL/dW2, dL/dW1[:, 0]

    found = [terms(1.0), terms(2.0)]
    second, first = (np.mean([pair[i] ** 2 for pair in found], axis=0) for i in (0, 1))
    w1, w2 = np.array([1.0, 3.0, -0.5]), np.array([[1.0, 2.0, 0.5], [-1.0, 0.5, 1.0]])
    expected = 0.5 * w1**2 * first + 0.5 * (w2**2 * second).sum(axis=0)

    both = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    as_one_batch = first_scores("hessian", two_layers(), torch.ones(1, 2), [(both, torch.tensor([0, 0]))])
    one_by_one = [(both[:1], torch.tensor([0])), (both[1:], torch.tensor([0]))]

    assert as_one_batch == pytest.approx(expected.tolist(), rel=1e-4)
    assert first_scores("hessian", two_layers(), torch.ones(1, 2), one_by_one) == pytest.approx(as_one_batch)


def test_hessian_without_calibration_data_says_what_to_pass():
    with pytest.raises(UsageError, match="no calibration data"):
        first_scores("hessian", two_layers(), torch.ones(1, 2))


def test_gradients_leave_the_model_as_it_was():
    model = two_layers()
    model[0].weight.requires_grad_(False)
    first_scores("hessian", model, torch.ones(1, 2), [(torch.ones(2, 2), torch.tensor([0, 1]))])
    assert [p.requires_grad for p in model.parameters()] == [False, True]
    assert all(p.grad is None for p in model.parameters())


def test_random_scores_follow_the_seed_and_nothing_else():
    scores = [first_scores("random", two_layers(), torch.ones(1, 2), seed=seed) for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]
    assert all(0 <= value < 1 for value in scores[0])


def test_isomorphic_scope_takes_the_share_from_each_set_of_equal_structure():
    def block(into: int, out: int) -> list[nn.Module]:
        return [nn.Conv2d(into, out, 1), nn.BatchNorm2d(out), nn.ReLU()]

    model = nn.Sequential(
        *block(3, 8),
        *block(8, 8),
        *block(8, 8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 8),
        nn.Linear(8, 2),
    )
    with torch.no_grad():
        spread = torch.linspace(1, 9, 8)
        for index in (0, 3, 6):
            model[index].weight.copy_(spread[:, None, None, None].expand_as(model[index].weight))
        model[3].weight.copy_(torch.full_like(model[3].weight, 5.0))
        model[11].weight.copy_(torch.full((8, 8), 1.0))
    widths = {
        scope: [
            row.width_after
            for row in prune(model, PruneSpec(ratio=0.5, scope=scope), example_inputs=(X,)).report
            if row.frozen is None
        ]
        for scope in ("global", "isomorphic")
    }

    # Convolutions before convolutions are of one kind, the one before the linear layer and the linear layer of others.
    assert sum(widths["isomorphic"][:2]) == 8
    assert widths["isomorphic"][2:] == [4, 4]
    assert widths["global"] != widths["isomorphic"]
    assert sum(widths["global"]) == sum(widths["isomorphic"]) == 16
