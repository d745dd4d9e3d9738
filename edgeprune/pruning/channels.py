"""The method "channel": remove whole channels, wherever they stand, and prove it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from edgeprune.errors import ModelError, PruneError, UsageError
from edgeprune.pruning.allocation import allocate
from edgeprune.pruning.budget import ratio_for
from edgeprune.pruning.capture import Captured, capture
from edgeprune.pruning.carving import Selection
from edgeprune.pruning.classes import Ids
from edgeprune.pruning.composition import composed
from edgeprune.pruning.cost import batch_size, count_params
from edgeprune.pruning.criteria import CRITERIA, Criterion, NotApplicable, Scores
from edgeprune.pruning.cutting import Cutting
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.exclusion import excluded_by
from edgeprune.pruning.groups import ChannelGroup, channel_groups
from edgeprune.pruning.keeping import Recover
from edgeprune.pruning.pausing import collector_paused
from edgeprune.pruning.proof import DoesNotRun, NotMasked
from edgeprune.pruning.reporting import group_report
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult
from edgeprune.pruning.schedule import amounts
from edgeprune.pruning.trace import Trace
from edgeprune.pruning.walk import walk
from edgeprune.values.event import Event, Listener
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec, parse_target

Choose: TypeAlias = Callable[[Sequence[ChannelGroup], Sequence[Scores], Sequence[int], float, PruneSpec], Sequence[Ids]]
"""Groups that may lose channels, their scores, their widths before any pruning, the share of channels to be gone in
the end, the spec -> the channels that each group keeps."""


@dataclass(frozen=True, slots=True)
class Task:
    """What stays the same over all steps.

    Attributes:
        spec: What the user asked.
        inputs: Example inputs.
        calibration: For criteria that need data.
        criterion: Ranks the channels of a group.
        choose: Turns the scores of all groups into what they keep.
    """

    spec: PruneSpec
    inputs: Sequence[Any]
    calibration: Iterable[Any] | None
    criterion: Criterion
    choose: Choose = allocate


@dataclass(frozen=True, slots=True)
class Plan:
    """What one step will do.

    Attributes:
        groups: All of them.
        scores: Of the prunable ones.
        selection: What these keep.
    """

    groups: list[ChannelGroup]
    scores: list[Scores]
    selection: Selection


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did.

    Attributes:
        plan: What was to be done.
        model: The smaller module.
        recipe: What leads to it.
        proof: That it computes what it should.
    """

    plan: Plan
    model: nn.Module
    recipe: PruneRecipe
    proof: ProofReport

    @property
    def widths(self) -> dict[str, int]:
        """Channels of each prunable group before the step."""
        return {group.name: group.n_channels for group in self.plan.selection.groups}


def prune_channels(
    model: nn.Module,
    spec: PruneSpec,
    example_inputs: Sequence[Any],
    calibration: Iterable[Any] | None,
    listener: Listener,
    recover: Recover,
) -> PruneResult:
    """Remove a share of the channels, in as many steps as the spec asks.

    Args:
        model: In eval mode, and known to run; left as it is.
        spec: With a ratio, or with a target for the parameters.
        example_inputs: Positional arguments of its forward.
        calibration: For criteria that need data.
        listener: Hears of each step.
        recover: Trains what a step left, between steps.

    Returns:
        The smaller model.

    Raises:
        UsageError: The spec gives neither.
        PruneError: The target cannot be reached.
    """
    task = Task(spec, example_inputs, calibration, CRITERIA.load(spec.criterion))
    most = _most_params(model, spec)
    final = spec.ratio if most is None else _ratio_for(model, task, most, {})
    if final is None:
        advice = 'Give ratio=0.5, the share of channels to remove, or target="params <= 0.25x".'
        raise UsageError("The method 'channel' takes a ratio or a target.", advice)
    subject = f"{spec.criterion} {final:g}"
    widths: dict[str, int] = {}
    recipe = PruneRecipe(())
    steps: list[Step] = []
    for number, ratio in enumerate(amounts(final, spec.steps, spec.schedule), start=1):
        listener(Event("prune", subject, number - 1, spec.steps, "steps"))
        if most is not None and 1 < number == spec.steps:  # the training between the steps has changed the ranking
            ratio = _ratio_for(model, task, most, widths)
        step = cut_channels(model, task, ratio, widths)
        model, recipe = step.model, composed(recipe, step.recipe)
        steps.append(step)
        widths = {**step.widths, **widths}
        if number < spec.steps:
            recover(model, recipe)
    listener(Event("prune", subject, spec.steps, spec.steps, "steps", f"{spec.steps} of {spec.steps} cuts proved"))
    return PruneResult(model, recipe, channel_rows(steps, batch_size(example_inputs)), worst_proof(steps))


def _most_params(model: nn.Module, spec: PruneSpec) -> float | None:
    return None if spec.target is None else parse_target(spec.target)[1] * count_params(model)


def _ratio_for(model: nn.Module, task: Task, most: float, widths: Mapping[str, int]) -> float:
    trace, groups = _groups(model, task, capture(model, task.inputs))
    return ratio_for(model, most, lambda ratio: _plan(trace, groups, task, ratio, widths).selection)


