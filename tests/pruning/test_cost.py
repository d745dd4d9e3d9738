from __future__ import annotations

import torch
from torch import nn

from edgeprune.pruning import count_macs, count_params


def test_macs_are_counted_per_example_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.Flatten(), nn.Linear(8 * 16, 10))
    for batch in (1, 4):
        assert count_macs(model, (torch.randn(batch, 3, 4, 4),)) == 16 * 8 * 27 + 8 * 16 * 10


def test_a_grouped_convolution_costs_its_groups_share():
    model = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    assert count_macs(model, (torch.randn(2, 8, 4, 4),)) == 16 * 8 * 9


def test_tied_parameters_count_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    assert count_params(model) == 16


def test_counting_changes_neither_mode_nor_statistics():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    count_macs(model, (torch.randn(2, 1, 4, 4),))
    assert model[1].training and model[1].num_batches_tracked == 0
