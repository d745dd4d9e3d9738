"""The method "connection": cut what one layer passes to another where little L1 mass is lost by it.

A connection is one channel as one layer reads it. Cutting it sets the weights of that layer that read the channel to
zero; a channel that no weight reads any more is removed wherever it stands, as by the method "channel".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeprune.errors import PruneError, UsageError
from edgeprune.pruning.capture import capture, copied, tensors
from edgeprune.pruning.channels import Step, Task, channel_rows, cut_channels
from edgeprune.pruning.classes import Ids
from edgeprune.pruning.composition import composed
from edgeprune.pruning.connection_ranking import Flags, Reader, find_readers, inputs_for, weakest
from edgeprune.pruning.cost import batch_size
from edgeprune.pruning.criteria import Scores
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.exclusion import excluded_by
from edgeprune.pruning.groups import ChannelGroup, channel_groups, module_name
from edgeprune.pruning.keeping import Recover
from edgeprune.pruning.proof import Claim, prove
from edgeprune.pruning.reference import EditedNetwork
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult
from edgeprune.pruning.schedule import amounts
from edgeprune.pruning.size import size_report
from edgeprune.pruning.walk import walk
from edgeprune.pruning.weight import NO_SPEED
from edgeprune.pruning.weight_ranking import Masks
from edgeprune.pruning.zeroing import packed, zero_entries
from edgeprune.values.event import Event, Listener
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec


@dataclass(frozen=True, slots=True)
class _Cut:
    """What one step did: the readers that it found, what it left of them, and both halves of the work."""

    readers: list[Reader]
    cut: list[Flags]
    step: Step
    recipe: PruneRecipe
    proof: ProofReport


def prune_connections(
    model: nn.Module,
    spec: PruneSpec,
    example_inputs: Sequence[Any],
    calibration: Iterable[Any] | None,
    listener: Listener,
    recover: Recover,
) -> PruneResult:
    """Cut a share of the connections between layers.

    Args:
        model: In eval mode, and known to run; left as it is.
        spec: With a ratio.
        example_inputs: Positional arguments of its forward.
        calibration: Loader whose inputs show what is passed; the example inputs serve where there is none.
        listener: Hears of each step.
        recover: Trains what a step left, between steps; what is zero stays zero.

    Returns:
        The model with zeros, and without the channels that nothing reads.

    Raises:
        UsageError: The spec gives no ratio, or another criterion.
    """
    if spec.ratio is None or spec.criterion != "connection" or spec.scope == "isomorphic":
        raise UsageError(
            "The method 'connection' takes a ratio, ranks by 'connection' only, and knows the scopes global and local.",
            "Give ratio=0.5, the share of connections to cut, and no criterion.",
        )
    shown = inputs_for(calibration, example_inputs)
    dense, recipe, cuts, total = model, PruneRecipe(()), list[_Cut](), 0
    for number, ratio in enumerate(amounts(spec.ratio, spec.steps, spec.schedule), start=1):
        listener(Event("prune", spec.label, number - 1, spec.steps, "steps"))
        # A graph that was written again has no layers whose reading could be measured, so that comes last.
        now = spec if number == spec.steps else replace(spec, rewrite=False)
        found = _step(model, now, ratio, total, example_inputs, shown)
        model, recipe = found.step.model, composed(recipe, found.recipe)
        total = total or sum(len(reader.shares) for reader in found.readers)
        cuts.append(found)
        if number < spec.steps:
            recover(model, recipe)
    listener(Event("prune", spec.label, spec.steps, spec.steps, "steps", f"{spec.steps} of {spec.steps} cuts proved"))
    rows = (*_rows(cuts), *channel_rows([found.step for found in cuts], batch_size(example_inputs)))
    proof = max((found.proof for found in cuts), key=lambda each: each.max_relative)
    return PruneResult(model, recipe, rows, proof, size_report(dense, model), (NO_SPEED,))


def _step(
    model: nn.Module, spec: PruneSpec, ratio: float, total: int, inputs: Sequence[Any], shown: Sequence[Any]
) -> _Cut:
    groups = _groups(model, spec, inputs)
    readers = find_readers(model, groups, shown)
    if not readers:
        raise PruneError(
            "No layer of this model reads channels that could be cut.",
            "; ".join(f"{group.name}: {group.frozen or 'is read by no weight'}" for group in groups) + ".",
        )
    now = sum(len(reader.shares) for reader in readers)
    gone = (total or now) - now
    cut = weakest(readers, max(0, math.floor(ratio * (total or now) + 0.5) - gone), spec.scope)
    masks = _masks(model, readers, cut)
    zeroed = copied(model)
    zero_entries(zeroed, masks)
    zeros = PruneRecipe((), zeros=packed(masks))
    proof = prove(Claim(model, zeroed, EditedNetwork(model, zeros), zeros), inputs, spec.seed)
    live = _live(readers, cut)
    task = Task(spec, inputs, None, lambda group: _scores(group, readers, live), _choose)
    step = cut_channels(zeroed, task, ratio, {})
    worst = max(step.proof, proof, key=lambda each: each.max_relative)
    return _Cut(readers, cut, step, composed(zeros, step.recipe), worst)


def _groups(model: nn.Module, spec: PruneSpec, inputs: Sequence[Any]) -> list[ChannelGroup]:
    found = channel_groups(walk(model, capture(model, inputs)), Evidence(model, None, spec.seed))
    patterns = {group.name: excluded_by(group, spec.exclude) for group in found if group.frozen is None}
    return [
        replace(group, frozen=f"excluded by {patterns[group.name]!r}") if patterns.get(group.name) else group
        for group in found
    ]


def _masks(model: nn.Module, readers: Sequence[Reader], cut: Sequence[Flags]) -> Masks:
    held, masks = tensors(model), dict[str, Any]()
    for reader, gone in zip(readers, cut, strict=True):
        name, dim = reader.place.tensor, reader.place.dim
        mask = masks.setdefault(name, torch.zeros(held[name].shape, dtype=torch.bool))
        mask.index_fill_(dim, torch.from_numpy(reader.place.indices[gone].ravel()), True)
    return masks


def _live(readers: Sequence[Reader], cut: Sequence[Flags]) -> Mapping[str, Scores]:
    """Return for each group that is read how many layers still read each channel."""
    live: dict[str, Any] = defaultdict(lambda: 0)
    for reader, gone in zip(readers, cut, strict=True):
        live[reader.group] = live[reader.group] + (~gone)
    return live


def _scores(group: ChannelGroup, readers: Sequence[Reader], live: Mapping[str, Scores]) -> Scores:
    # What is read scores above 1, by its largest share anywhere; what is not read any more scores below.
    shares = [reader.shares for reader in readers if reader.group == group.name]
    if not shares:
        return np.full(group.n_channels, 2.0)
    scores: Scores = np.max(shares, axis=0) + (live[group.name] > 0)
    return scores


def _choose(
    groups: Sequence[ChannelGroup], scores: Sequence[Scores], totals: Sequence[int], ratio: float, spec: PruneSpec
) -> list[Ids]:
    # Keep what is read, and as much of the rest as makes the width a multiple.
    kept = []
    for group, values in zip(groups, scores, strict=True):
        step = spec.round_to // math.gcd(spec.round_to, group.span)
        count = min(group.n_channels, step * math.ceil(max(1, int((values > 1).sum())) / step))
        kept.append(np.sort(np.argsort(-values, kind="stable")[:count]))
    return kept


def _rows(cuts: Sequence[_Cut]) -> tuple[GroupReport, ...]:
    first, last = cuts[0], cuts[-1]
    left = {r.place.tensor: 0 for r in first.readers}
    for reader, gone in zip(last.readers, last.cut, strict=True):
        left[reader.place.tensor] = left.get(reader.place.tensor, 0) + int((~gone).sum())
    rows: dict[str, GroupReport] = {}
    for reader in first.readers:
        name = reader.place.tensor
        low, high, count = float(reader.shares.min()), float(reader.shares.max()), len(reader.shares)
        known = rows.get(name)
        if known is not None:  # a layer that reads several groups, by a concatenation
            low, high = min(low, known.score_min or low), max(high, known.score_max or high)
            count += known.width_before
        rows[name] = GroupReport(name, count, left[name], (module_name(name),), low, high, 0, 0, None, "connections")
    return tuple(rows.values())
