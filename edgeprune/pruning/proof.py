"""Proof that a pruned network is the dense one with the removed channels masked.

Both are run with the network's own weights on the example inputs, and with perturbed weights on random inputs: an
untrained head of zeros, a norm that scales by zero or a row of equal statistics would hide a wrong cut. Where one of
these shows nothing, the other two pairings are run as well. Large random images have a quarter of the height and width
of the example's where the network runs on these: which channels meet does not depend on the size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from edgeprune.errors import PruneError
from edgeprune.pruning.capture import FORWARD_ERRORS, checked_run, copied, first_line, run, run_with, tensors
from edgeprune.pruning.perturbation import Perturbed, random_like, smaller
from edgeprune.pruning.result import ProofReport
from edgeprune.pruning.surgery import cut_tensors
from edgeprune.values.recipe import PruneRecipe

TOLERANCE = 1e-5
"""DESIGN section 5: masked and pruned outputs agree to this, relative to the largest output."""
_GAP = "Exclude the layers in question, and report the model: this is a gap in a rule of EdgePrune."


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

    def run_pruned(self, state: Mapping[str, Tensor], inputs: Sequence[Any]) -> list[Tensor]:
        """Run the pruned network.

        Args:
            state: Tensors of the dense network by name, its own or perturbed ones: the pruned network runs with its
                own, or with what these are once they are cut.
            inputs: Not modified.

        Returns:
            Output tensors, in order.

        Raises:
            DoesNotRun: Its code raises.
        """
        if not isinstance(state, Perturbed):
            return _users_code(lambda: run(self.pruned, inputs))
        held = cut_tensors(self.dense, state, self.recipe, tensors(self.pruned))
        return _users_code(lambda: run_with(self.pruned, held, inputs))

    def run_masked(self, state: Mapping[str, Tensor], inputs: Sequence[Any]) -> list[Tensor]:
        """Run the masked dense network.

        Args:
            state: As of `run_pruned`.
            inputs: Not modified.

        Returns:
            Output tensors, in order.

        Raises:
            NotMasked: What is left of the graph cannot be computed.
        """
        try:
            return self.masked.run(state, inputs)
        except (
            RuntimeError,
            IndexError,
        ) as error:  # where tensors do not fit; all else is our mistake
            raise NotMasked(f"The masked dense network does not run: {first_line(error)}", _GAP) from error


def _users_code(call: Callable[[], list[Tensor]]) -> list[Tensor]:
    # Nothing but the user's forward belongs in here: a mistake of the proof's own must not be blamed on the model.
    try:
        return call()
    except FORWARD_ERRORS as error:
        raise _does_not_run(first_line(error)) from error


def _does_not_run(words: str) -> DoesNotRun:
    return DoesNotRun(
        f"The pruned model does not run: {words}",
        "Its forward holds a width as a number; compute it from a tensor's shape, or exclude the layers before it.",
    )


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
        NotMasked: It computes something else than the masked network, or that one cannot be computed.
        PruneError: The comparison shows nothing.
    """
    found, dtype = _compare(claim, inputs, seed), "float32"
    if found[1] > TOLERANCE:
        found, dtype = _compare_in_double(found, claim, inputs, seed)
    max_abs, relative, count = found
    if not relative <= TOLERANCE:
        raise NotMasked(
            f"The pruned network differs from the masked dense one by {relative:.1e} of its outputs, "
            f"{TOLERANCE:.0e} allowed; nothing was changed.",
            _GAP,
        )
    return ProofReport(max_abs, relative, TOLERANCE, count, claim.mode, dtype, claim.masked.masked_norms())


Found = tuple[float, float, int]
"""Largest absolute difference, largest relative one, number of batches."""


def _compare_in_double(single: Found, claim: Claim, inputs: Sequence[Any], seed: int) -> tuple[Found, str]:
    # Tell rounding from a wrong cut; a network that cannot run in float64 has to stand by what float32 says.
    wide = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, tuple(inputs))
    try:
        return _compare(claim.in_double(), wide, seed), "float64"
    except (DoesNotRun, NotMasked):
        return single, "float32"


def _compare(claim: Claim, inputs: Sequence[Any], seed: int) -> Found:
    generator = torch.Generator().manual_seed(seed)
    example, held = tuple(inputs), tensors(claim.dense)
    own = _compared(claim, held, example)
    if own is None:
        checked_run(claim.dense, example)
    other = Perturbed(held, generator)
    agreed = _agreed_on_smaller(claim, other, example, generator)
    if own and agreed:
        return _worst([own, agreed])
    noise = random_like(example, generator)
    shown = [own, agreed or _compared(claim, other, noise)]
    if None in shown:
        # Silent or not defined there: noise, or other weights, may be what a model cannot be run with.
        shown += [_compared(claim, held, noise), _compared(claim, other, example)]
    found = [each for each in shown if each is not None]
    if not found:
        raise PruneError(
            "The masked network's outputs are all zero or not finite, so that comparing them proves nothing.",
            "Give example inputs on which the model answers.",
        )
    return _worst(found)


def _worst(found: Sequence[tuple[float, float]]) -> Found:
    return max(absolute for absolute, _ in found), max(relative for _, relative in found), len(found)


def _agreed_on_smaller(
    claim: Claim, state: Mapping[str, Tensor], example: Sequence[Any], generator: torch.Generator
) -> tuple[float, float] | None:
    """Return the differences on small random images, a fraction of the work; None where these decide nothing.

    That is where the graph, or the user's code, holds the size of an image as a number: only the full size is known
    to run, and only there does a difference speak against the cut.
    """
    small = smaller(example)
    try:
        found = None if small is None else _compared(claim, state, random_like(small, generator))
    except (DoesNotRun, NotMasked):
        return None
    return found if found is not None and found[1] <= TOLERANCE else None


def _compared(claim: Claim, state: Mapping[str, Tensor], batch: Sequence[Any]) -> tuple[float, float] | None:
    """Return the largest absolute and relative difference on one batch; None if the outputs show nothing."""
    outputs = claim.run_pruned(state, batch)  # first, since it may not run at all
    expected = claim.run_masked(state, batch)
    difference = _difference(outputs, expected)
    return None if _shows_nothing(expected) else difference


def _shows_nothing(expected: list[Tensor]) -> bool:
    # Whether outputs are all zero, or hold NaN: noise may lie where a model is not defined.
    zero = not any(bool(output.count_nonzero()) for output in expected)
    return zero or not all(bool(torch.isfinite(output).all()) for output in expected)


def _difference(found: list[Tensor], expected: list[Tensor]) -> tuple[float, float]:
    if [tuple(output.shape) for output in found] != [tuple(output.shape) for output in expected]:
        raise _does_not_run("its outputs have other shapes")
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
