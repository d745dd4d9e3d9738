"""Proof that a pruned network is the dense one with the removed channels masked.

Both are run with the network's own weights on the example inputs, and with perturbed weights on random inputs: an
untrained head of zeros, a norm that scales by zero or a row of equal statistics would hide a wrong cut. Where one of
these shows nothing, the other two pairings are run as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from edgeprune.errors import PruneError
from edgeprune.pruning.capture import FORWARD_ERRORS, checked_run, copied, first_line, run, run_with, tensors
from edgeprune.pruning.result import ProofReport
from edgeprune.pruning.surgery import cut_tensors
from edgeprune.values.recipe import PruneRecipe

TOLERANCE = 1e-5
"""DESIGN section 5: masked and pruned outputs agree to this, relative to the largest output."""

_SCALED = 3
"""So many leading dimensions of a tensor get factors in the perturbed weights."""


class DoesNotRun(PruneError):
    """The sliced module raises, or gives outputs of other shapes: its code holds a width as a number."""


class NotMasked(PruneError):
    """The pruned network computes something else than the masked dense one."""


class Reference(Protocol):
    """The dense network with what was removed masked or bypassed."""

    def run(self, state: Mapping[str, Tensor], inputs: Sequence[Any]) -> list[Tensor]:
        """Compute the outputs from the dense network's tensors."""
        ...

    def masked_norms(self) -> tuple[str, ...]:
        """Return the norms whose statistics run over the channels that are left."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be proved: that `pruned` computes what `masked` does with the tensors of `dense`.

    Attributes:
        dense: The network before, in eval mode.
        pruned: The network after, in eval mode.
        masked: The network before with the removed channels masked, or the removed modules bypassed.
        recipe: What leads from `dense` to `pruned`.
        mode: "in_place" if `pruned` is `dense` cut, "rewritten" if it is a graph with the cut tensors of `dense`.
    """

    dense: nn.Module
    pruned: nn.Module
    masked: Reference
    recipe: PruneRecipe
    mode: str = "in_place"

    def in_double(self) -> Claim:
        """Return the same claim about the networks in float64."""
        return Claim(copied(self.dense).double(), copied(self.pruned).double(), self.masked, self.recipe, self.mode)

    def run_pruned(self, state: Mapping[str, Tensor] | None, inputs: Sequence[Any]) -> list[Tensor]:
        """Run the pruned network.

        Args:
            state: Tensors of the dense network to cut, by name; None for its own.
            inputs: Not modified.

        Returns:
            Output tensors, in order.
        """
        if state is None:
            return run(self.pruned, inputs)
        return run_with(self.pruned, cut_tensors(self.dense, state, self.recipe), inputs)


def prove(claim: Claim, inputs: Sequence[Any], seed: int) -> ProofReport:
    """Compare a pruned network with the masked dense one.

    Args:
        claim: The networks.
        inputs: Example inputs.
        seed: Of the random inputs and perturbed weights.

    Returns:
        The largest differences.

    Raises:
        DoesNotRun: The pruned network raises, or gives outputs of other shapes.
        NotMasked: It computes something else than the masked network.
        PruneError: The comparison shows nothing.
    """
    try:
        found, dtype = _compare(claim, inputs, seed), "float32"
        if found[1] > TOLERANCE:
            found, dtype = _compare_in_double(found, claim, inputs, seed)
    except FORWARD_ERRORS as error:
        raise DoesNotRun(
            f"The pruned model does not run: {first_line(error)}",
            "Its forward holds a width as a number; compute it from a tensor's shape, or exclude the layers before it.",
        ) from error
    max_abs, relative, count = found
    if not relative <= TOLERANCE:
        raise NotMasked(
            f"The pruned network differs from the masked dense one by {relative:.1e} of its outputs, "
            f"{TOLERANCE:.0e} allowed; nothing was changed.",
            "Exclude the layers in question, and report the model: this is a gap in a rule of EdgePrune.",
        )
    return ProofReport(max_abs, relative, TOLERANCE, count, claim.mode, dtype, claim.masked.masked_norms())


Found = tuple[float, float, int]
"""Largest absolute difference, largest relative one, number of batches."""


