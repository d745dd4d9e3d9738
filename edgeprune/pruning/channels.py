"""The method "channel": remove whole channels, wherever they stand, and prove it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgeprune.errors import ModelError, PruneError, UsageError
from edgeprune.pruning.allocation import allocate
from edgeprune.pruning.capture import Captured, capture, copied
from edgeprune.pruning.classes import Ids
from edgeprune.pruning.composition import composed
from edgeprune.pruning.cost import batch_size
from edgeprune.pruning.criteria import CRITERIA, Criterion, Scores
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.exclusion import excluded_by
from edgeprune.pruning.groups import ChannelGroup, channel_groups
from edgeprune.pruning.masking import MaskedNetwork
from edgeprune.pruning.proof import Claim, prove
from edgeprune.pruning.reporting import group_report
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult
from edgeprune.pruning.surgery import cut, following_attributes, set_attributes
from edgeprune.pruning.trace import Trace
from edgeprune.pruning.walk import walk
from edgeprune.values.event import Event, Listener
from edgeprune.values.recipe import GroupCut, PruneRecipe, Slice
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
    """What one step will do: all groups, and what each of the prunable ones keeps."""

    trace: Trace
    groups: list[ChannelGroup]
    open: list[ChannelGroup]
    scores: list[Scores]
    kept: list[Ids]

    @property
    def gone(self) -> NDArray[np.bool_]:
        """Return for each channel id of the trace whether it is removed."""
        removed = [np.delete(group.roots, kept) for group, kept in zip(self.open, self.kept, strict=True)]
        return self.trace.gone(np.concatenate(removed))

    @property
    def cuts(self) -> tuple[GroupCut, ...]:
        """Return what the groups that lose channels lose."""
        pairs = zip(self.open, self.kept, strict=True)
        return tuple(_group_cut(group, kept) for group, kept in pairs if len(kept) < group.n_channels)


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
        widths = {**{group.name: group.n_channels for group in step.plan.open}, **widths}
    listener(Event("prune", subject, spec.steps, spec.steps, "steps", f"{spec.steps} of {spec.steps} cuts proved"))
    return PruneResult(model, recipe, _report(steps, batch_size(example_inputs)), _worst(steps))


def _step(model: nn.Module, task: _Task, ratio: float, widths: Mapping[str, int]) -> _Step:
    captured = capture(model, task.inputs)
    evidence = Evidence(model, task.calibration)

    def attempt(rigid: frozenset[str]) -> _Step:
        plan = _plan(walk(model, captured, rigid), evidence, task, ratio, widths)
        return _proved(model, captured, plan, task)

    try:
        return attempt(frozenset())
    except PruneError:
        places = frozenset(walk(model, captured).sized)
        if not places:
            raise
        return _with_least_rigid(attempt, places)


def _with_least_rigid(attempt: Callable[[frozenset[str]], _Step], places: frozenset[str]) -> _Step:
    """Return the step that holds fixed as few places as it can, whose sizes stand as numbers in the user's code."""
    rigid, step = places, None
    for released in (frozenset[str](), *(frozenset({place}) for place in sorted(places))):
        with suppress(PruneError):
            step = attempt(rigid - released)
            rigid -= released
    return step or attempt(rigid)


def _proved(model: nn.Module, captured: Captured, plan: _Plan, task: _Task) -> _Step:
    gone = plan.gone
    pruned = copied(model)
    cut(pruned, PruneRecipe(plan.cuts))
    counts = {module: int((~gone[ids]).sum()) for module, ids in plan.trace.followers.items()}
    recipe = PruneRecipe(plan.cuts, following_attributes(pruned, counts))
    set_attributes(pruned, recipe)
    claim = Claim(model, pruned, MaskedNetwork(captured, plan.trace, gone), recipe)
    proof = prove(claim, task.inputs, task.spec.seed, "in_place")
    return _Step(plan, pruned, recipe, replace(proof, unknown_ops=tuple(plan.trace.unknown)))


def _plan(trace: Trace, evidence: Evidence, task: _Task, ratio: float, widths: Mapping[str, int]) -> _Plan:
    groups = [_excluded(group, task.spec) for group in channel_groups(trace, evidence)]
    unfrozen = [group for group in groups if group.frozen is None and group.n_channels > 1]
    if not unfrozen:
        raise PruneError("No channel of this model can be removed.", _why_nothing(groups))
    scores = [_scored(task.criterion, group) for group in unfrozen]
    if ratio == 0:
        kept = [np.arange(group.n_channels) for group in unfrozen]
    else:
        totals = [widths.get(group.name, group.n_channels) for group in unfrozen]
        kept = allocate(unfrozen, scores, totals, ratio, task.spec)
    return _Plan(trace, groups, unfrozen, scores, kept)


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


def _group_cut(group: ChannelGroup, kept: Ids) -> GroupCut:
    slices = []
    for place in group.places:
        removed = np.delete(place.indices, kept, axis=0).ravel()
        stays = np.delete(np.arange(place.size), removed)
        slices.append(Slice(place.tensor, place.dim, place.size, tuple(stays.tolist())))
    return GroupCut(group.name, group.n_channels, tuple(kept.tolist()), tuple(slices))


def _report(steps: list[_Step], batch: int) -> tuple[GroupReport, ...]:
    # Describe the groups of the first step, with the widths that the last one left.
    first, last = steps[0].plan, steps[-1].plan
    left = {group.name: len(kept) for group, kept in zip(last.open, last.kept, strict=True)}
    scores = {group.name: values for group, values in zip(first.open, first.scores, strict=True)}
    return tuple(_row(group, left, scores, first.trace, batch) for group in first.groups)


def _row(
    group: ChannelGroup, left: Mapping[str, int], scores: Mapping[str, Scores], trace: Trace, batch: int
) -> GroupReport:
    ranked = scores.get(group.name) if group.frozen is None else None
    n_kept = group.n_channels if ranked is None else left.get(group.name, 1)
    return group_report(group, n_kept, ranked, trace, batch)


def _worst(steps: list[_Step]) -> ProofReport:
    """Return the proof of the step that came closest to failing; it speaks for all."""
    return max((step.proof for step in steps), key=lambda proof: proof.max_relative)
