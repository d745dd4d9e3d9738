"""The method "layer": remove whole layers and residual blocks, by the loss that their removal adds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import PruneError, UsageError
from edgeprune.pruning.bypass import bypassed, remove
from edgeprune.pruning.capture import FORWARD_ERRORS, capture, copied, first_line, run
from edgeprune.pruning.cost import batch_size, count_params
from edgeprune.pruning.evidence import cross_entropy, logits_of
from edgeprune.pruning.keeping import Recover
from edgeprune.pruning.layer_units import find_units
from edgeprune.pruning.proof import Claim, prove
from edgeprune.pruning.reference import EditedNetwork
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult
from edgeprune.pruning.schedule import amounts
from edgeprune.values.batch import batches
from edgeprune.values.event import Event, Listener
from edgeprune.values.recipe import PruneRecipe, Removal
from edgeprune.values.spec import PruneSpec

LOSS_BATCHES = 8
"""Calibration batches over which the loss of a bypass is averaged; every candidate is run on all of them."""


@dataclass(slots=True)
class LayerRanking:
    """What bypassing each candidate does to the loss, and what has been removed so far.

    Attributes:
        data: Calibration batches.
        candidates: What can still be removed.
        increases: Module name to the first increase of the loss that was measured for it.
        failed: Module name to the reason why it cannot be bypassed after all.
        removed: In the order in which they went.
    """

    data: list[tuple[Any, Any]]
    candidates: list[Removal]
    increases: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    removed: list[Removal] = field(default_factory=list)

    def loss(self, model: nn.Module, removals: Sequence[Removal] = ()) -> float:
        """Return the mean loss of a model with some modules bypassed; infinite if it is not a number."""
        total, count = 0.0, 0
        with torch.no_grad(), bypassed(model, removals):
            for inputs, targets in self.data:
                total += float(cross_entropy(logits_of(model, inputs), targets)) * len(targets)
                count += len(targets)
        return total / count if math.isfinite(total) else math.inf

    def cheapest(self, model: nn.Module, now: float) -> tuple[Removal, float] | None:
        """Measure every candidate that is left.

        Args:
            model: In eval mode, without what has been removed.
            now: Its loss.

        Returns:
            The candidate whose bypass adds least to the loss, and how much; None if nothing is left.
        """
        best: tuple[Removal, float] | None = None
        for candidate in list(self.candidates):
            try:
                with bypassed(model, [candidate]):
                    run(model, self.data[0][0])
            except FORWARD_ERRORS as error:
                self._refuse(candidate, error)
                continue
            increase = self.loss(model, [candidate]) - now
            self.increases.setdefault(candidate.module, increase)
            if best is None or increase < best[1]:
                best = candidate, increase
        return best

    def take(self, model: nn.Module, removal: Removal) -> nn.Module | None:
        """Remove a candidate.

        Args:
            model: Left as it is.
            removal: One of the candidates; it is none afterwards.

        Returns:
            A copy of the model without it; None if the model's code needs the module for more than its output.
        """
        smaller = copied(model)
        remove(smaller, [removal])
        try:
            run(smaller, self.data[0][0])
        except FORWARD_ERRORS as error:
            self._refuse(removal, error)
            return None
        self.candidates.remove(removal)
        self.removed.append(removal)
        return smaller

    def _refuse(self, removal: Removal, error: BaseException) -> None:
        self.failed[removal.module] = f"the model does not run without it: {first_line(error)}"
        self.candidates.remove(removal)


def ranking(candidates: Sequence[Removal], calibration: Iterable[Any] | None) -> LayerRanking:
    """Prepare to measure candidates.

    Args:
        candidates: What can be removed.
        calibration: Loader of (inputs, class indices).

    Returns:
        A ranking that has measured nothing yet.

    Raises:
        UsageError: There are no calibration data.
    """
    if calibration is None:
        raise UsageError(
            "Layers are ranked by the loss that their removal adds, and there are no calibration data.",
            "Pass calibration=loader of (inputs, class indices).",
        )
    return LayerRanking(list(batches(calibration, LOSS_BATCHES)), list(candidates))


def prune_layers(
    model: nn.Module,
    spec: PruneSpec,
    example_inputs: Sequence[Any],
    calibration: Iterable[Any] | None,
    listener: Listener,
    recover: Recover,
) -> PruneResult:
    """Remove a share of the layers and blocks that can be bypassed, one at a time, each time measuring anew.

    Args:
        model: In eval mode, and known to run; left as it is.
        spec: With a ratio.
        example_inputs: Positional arguments of its forward.
        calibration: Loader of (inputs, class indices).
        listener: Hears of each removal.
        recover: Trains what a step left, between steps.

    Returns:
        The shallower model.

    Raises:
        UsageError: The spec gives no ratio, or another criterion.
        PruneError: No layer can be bypassed.
    """
    if spec.ratio is None or spec.criterion != "layer_loss":
        raise UsageError(
            "The method 'layer' takes a ratio, and ranks by 'layer_loss' only.",
            "Give ratio=0.25, the share of layers to remove, and no criterion.",
        )
    units = find_units(model, capture(model, example_inputs), example_inputs, spec.exclude)
    if not units.candidates:
        reasons = "; ".join(f"{name} {reason}" for name, reason in units.kept.items()) or "it has none with weights"
        raise PruneError("No layer of this model can be bypassed.", f"All have to stay: {reasons}.")
    ranks = ranking(units.candidates, calibration)
    dense, proofs, total = model, list[ProofReport](), len(units.candidates)
    for number, ratio in enumerate(amounts(spec.ratio, spec.steps, spec.schedule), start=1):
        before = len(ranks.removed)
        smaller = _remove_layers(model, ranks, _count(ratio, total), listener)
        proofs.append(prove_removals(model, smaller, ranks.removed[before:], example_inputs, spec.seed))
        model = smaller
        if number < spec.steps:
            recover(model, PruneRecipe((), removals=tuple(ranks.removed)))
    rows = layer_rows(dense, ranks, {**units.kept, **ranks.failed}, example_inputs)
    proof = max(proofs, key=lambda each: each.max_relative)
    return PruneResult(model, PruneRecipe((), removals=tuple(ranks.removed)), rows, proof)


def _count(ratio: float, total: int) -> int:
    """Return how many layers a share is: the nearest number, and at least one where the share is not 0."""
    return min(total, max(math.floor(ratio * total + 0.5), 1)) if ratio else 0


def _remove_layers(model: nn.Module, ranks: LayerRanking, count: int, listener: Listener) -> nn.Module:
    now = ranks.loss(model)
    while len(ranks.removed) < count:
        listener(Event("prune", "layer_loss", len(ranks.removed), count, "layers"))
        found = ranks.cheapest(model, now)
        if found is None:
            break
        smaller = ranks.take(model, found[0])
        if smaller is not None:
            model, now = smaller, now + found[1]
    listener(Event("prune", "layer_loss", len(ranks.removed), count, "layers"))
    return model


def prove_removals(
    dense: nn.Module, pruned: nn.Module, removals: Sequence[Removal], inputs: Sequence[Any], seed: int
) -> ProofReport:
    """Compare a network without some modules with the dense one in which hooks bypass them.

    Args:
        dense: Before.
        pruned: After.
        removals: What went.
        inputs: Example inputs.
        seed: Of random inputs and perturbed weights.

    Returns:
        How close they are.
    """
    recipe = PruneRecipe((), removals=tuple(removals))
    return prove(Claim(dense, pruned, EditedNetwork(dense, recipe), recipe), inputs, seed)


def layer_rows(
    dense: nn.Module, ranks: LayerRanking, kept: Mapping[str, str], inputs: Sequence[Any]
) -> tuple[GroupReport, ...]:
    """Describe each layer and block.

    Args:
        dense: Before any step.
        ranks: What was measured and removed.
        kept: Module name to the reason why it had to stay.
        inputs: Example inputs.

    Returns:
        One row for each candidate and each layer with weights outside of them, in the model's order.
    """
    macs = _macs(dense, inputs)
    removed = {removal.module for removal in ranks.removed}
    waiting = {candidate.module for candidate in ranks.candidates}
    return tuple(
        GroupReport(
            name=name,
            width_before=1,
            width_after=0 if name in removed else 1,
            layers=(name,),
            score_min=ranks.increases.get(name),
            score_max=ranks.increases.get(name),
            params_saved=count_params(module),
            macs_saved=macs.get(name, 0),
            frozen=kept.get(name),
            kind="layers",
        )
        for name, module in dense.named_modules()
        if name in kept or name in ranks.increases or name in waiting
    )


def _macs(model: nn.Module, inputs: Sequence[Any]) -> dict[str, int]:
    """Return the multiply-accumulates of each module for one example."""
    counter = FlopCounterMode(display=False)
    with counter:
        run(model, inputs)
    divisor = 2 * batch_size(inputs)
    counts = counter.get_flop_counts()
    return {name.partition(".")[2]: sum(flops.values()) // divisor for name, flops in counts.items()}
