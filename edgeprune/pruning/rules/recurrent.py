"""LSTM and GRU: the gates of a hidden unit go together, and with them its state and its output.

torch keeps one hidden size for all layers and directions of a module, so these lose the same units. A unit whose
weights are all zero stays at zero: that is what the masked reference runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from edgeprune.pruning.classes import Ids
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import unlabelled
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace


def _lstm(trace: Trace, node: Node, x: Labels, states: Sequence[Labels], *options: Any) -> list[Labels]:
    return _recur(trace, node, x, states, *options)


def _gru(trace: Trace, node: Node, x: Labels, state: Labels, *options: Any) -> list[Labels]:
    return _recur(trace, node, x, [state], *options)


def _recur(
    trace: Trace, node: Node, x: Labels, states: Sequence[Labels], weights: Sequence[Labels], biased: bool, layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> list[Labels]:  # fmt: skip
    # Weights of each layer and direction: (G·H, I), (G·H, H) and, if biased, twice (G·H,).
    directions = 1 + bidirectional
    per_cell = len(weights) // (layers * directions)
    if per_cell != (4 if biased else 2):
        for side in (x, *states, *weights):
            trace.freeze(side, "is projected in")
        found: list[Labels] = list(unlabelled(node))
        return found
    hidden = weights[1].ids(1)
    arriving = x.ids(-1)
    for layer in range(layers):
        for direction in range(directions):
            start = (layer * directions + direction) * per_cell
            _cell(trace, weights[start : start + per_cell], arriving, hidden)
            _note(trace, node, start, x)
        arriving = np.tile(hidden, directions)
    for state in states:
        if not state.is_free(len(state.shape) - 1):
            trace.union(state.ids(-1), hidden)
    kept = trace.freeze_axes(x, range(len(x.shape) - 1), "is stepped over by")
    output, *ends = unlabelled(node)
    last = len(kept.shape) - 1
    return [Labels(output.shape, {last: arriving}), *(Labels(end.shape, {len(end.shape) - 1: hidden}) for end in ends)]


def _cell(trace: Trace, weights: Sequence[Labels], arriving: Ids, hidden: Ids) -> None:
    into, between, *biases = weights
    trace.union(into.ids(1), arriving)
    trace.union(between.ids(1), hidden)
    for side in (into, between, *biases):
        trace.union(side.ids(0).reshape(-1, len(hidden)), hidden)


def _note(trace: Trace, node: Node, start: int, x: Labels) -> None:
    """The hidden size is what a user calls the width, so that it comes first."""
    weights: Any = node.args[2]
    into, between = weights[start : start + 2]
    steps = x.shape[0] * x.shape[1] if len(x.shape) > 2 else x.shape[0]
    trace.produces(between, 1, steps)
    trace.produces(into, 0, steps)


RULES: Rules = {"lstm": Rule(_lstm, masks=(0, 1, 2)), "gru": Rule(_gru, masks=(0, 1, 2))}
