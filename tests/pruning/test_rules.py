"""The table of rules, and what the analysis costs."""

from __future__ import annotations

import inspect
from collections import Counter
from time import perf_counter

import pytest
import torch
from pruning_architectures import Dense, InvertedResidual, conv
from torch import nn

from edgeprune.pruning.capture import capture
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.groups import channel_groups
from edgeprune.pruning.rules import FAMILIES, RULES
from edgeprune.pruning.walk import walk


def test_no_op_has_two_rules():
    counted = Counter(name for family in FAMILIES for name in family.RULES)
    assert {name for name, count in counted.items() if count > 1} == set()


def test_every_rule_names_an_op_of_torch_and_takes_trace_and_node():
    aten = torch.ops.aten
    assert [n for n in RULES if n != "getitem" and not hasattr(aten, n) and not hasattr(aten, f"{n}_")] == []
    for rule in RULES.values():
        assert list(inspect.signature(rule.trace).parameters)[:2] == ["trace", "node"]


@pytest.mark.slow
def test_the_analysis_costs_a_fraction_of_the_export():
    layers = [conv(3, 32), Dense(32, 16, 16), conv(288, 32), *(InvertedResidual(32, 6) for _ in range(12))]
    model, x = nn.Sequential(*layers, nn.Conv2d(32, 4, 1)).eval(), torch.randn(1, 3, 16, 16)
    capture(model, (x,))  # the first export of a process also pays for torch's own start

    start = perf_counter()
    captured = capture(model, (x,))
    exported = perf_counter()
    groups = channel_groups(walk(model, captured), Evidence(model, None))
    done = perf_counter()

    assert len(groups) > 20
    assert done - exported < 0.5 * (exported - start)
