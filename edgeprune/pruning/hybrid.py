"""The method "hybrid": zero weights, see which structures that leaves nearly empty, and remove those.

Each step has three stages. Weights: the weakest become zero. Evaluation: a channel scores by the criterion times the
share of its weights that are not zero; a layer by the loss that its removal adds. Structure: first every layer goes
whose removal costs next to nothing, then the weakest channels, as many as the share of weights that are zero or gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from edgeprune.errors import UsageError
from edgeprune.pruning.capture import capture, tensors
from edgeprune.pruning.channels import NothingToCut, Step, Task, channel_rows, cut_channels
from edgeprune.pruning.composition import composed
from edgeprune.pruning.cost import batch_size
from edgeprune.pruning.criteria import CRITERIA, Criterion, Scores, per_channel
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.groups import ChannelGroup
from edgeprune.pruning.keeping import Recover, live_masks
from edgeprune.pruning.layer import LayerRanking, layer_rows, prove_removals, ranking
from edgeprune.pruning.layer_units import find_units
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult
from edgeprune.pruning.size import size_report
from edgeprune.pruning.weight import NO_SPEED, WeightStep, apply_plan, weight_amounts, weight_rows
from edgeprune.pruning.weight_ranking import plan_weights
from edgeprune.values.event import Event, Listener
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec

LOSS_TOLERANCE = 0.01
"""A layer goes if the mean loss grows by no more than this share of itself."""

NO_LAYERS = "Layers were not evaluated: that takes calibration data."


@dataclass(slots=True)
class _State:
    """The network as it stands between stages."""

    model: nn.Module
    recipe: PruneRecipe = field(default_factory=lambda: PruneRecipe(()))
    proofs: list[ProofReport] = field(default_factory=list)
    weights: list[WeightStep] = field(default_factory=list)
    layers: list[tuple[nn.Module, LayerRanking, dict[str, str]]] = field(default_factory=list)
    channels: list[Step] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)

    def move(self, model: nn.Module, recipe: PruneRecipe, proof: ProofReport) -> None:
        self.model, self.recipe = model, composed(self.recipe, recipe)
        self.proofs.append(proof)


def prune_hybrid(
    model: nn.Module,
    spec: PruneSpec,
    example_inputs: Sequence[Any],
    calibration: Iterable[Any] | None,
    listener: Listener,
    recover: Recover,
) -> PruneResult:
    """Zero weights and remove the structures that this empties, in as many steps as the spec asks.

    Args:
        model: In eval mode, and known to run; left as it is.
        spec: With a ratio, which is that of the weights and of the channels, or with an amount of weights.
        example_inputs: Positional arguments of its forward.
        calibration: For criteria that need data, and for the losses of layers.
        listener: Hears of each stage.
        recover: Trains what a step left, between steps; what is zero stays zero.

    Returns:
        A smaller model with zeros in it.

    Raises:
        UsageError: The spec gives another amount.
    """
    by_weight = _weight_spec(spec)
    if by_weight.nm is not None:
        raise UsageError("An N:M pattern empties no channel.", "Give 'hybrid' a ratio, a sparsity or a threshold.")
    state, dense_weights = _State(model), _n_weights(model)
    for number, amount in enumerate(weight_amounts(by_weight), start=1):
        listener(Event("prune", spec.label, number - 1, spec.steps, "steps"))
        _zero(state, by_weight, amount, example_inputs)
        share = amount if spec.ratio is not None else 1 - _n_weights(state.model) / dense_weights
        if calibration is not None and state.recipe.rewriting is None:
            _drop_layers(state, spec, share, example_inputs, calibration)
        _cut(state, spec, share, example_inputs, calibration)
        if number < spec.steps:
            recover(state.model, state.recipe)
    listener(Event("prune", spec.label, spec.steps, spec.steps, "steps", f"{len(state.proofs)} stages proved"))
    notes = (NO_SPEED,) if calibration is not None else (NO_SPEED, NO_LAYERS)
    proof = max(state.proofs, key=lambda each: each.max_relative)
    rows = _rows(model, state, example_inputs)
    return PruneResult(state.model, state.recipe, rows, proof, size_report(model, state.model), notes)


def _weight_spec(spec: PruneSpec) -> PruneSpec:
    # Weights go by magnitude; the criterion ranks channels.
    scope = "global" if spec.scope == "isomorphic" else spec.scope
    sparsity = spec.ratio if spec.ratio is not None else spec.sparsity
    return replace(spec, method="weight", criterion="l1", ratio=None, sparsity=sparsity, scope=scope)


def _n_weights(model: nn.Module) -> int:
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters() if parameter.dim() > 1)


def _zero(state: _State, spec: PruneSpec, amount: float, inputs: Sequence[Any]) -> None:
    evidence = Evidence(state.model, None, spec.seed)
    # A tensor that is all but empty is for the structure stage to judge; one weight marks where it stood.
    plan = plan_weights(state.model, evidence, spec, amount, live_masks(state.recipe), spare_one=True)
    step = apply_plan(state.model, plan, inputs, spec.seed)
    state.move(step.model, step.recipe, step.proof)
    state.weights.append(step)


def _drop_layers(
    state: _State, spec: PruneSpec, share: float, inputs: Sequence[Any], calibration: Iterable[Any]
) -> None:
    before = state.model
    units = find_units(before, capture(before, inputs), inputs, spec.exclude)
    ranks, model = ranking(units.candidates, calibration), before
    now, most = ranks.loss(before), math.floor(share * len(units.candidates) + 0.5)
    while len(ranks.removed) < most and (found := ranks.cheapest(model, now)):
        if found[1] > LOSS_TOLERANCE * now:
            break
        smaller = ranks.take(model, found[0])
        if smaller is not None:
            model, now = smaller, now + found[1]
    state.layers.append((before, ranks, {**units.kept, **ranks.failed}))
    if ranks.removed:
        proof = prove_removals(before, model, ranks.removed, inputs, spec.seed)
        state.move(model, PruneRecipe((), removals=tuple(ranks.removed)), proof)


def _cut(
    state: _State, spec: PruneSpec, ratio: float, inputs: Sequence[Any], calibration: Iterable[Any] | None
) -> None:
    criterion: Criterion = CRITERIA.load(spec.criterion)
    task = Task(spec, inputs, calibration, lambda group: criterion(group) * _alive(group))
    try:
        step = cut_channels(state.model, task, ratio, state.widths)
    except NothingToCut:
        if not state.recipe.removals:
            raise
        return  # the layers that are gone left none
    state.move(step.model, step.recipe, step.proof)
    state.channels.append(step)
    state.widths = {**step.widths, **state.widths}


def _alive(group: ChannelGroup) -> Scores:
    """Return the share of each channel's producing weights that are not zero, shape (n_channels,)."""
    alive, total = np.zeros(group.n_channels), np.zeros(group.n_channels)
    for place in group.places:
        if place.produces:
            weight = group.evidence.tensors[place.tensor]
            alive += per_channel((weight != 0).double(), place)
            total += weight.numel() / weight.shape[place.dim] * place.indices.shape[1]
    shares: Scores = alive / total
    return shares


def _rows(dense: nn.Module, state: _State, inputs: Sequence[Any]) -> tuple[GroupReport, ...]:
    held = tensors(state.model)
    gone = tuple(f"{removal.module}." for removal in state.recipe.removals)
    weights = [
        replace(row, width_after=int(held[row.name].count_nonzero()) if row.name in held else 0)
        for row in weight_rows(dense, state.weights[0].plan, state.weights[0].plan.masks)
    ]
    layers = _layer_rows(state, inputs) if state.layers else ()
    channels = channel_rows(state.channels, batch_size(inputs)) if state.channels else ()
    return (*weights, *(_emptied(row, gone) for row in (*layers, *channels)))


def _layer_rows(state: _State, inputs: Sequence[Any]) -> tuple[GroupReport, ...]:
    # As they stood at first, each with its first measurement.
    dense, ranks, kept = state.layers[0]
    for _, later, _ in state.layers[1:]:
        ranks.increases = {**later.increases, **ranks.increases}
    return layer_rows(dense, ranks, kept, inputs)


def _emptied(row: GroupReport, gone: tuple[str, ...]) -> GroupReport:
    # What stood in removed modules only is gone with them.
    return replace(row, width_after=0) if all(f"{name}.".startswith(gone) for name in row.layers) else row
