"""The method "channel": remove whole channels, wherever they stand, and prove it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from edgeprune.errors import ModelError, PruneError, UsageError
from edgeprune.pruning.allocation import allocate
from edgeprune.pruning.capture import Captured, capture
from edgeprune.pruning.carving import Selection, carve
from edgeprune.pruning.composition import composed
from edgeprune.pruning.cost import batch_size
from edgeprune.pruning.criteria import CRITERIA, Criterion, Scores
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.exclusion import excluded_by
from edgeprune.pruning.groups import ChannelGroup, channel_groups
from edgeprune.pruning.isolation import Isolation, doubtful
from edgeprune.pruning.masking import MaskedNetwork
from edgeprune.pruning.proof import Claim, DoesNotRun, NotMasked, prove
from edgeprune.pruning.reporting import group_report
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult
from edgeprune.pruning.trace import Trace
from edgeprune.pruning.walk import walk
from edgeprune.values.event import Event, Listener
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same over all steps."""

    spec: PruneSpec
    inputs: Sequence[Any]
    calibration: Iterable[Any] | None
    criterion: Criterion


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one step will do: all groups, the prunable ones with their scores, and what these keep."""

    groups: list[ChannelGroup]
    scores: list[Scores]
    selection: Selection


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step did."""

    plan: _Plan
    model: nn.Module
    recipe: PruneRecipe
    proof: ProofReport


def prune_channels(
    model: nn.Module,
    spec: PruneSpec,
    example_inputs: Sequence[Any],
    calibration: Iterable[Any] | None,
    listener: Listener,
) -> PruneResult:
    """Remove a share of the channels, in as many steps as the spec asks.

    Args:
        model: In eval mode, and known to run; left as it is.
        spec: With a ratio.
        example_inputs: Positional arguments of its forward.
        calibration: For criteria that need data.
        listener: Hears of each step.

    Returns:
        The smaller model.

    Raises:
        UsageError: The spec gives no ratio.
    """
    if spec.ratio is None:
        raise UsageError("The method 'channel' takes a ratio.", "Give ratio=0.5, the share of channels to remove.")
    task = _Task(spec, example_inputs, calibration, CRITERIA.load(spec.criterion))
    subject = f"{spec.criterion} {spec.ratio:g}"
    widths: dict[str, int] = {}
    recipe = PruneRecipe(())
    steps: list[_Step] = []
    for number in range(1, spec.steps + 1):
        listener(Event("prune", subject, number - 1, spec.steps, "steps"))
        step = _step(model, task, spec.ratio * number / spec.steps, widths)
        model = step.model
        recipe = composed(recipe, step.recipe)
        steps.append(step)
        widths = {**{group.name: group.n_channels for group in step.plan.selection.groups}, **widths}
    listener(Event("prune", subject, spec.steps, spec.steps, "steps", f"{spec.steps} of {spec.steps} cuts proved"))
    return PruneResult(model, recipe, _report(steps, batch_size(example_inputs)), _worst(steps))


def _step(model: nn.Module, task: _Task, ratio: float, widths: Mapping[str, int]) -> _Step:
    captured = capture(model, task.inputs)
    trace = walk(model, captured)
    groups = [_excluded(group, task.spec) for group in channel_groups(trace, Evidence(model, task.calibration))]
    while True:
        plan = _plan(trace, groups, task, ratio, widths)
        try:
            return _proved(model, captured, plan, task)
        except DoesNotRun:
            stuck = Isolation(model, trace, task.inputs).stuck(plan.selection.groups)
            if not stuck:
                raise
        except NotMasked:
            stuck = doubtful(trace, plan.selection.groups)
            if not stuck:
                raise
        groups = [replace(group, frozen=stuck.get(group.name, group.frozen)) for group in groups]


def _proved(model: nn.Module, captured: Captured, plan: _Plan, task: _Task) -> _Step:
    selection = plan.selection
    pruned, recipe = carve(model, selection)
    claim = Claim(model, pruned, MaskedNetwork(captured, selection.trace, selection.gone), recipe)
    proof = prove(claim, task.inputs, task.spec.seed, "in_place")
    return _Step(plan, pruned, recipe, replace(proof, unknown_ops=tuple(selection.trace.unknown)))


def _plan(trace: Trace, groups: list[ChannelGroup], task: _Task, ratio: float, widths: Mapping[str, int]) -> _Plan:
    unfrozen = [group for group in groups if group.frozen is None and group.n_channels > 1]
    if not unfrozen:
        raise PruneError("No channel of this model can be removed.", _why_nothing(groups))
    scores = [_scored(task.criterion, group) for group in unfrozen]
    if ratio == 0:
        kept = [np.arange(group.n_channels) for group in unfrozen]
    else:
        totals = [widths.get(group.name, group.n_channels) for group in unfrozen]
        kept = allocate(unfrozen, scores, totals, ratio, task.spec)
    return _Plan(groups, scores, Selection(trace, unfrozen, kept))


def _excluded(group: ChannelGroup, spec: PruneSpec) -> ChannelGroup:
    pattern = None if group.frozen else excluded_by(group, spec.exclude)
    return group if pattern is None else replace(group, frozen=f"excluded by {pattern!r}")


def _scored(criterion: Criterion, group: ChannelGroup) -> Scores:
    scores = criterion(group)
    if not np.isfinite(scores).all():
        raise ModelError(f"The scores of {group.name!r} hold NaN or infinity.", "Check the weights and the data.")
    return scores


def _why_nothing(groups: list[ChannelGroup]) -> str:
    if not groups:
        return "It has no convolution and no linear layer whose channels EdgePrune could follow."
    reasons = "; ".join(f"{group.name}: {group.frozen or 'has one channel'}" for group in groups)
    return f"Every group has to stay: {reasons}."


def _report(steps: list[_Step], batch: int) -> tuple[GroupReport, ...]:
    # Describe the groups of the first step, with the widths that the last one left.
    first, last = steps[0].plan, steps[-1].plan
    left = {group.name: len(kept) for group, kept in zip(last.selection.groups, last.selection.kept, strict=True)}
    scores = {group.name: values for group, values in zip(first.selection.groups, first.scores, strict=True)}
    return tuple(_row(group, left, scores, first.selection.trace, batch) for group in first.groups)


def _row(
    group: ChannelGroup, left: Mapping[str, int], scores: Mapping[str, Scores], trace: Trace, batch: int
) -> GroupReport:
    ranked = scores.get(group.name) if group.frozen is None else None
    n_kept = group.n_channels if ranked is None else left.get(group.name, 1)
    return group_report(group, n_kept, ranked, trace, batch)


def _worst(steps: list[_Step]) -> ProofReport:
    """Return the proof of the step that came closest to failing; it speaks for all."""
    return max((step.proof for step in steps), key=lambda proof: proof.max_relative)
