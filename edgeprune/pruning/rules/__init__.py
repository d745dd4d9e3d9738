"""How each op passes channel labels on: one file for each family of ops, one table of them all.

An op that is not in the table freezes what passes through it. To add one, write a function in its family's file
that takes the trace, the node and the op's own arguments (labels in place of tensors) and returns the labels of
the result, and put it into that file's `RULES`.
"""

from __future__ import annotations

from edgeprune.pruning.rules import (
    attention,
    contraction,
    convolution,
    creation,
    elementwise,
    movement,
    normalisation,
    partition,
    recurrent,
    reduction,
    reshape,
)
from edgeprune.pruning.rules.rule import Rule, Rules

FAMILIES = (
    convolution, contraction, attention, normalisation, elementwise, reduction, movement, reshape, partition, creation,
    recurrent,
)  # fmt: skip

RULES: Rules = {name: rule for family in FAMILIES for name, rule in family.RULES.items()}

__all__ = ["RULES", "Rule", "Rules"]
