"""Which single weights go: by a threshold, a level or an N:M pattern."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError, PruneError, UnknownName, UsageError
from edgeprune.pruning.capture import canonical_names, tensors
from edgeprune.pruning.criteria import layer_adaptive
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.exclusion import ancestors
from edgeprune.values.spec import PruneSpec, parse_nm

Masks = dict[str, Tensor]
"""Tensor name to a boolean tensor of its shape, True where the weight is zero."""


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """What one step will set to zero.

    Attributes:
        masks: Of every tensor that may lose weights.
        scores: Of the same tensors.
        kept: Tensor name to the reason why it stays whole.
    """

    masks: Masks
    scores: Mapping[str, Tensor]
    kept: Mapping[str, str] = field(default_factory=dict)


def plan_weights(
    model: nn.Module, evidence: Evidence, spec: PruneSpec, progress: float, zero: Masks, *, spare_one: bool = False
) -> WeightPlan:
    """Choose the weights to set to zero.

    Args:
        model: Left as it is.
        evidence: Of this model.
        spec: Criterion, scope and patterns; the amount comes from `progress`.
        progress: The amount by now: a share, a threshold, or for an N:M pattern the share (M - N) / M.
        zero: Masks of what is zero already and stays so.
        spare_one: Leave the strongest weight where a tensor would be left without any, in place of refusing.

    Returns:
        The plan.

    Raises:
        PruneError: There is no weight to rank, or a tensor would be left without any.
    """
    kept = {name: reason for name in weight_names(model) if (reason := _why_kept(name, evidence.tensors[name], spec))}
    names = [name for name in weight_names(model) if name not in kept]
    if not names:
        raise PruneError("No weight of this model can be set to zero.", f"All have to stay: {_listed(kept)}.")
    scores = {name: _scores(evidence, name, spec) for name in names}
    ranked = {name: _with_zeros_first(scores[name], zero.get(name)) for name in names}
    masks = {name: _or(mask, zero.get(name)) for name, mask in _choose(evidence, ranked, spec, progress).items()}
    for name, mask in masks.items():
        if spare_one and bool(mask.all()):
            mask.view(-1)[ranked[name].argmax()] = False
        if bool(mask.all()):
            largest = float(evidence.tensors[name].abs().max())
            raise PruneError(
                f"This would set every weight of {name!r} to zero; its largest magnitude is {largest:.3g}.",
                "Take less, or keep the layer whole with exclude, or take the same share from each with scope='local'.",
            )
    return WeightPlan(masks, scores, kept)


def weight_names(model: nn.Module) -> list[str]:
    """Return the tensors with two dimensions or more, tied ones once.

    Biases and norms are few, and shift what they touch.

    Args:
        model: Any module.

    Returns:
        Names, in the model's order.
    """
    first = canonical_names(tensors(model))
    return [n for n, p in model.named_parameters() if p.dim() >= 2 and p.is_floating_point() and first[n] == n]


def _why_kept(name: str, weight: Tensor, spec: PruneSpec) -> str | None:
    owners = ancestors(name.rpartition(".")[0])
    pattern = next((p for p in spec.exclude if any(fnmatchcase(owner, p) for owner in owners)), None)
    if pattern is not None:
        return f"excluded by {pattern!r}"
    if spec.nm is not None and weight.shape[1] % parse_nm(spec.nm)[1]:
        return f"its {weight.shape[1]} inputs are no multiple of the pattern {spec.nm}"
    return None


def _listed(kept: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in kept.items()) or "it has none"


def _scores(evidence: Evidence, name: str, spec: PruneSpec) -> Tensor:
    if spec.criterion not in MEASURES:
        hint = " The other criteria rank whole channels."
        raise UnknownName("criterion for single weights", spec.criterion, MEASURES, hint)
    if spec.criterion != "l1" and (spec.threshold is not None or spec.relative_threshold is not None):
        raise UsageError(
            f"A threshold is compared with magnitudes, not with scores by {spec.criterion!r}.",
            "Drop the criterion, or give a sparsity.",
        )
    scores = MEASURES[spec.criterion](evidence, name)
    if not bool(torch.isfinite(scores).all()):
        raise ModelError(f"The scores of {name!r} hold NaN or infinity.", "Check the weights and the data.")
    return scores


def _random(evidence: Evidence, name: str) -> Tensor:
    generator = np.random.default_rng([evidence.seed, zlib.crc32(name.encode())])
    return torch.from_numpy(generator.random(tuple(evidence.tensors[name].shape)))


def _lamp(evidence: Evidence, name: str) -> Tensor:
    weight = evidence.tensors[name]
    squares = weight.double().square().flatten().numpy()
    return torch.from_numpy(layer_adaptive(squares)).reshape(weight.shape)


MEASURES: Mapping[str, Callable[[Evidence, str], Tensor]] = {
    "l1": lambda evidence, name: evidence.tensors[name].abs(),
    "l2": lambda evidence, name: evidence.tensors[name].square(),
    "taylor": lambda evidence, name: evidence.saliency()[name],
    "hessian": lambda evidence, name: evidence.curvature()[name],
    "lamp": _lamp,
    "random": _random,
}
"""Criterion to (evidence, tensor name) -> a score for each weight, larger means keep."""


def _with_zeros_first(scores: Tensor, zero: Tensor | None) -> Tensor:
    return scores if zero is None else scores.masked_fill(zero, -math.inf)


def _or(mask: Tensor, zero: Tensor | None) -> Tensor:
    return mask if zero is None else mask | zero


def _choose(evidence: Evidence, ranked: Masks, spec: PruneSpec, progress: float) -> Masks:
    weights = {name: evidence.tensors[name].abs() for name in ranked}
    if spec.threshold is not None:
        return {name: weight < progress for name, weight in weights.items()}
    if spec.relative_threshold is not None:
        return {name: weight < progress * weight.max() for name, weight in weights.items()}
    if spec.nm is not None:
        _, block = parse_nm(spec.nm)
        return {name: _weakest_of_blocks(scores, block, round(block * progress)) for name, scores in ranked.items()}
    if spec.scope == "isomorphic":
        raise UsageError("Scope 'isomorphic' is for channels.", "Take 'global' or 'local' for single weights.")
    if spec.scope == "local":
        return {name: _weakest(scores.flatten(), progress, 1).reshape(scores.shape) for name, scores in ranked.items()}
    together = _weakest(torch.cat([scores.flatten().double() for scores in ranked.values()]), progress, 0)
    parts = torch.split(together, [scores.numel() for scores in ranked.values()])
    return {name: part.reshape(ranked[name].shape) for name, part in zip(ranked, parts, strict=True)}


def _weakest(scores: Tensor, share: float, spare: int) -> Tensor:
    """Return where the smallest scores are: a share of them, of equal ones the first; at least `spare` stay."""
    count = min(math.floor(share * len(scores) + 0.5), len(scores) - spare)
    mask = torch.zeros(len(scores), dtype=torch.bool)
    mask[torch.argsort(scores, stable=True)[:count]] = True
    return mask


def _weakest_of_blocks(scores: Tensor, block: int, count: int) -> Tensor:
    """Return where the `count` smallest scores are in each run of `block` neighbours along the input dimension."""
    last = scores.movedim(1, -1)
    runs = last.reshape(*last.shape[:-1], -1, block)
    order = torch.argsort(runs, dim=-1, stable=True)
    mask = torch.zeros(runs.shape, dtype=torch.bool).scatter(-1, order[..., :count], True)
    return mask.flatten(-2).movedim(-1, 1)


def n_zero(masks: Iterable[Tensor]) -> int:
    """Return how many entries are True."""
    return sum(int(mask.sum()) for mask in masks)
