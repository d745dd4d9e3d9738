"""The table of rules."""

from __future__ import annotations

import inspect
from collections import Counter

import torch

from edgeprune.pruning.rules import FAMILIES, RULES


def test_no_op_has_two_rules():
    counted = Counter(name for family in FAMILIES for name in family.RULES)
    assert {name for name, count in counted.items() if count > 1} == set()


def test_every_rule_names_an_op_of_torch_and_takes_trace_and_node():
    aten = torch.ops.aten
    assert [n for n in RULES if n != "getitem" and not hasattr(aten, n) and not hasattr(aten, f"{n}_")] == []
    for rule in RULES.values():
        assert list(inspect.signature(rule.trace).parameters)[:2] == ["trace", "node"]