def _compare_in_double(single: Found, claim: Claim, inputs: Sequence[Any], seed: int) -> tuple[Found, str]:
    # Tell rounding from a wrong cut; a network that cannot run in float64 has to stand by what float32 says.
    wide = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, tuple(inputs))
    try:
        return _compare(claim.in_double(), wide, seed), "float64"
    except FORWARD_ERRORS:
        return single, "float32"


def _compare(claim: Claim, inputs: Sequence[Any], seed: int) -> Found:
    generator = torch.Generator().manual_seed(seed)
    example, noise = tuple(inputs), _random_like(inputs, generator)
    own = _compared(claim, None, example)
    if own is None:
        checked_run(claim.dense, example)
    shown = [own]
    other = _perturbed(tensors(claim.dense), generator)
    shown.append(_compared(claim, other, noise))
    if None in shown:
        # Silent or not defined there: noise, or other weights, may be what a model cannot be run with.
        shown += [_compared(claim, None, noise), _compared(claim, other, example)]
    found = [each for each in shown if each is not None]
    if not found:
        raise PruneError(
            "The masked network's outputs are all zero or not finite, so that comparing them proves nothing.",
            "Give example inputs on which the model answers.",
        )
    return max(absolute for absolute, _ in found), max(relative for _, relative in found), len(found)


def _compared(claim: Claim, state: Mapping[str, Tensor] | None, batch: Sequence[Any]) -> tuple[float, float] | None:
    """Return the largest absolute and relative difference on one batch; None if the outputs show nothing."""
    outputs = claim.run_pruned(state, batch)  # first, since it may not run at all
    expected = claim.masked.run(tensors(claim.dense) if state is None else state, batch)
    difference = _difference(outputs, expected)
    return None if _shows_nothing(expected) else difference


def _shows_nothing(expected: list[Tensor]) -> bool:
    # Whether outputs are all zero, or hold NaN: noise may lie where a model is not defined.
    zero = not any(bool(output.count_nonzero()) for output in expected)
    return zero or not all(bool(torch.isfinite(output).all()) for output in expected)


def _difference(found: list[Tensor], expected: list[Tensor]) -> tuple[float, float]:
    if [tuple(output.shape) for output in found] != [tuple(output.shape) for output in expected]:
        raise RuntimeError("its outputs have other shapes")
    absolute, relative = 0.0, 0.0
    for output, reference in zip(found, expected, strict=True):
        if not output.numel():
            continue
        if not output.is_floating_point() or not reference.is_floating_point():
            output, reference = output.double(), reference.double()
        largest = float((output - reference).abs().max())
        scale = float(reference.abs().max())
        absolute = max(absolute, largest)
        relative = max(relative, largest / scale if scale > 0 else (float("inf") if largest > 0 else 0.0))
    return absolute, relative


def _random_like(inputs: Sequence[Any], generator: torch.Generator) -> tuple[Any, ...]:
    """Return normal noise with each float input's own mean and spread; other inputs with their examples shuffled."""

    def draw(value: Tensor) -> Tensor:
        if value.is_floating_point() and value.numel():
            spread = value.std() if value.numel() > 1 else value.abs().mean()
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            return noise * (spread if spread > 0 else 1.0) + value.mean()
        return value[torch.randperm(len(value), generator=generator)] if value.dim() else value

    drawn: tuple[Any, ...] = tree_map_only(Tensor, draw, tuple(inputs))
    return drawn


def _perturbed(state: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return float tensors with every row and column scaled by its own factor, no zeros, and tied ones still tied."""
    floats = {id(tensor): tensor.detach() for tensor in state.values() if tensor.is_floating_point()}
    lengths = [length for tensor in floats.values() for length in tensor.shape[:_SCALED]]
    factors = iter(torch.split(torch.rand(sum(lengths), generator=generator) + 0.5, lengths))  # drawn at once
    scaled = {key: _scaled(tensor, factors) for key, tensor in floats.items()}
    return {name: scaled.get(id(tensor), tensor) for name, tensor in state.items()}


def _scaled(tensor: Tensor, factors: Iterator[Tensor]) -> Tensor:
    rank = tensor.dim()
    if not rank:
        return tensor
    factor = next(factors).view(-1, *[1] * (rank - 1))
    for dim in range(1, min(rank, _SCALED)):
        factor = factor * next(factors).view(-1, *[1] * (rank - 1 - dim))
    whole = int(tensor.count_nonzero()) == tensor.numel()
    return (tensor if whole else tensor.masked_fill(tensor == 0, 0.1)) * factor
