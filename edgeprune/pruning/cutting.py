"""One selection of channels, cut out of a module in place or out of its graph written again, and proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from edgeprune.errors import PruneError
from edgeprune.pruning.batching import find_batching
from edgeprune.pruning.capture import FORWARD_ERRORS, Captured, first_line
from edgeprune.pruning.carving import Selection, carve
from edgeprune.pruning.isolation import Isolation, baked, doubtful
from edgeprune.pruning.masking import MaskedNetwork
from edgeprune.pruning.proof import Claim, DoesNotRun, NotMasked, prove
from edgeprune.pruning.replaying import rewriting_of
from edgeprune.pruning.result import ProofReport
from edgeprune.pruning.rewriting import rewritten
from edgeprune.values.recipe import PruneRecipe

Proved = tuple[nn.Module, PruneRecipe, ProofReport]
"""The pruned network, what leads to it, and how close it is to the masked dense one."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """What is to be cut from what.

    Attributes:
        model: In eval mode; left as it is.
        captured: Its graph.
        selection: What stays.
        inputs: Example inputs.
        seed: Of the proof.
    """

    model: nn.Module
    captured: Captured
    selection: Selection
    inputs: Sequence[Any]
    seed: int

    def in_place(self) -> Proved:
        """Cut a copy of the user's module.

        Returns:
            The copy, proved.

        Raises:
            DoesNotRun: The module is known to hold a width that would go.
        """
        held = baked(self.selection.trace, self._cut_groups())
        if held:
            raise DoesNotRun(
                f"The pruned model does not run right: a width {next(iter(held.values()))}.",
                "Let EdgePrune write the graph again (rewrite=True), or exclude the layers.",
            )
        pruned, recipe = carve(self.model, self.selection)
        return pruned, recipe, self._prove(pruned, recipe, "in_place")

    def rewritten(self) -> Proved:
        """Write the graph again with the tensors cut.

        Returns:
            The new module, proved.

        Raises:
            DoesNotRun: The graph holds something that cannot follow.
        """
        batching = find_batching(self.model, self.captured, self.inputs)
        selection = self.selection
        try:
            pruned = rewritten(self.model, self.captured, selection.trace, selection.cuts, batching)
        except FORWARD_ERRORS as error:
            step = "Report the model: this is a gap in EdgePrune."
            raise DoesNotRun(f"The graph cannot be written again: {first_line(error)}", step) from error
        recipe = PruneRecipe(selection.cuts, rewriting=rewriting_of(self.inputs, selection.trace.heads))
        return pruned, recipe, self._prove(pruned, recipe, "rewritten")

    def stuck(self, error: PruneError) -> dict[str, str]:
        """Return the groups that cannot be cut in place, with the reason of each.

        Args:
            error: What came of cutting them in place.

        Returns:
            Group name to reason.
        """
        groups = self.selection.groups
        trace = self.selection.trace
        held = baked(trace, groups)
        if held:
            return held
        if isinstance(error, NotMasked):
            return doubtful(trace, groups)
        return Isolation(self.model, trace, self.inputs).stuck(groups)

    def _cut_groups(self) -> list[Any]:
        pairs = zip(self.selection.groups, self.selection.kept, strict=True)
        return [group for group, kept in pairs if len(kept) < group.n_channels]

    def _prove(self, pruned: nn.Module, recipe: PruneRecipe, mode: str) -> ProofReport:
        trace = self.selection.trace
        masked = MaskedNetwork(self.captured, trace, self.selection.gone)
        report = prove(Claim(self.model, pruned, masked, recipe, mode), self.inputs, self.seed)
        return replace(report, unknown_ops=tuple(trace.unknown))