def _groups(model: nn.Module, task: Task, captured: Captured) -> tuple[Trace, list[ChannelGroup]]:
    trace = walk(model, captured, task.spec.heads)
    evidence = Evidence(model, task.calibration, task.spec.seed)
    return trace, [_excluded(group, task.spec) for group in channel_groups(trace, evidence)]


class NothingToCut(PruneError):
    """No group of channels is left that could lose one."""


def cut_channels(model: nn.Module, task: Task, ratio: float, widths: Mapping[str, int]) -> Step:
    """Remove channels once, and prove it.

    Args:
        model: In eval mode; left as it is.
        task: What to do.
        ratio: Share of channels to be gone in the end.
        widths: Channels that groups had before any pruning; those that are not named count from now.

    Returns:
        What was done.

    Raises:
        NothingToCut: Every group has to stay.
        DoesNotRun: The cut module does not run, and no single group is to blame.
        NotMasked: It computes something else than it should, and no group is in doubt.
    """
    captured = capture(model, task.inputs)
    with collector_paused():
        trace, groups = _groups(model, task, captured)
    rewrite = task.spec.rewrite
    while True:
        plan = _plan(trace, groups, task, ratio, widths)
        cutting = Cutting(model, captured, plan.selection, task.inputs, task.spec.seed)
        try:
            with collector_paused():
                return Step(plan, *cutting.in_place())
        except (DoesNotRun, NotMasked) as error:
            if rewrite:
                rewrite = False
                with suppress(PruneError):
                    return Step(plan, *cutting.rewritten())
            stuck = cutting.stuck(error)
            if not stuck:
                raise
        groups = [replace(group, frozen=stuck.get(group.name, group.frozen)) for group in groups]


def _plan(trace: Trace, groups: list[ChannelGroup], task: Task, ratio: float, widths: Mapping[str, int]) -> Plan:
    scored = [_scored(task.criterion, group) for group in groups]
    groups = [group for group, _ in scored]
    unfrozen = [(group, scores) for group, scores in scored if scores is not None]
    if not unfrozen:
        raise NothingToCut("No channel of this model can be removed.", _why_nothing(groups))
    prunable, scores = [group for group, _ in unfrozen], [values for _, values in unfrozen]
    if ratio == 0:
        kept: Sequence[Ids] = [np.arange(group.n_channels) for group in prunable]
    else:
        totals = [widths.get(group.name, group.n_channels) for group in prunable]
        kept = task.choose(prunable, scores, totals, ratio, task.spec)
    return Plan(groups, scores, Selection(trace, prunable, kept))


def _excluded(group: ChannelGroup, spec: PruneSpec) -> ChannelGroup:
    pattern = excluded_by(group, spec.exclude) if spec.exclude and not group.frozen else None
    return group if pattern is None else replace(group, frozen=f"excluded by {pattern!r}")


def _scored(criterion: Criterion, group: ChannelGroup) -> tuple[ChannelGroup, Scores | None]:
    # A group without scores keeps its width; if the criterion cannot rank it, the group says so.
    if group.frozen is not None or group.n_channels == 1:
        return group, None
    try:
        scores = criterion(group)
    except NotApplicable as error:
        return replace(group, frozen=error.message), None
    if not np.isfinite(scores).all():
        raise ModelError(f"The scores of {group.name!r} hold NaN or infinity.", "Check the weights and the data.")
    return group, scores


def _why_nothing(groups: list[ChannelGroup]) -> str:
    if not groups:
        return "It has no convolution and no linear layer whose channels EdgePrune could follow."
    reasons = "; ".join(f"{group.name}: {group.frozen or 'has one channel'}" for group in groups)
    return f"Every group has to stay: {reasons}."


def channel_rows(steps: Sequence[Step], batch: int) -> tuple[GroupReport, ...]:
    """Describe the groups of the first step, with the widths that the last one left.

    Args:
        steps: At least one, in order.
        batch: Examples in one forward pass.

    Returns:
        One row for each group.
    """
    first, last = steps[0].plan, steps[-1].plan
    left = {group.name: len(kept) for group, kept in zip(last.selection.groups, last.selection.kept, strict=True)}
    scores: dict[str, Scores] = {}
    for step in steps:
        pairs = zip(step.plan.selection.groups, step.plan.scores, strict=True)
        scores = {**{group.name: values for group, values in pairs}, **scores}
    return tuple(_row(group, left, scores, first.selection.trace, batch) for group in first.groups)


def _row(
    group: ChannelGroup, left: Mapping[str, int], scores: Mapping[str, Scores], trace: Trace, batch: int
) -> GroupReport:
    if group.name in left and group.frozen is not None:  # what had to stay in one step may go in a later one
        group = replace(group, frozen=None)
    ranked = scores.get(group.name) if group.frozen is None else None
    n_kept = group.n_channels if ranked is None else left.get(group.name, 1)
    return group_report(group, n_kept, ranked, trace, batch)


def worst_proof(steps: Sequence[Step]) -> ProofReport:
    """Return the proof of the step that came closest to failing; it speaks for all."""
    return max((step.proof for step in steps), key=lambda proof: proof.max_relative)
