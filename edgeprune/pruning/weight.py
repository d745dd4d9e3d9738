"""The method "weight": set single weights to zero, keep them there, and prove that nothing else changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgeprune.errors import PruneError, UsageError
from edgeprune.pruning.capture import copied, tensors
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.keeping import Recover
from edgeprune.pruning.proof import Claim, prove
from edgeprune.pruning.reference import EditedNetwork
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult
from edgeprune.pruning.schedule import amounts
from edgeprune.pruning.size import size_report
from edgeprune.pruning.weight_ranking import Masks, WeightPlan, plan_weights
from edgeprune.pruning.zeroing import packed, zero_entries
from edgeprune.values.event import Event, Listener
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import PruneSpec, parse_nm

NO_SPEED = (
    "Zero weights make a file smaller once it is compressed. They bring no speed: ONNX Runtime, LiteRT and other dense "
    "runtimes multiply by them like by any other number."
)
AMOUNTS = ("sparsity", "threshold", "relative_threshold", "nm")


@dataclass(frozen=True, slots=True)
class WeightStep:
    """What one step set to zero.

    Attributes:
        plan: What was to become zero.
        model: A copy with the zeros in it.
        proof: That only these entries changed.
    """

    plan: WeightPlan
    model: nn.Module
    proof: ProofReport

    @property
    def recipe(self) -> PruneRecipe:
        """The zeros of this step, numbered as in the model before it."""
        return PruneRecipe((), zeros=packed(self.plan.masks))


def prune_weights(
    model: nn.Module,
    spec: PruneSpec,
    example_inputs: Sequence[Any],
    calibration: Iterable[Any] | None,
    listener: Listener,
    recover: Recover,
) -> PruneResult:
    """Set weights to zero, in as many steps as the spec asks.

    Args:
        model: In eval mode, and known to run; left as it is.
        spec: With a sparsity, a threshold, a relative threshold or an N:M pattern.
        example_inputs: Positional arguments of its forward.
        calibration: For criteria that need data.
        listener: Hears of each step.
        recover: Trains what a step left, between steps; what is zero stays zero.

    Returns:
        The same shapes with zeros in them.
    """
    dense, subject, masks = model, spec.label, dict[str, Any]()
    steps: list[WeightStep] = []
    for number, amount in enumerate(weight_amounts(spec), start=1):
        listener(Event("prune", subject, number - 1, spec.steps, "steps"))
        step = zero_weights(model, Evidence(model, calibration, spec.seed), spec, amount, masks, example_inputs)
        model, masks = step.model, step.plan.masks
        steps.append(step)
        if number < spec.steps:
            recover(model, PruneRecipe((), zeros=packed(masks)))
    listener(Event("prune", subject, spec.steps, spec.steps, "steps", f"{spec.steps} of {spec.steps} steps proved"))
    recipe = PruneRecipe((), zeros=packed(masks))
    rows = weight_rows(dense, steps[0].plan, masks)
    proof = max((step.proof for step in steps), key=lambda proof: proof.max_relative)
    return PruneResult(model, recipe, rows, proof, size_report(dense, model), (NO_SPEED,))


def weight_amounts(spec: PruneSpec) -> list[float]:
    """Return what each step is to reach.

    Args:
        spec: With an amount of weights.

    Returns:
        Shares or thresholds; for an N:M pattern the shares of each block that are zero.

    Raises:
        UsageError: The spec gives another amount.
    """
    name, value = spec.amount
    if name not in AMOUNTS:
        raise UsageError(f"The method 'weight' takes no {name}.", f"Give one of {', '.join(AMOUNTS)}.")
    if isinstance(value, str):
        kept, block = parse_nm(value)
        value = (block - kept) / block
    return amounts(value, spec.steps, spec.schedule)


def zero_weights(
    model: nn.Module, evidence: Evidence, spec: PruneSpec, amount: float, zero: Masks, inputs: Sequence[Any]
) -> WeightStep:
    """Set weights to zero once, and prove it.

    Args:
        model: In eval mode; left as it is.
        evidence: Of this model.
        spec: What the user asked.
        amount: What this step is to reach.
        zero: Masks of what is zero already and stays so.
        inputs: Example inputs.

    Returns:
        What was done.
    """
    return apply_plan(model, plan_weights(model, evidence, spec, amount, zero), inputs, spec.seed)


def apply_plan(model: nn.Module, plan: WeightPlan, inputs: Sequence[Any], seed: int) -> WeightStep:
    """Set the weights of a plan to zero, and prove it.

    Args:
        model: In eval mode; left as it is.
        plan: Of this model.
        inputs: Example inputs.
        seed: Of the proof.

    Returns:
        What was done.
    """
    pruned = copied(model)
    zero_entries(pruned, plan.masks)
    _check_entries(model, pruned, plan.masks)
    recipe = PruneRecipe((), zeros=packed(plan.masks))
    proof = prove(Claim(model, pruned, EditedNetwork(model, recipe), recipe), inputs, seed)
    return WeightStep(plan, pruned, proof)


def _check_entries(before: nn.Module, after: nn.Module, masks: Masks) -> None:
    # To the bit: what is masked is zero, and nothing else has changed.
    held = tensors(before)
    for name, tensor in tensors(after).items():
        mask = next((masks[each] for each in masks if held[each] is held[name]), None)
        expected = held[name] if mask is None else held[name].masked_fill(mask, 0)
        if not torch.equal(tensor, expected):
            raise PruneError(f"{name!r} changed where it should not; nothing is kept.", "Please report the model.")


def weight_rows(dense: nn.Module, first: WeightPlan, masks: Masks) -> tuple[GroupReport, ...]:
    """Describe each tensor.

    Args:
        dense: Before any step.
        first: The plan of the first step.
        masks: After the last step.

    Returns:
        One row for each tensor of weights, those kept whole included, in the model's order.
    """
    held = tensors(dense)
    return tuple(
        _row(name, int(held[name].count_nonzero()), first, masks)
        for name in held
        if name in masks or name in first.kept
    )


def _row(name: str, before: int, first: WeightPlan, masks: Masks) -> GroupReport:
    scores, mask = first.scores.get(name), masks.get(name)
    return GroupReport(
        name=name,
        width_before=before,
        width_after=before if mask is None else int((~mask).sum()),
        layers=(name.rpartition(".")[0],),
        score_min=None if scores is None else float(scores.min()),
        score_max=None if scores is None else float(scores.max()),
        params_saved=0,
        macs_saved=0,
        frozen=first.kept.get(name),
        kind="weights",
    )
