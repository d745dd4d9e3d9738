"""What a prune gives back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from edgeprune.values.recipe import PruneRecipe


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What became of one group of coupled layers, one tensor, one layer or one connection.

    Attributes:
        name: The group's first producing weight; the tensor; the module; the consuming weight.
        width_before: How many there were of what the kind counts,
        width_after: and how many there are now.
        layers: Modules that hold a piece of it.
        score_min: Smallest and
        score_max: largest score of the first ranking; None for what is frozen, which is not ranked.
        params_saved: Parameters that go if this group alone is cut.
        macs_saved: Multiply-accumulates per example that go if this group alone is cut.
        frozen: Why none could go, with the op and the line; None if they could.
        kind: What is counted: "channels", "weights" that are not zero, "layers" (1 or 0), or "connections": channels
            that a layer reads.
    """

    name: str
    width_before: int
    width_after: int
    layers: tuple[str, ...]
    score_min: float | None
    score_max: float | None
    params_saved: int
    macs_saved: int | None
    frozen: str | None
    kind: str = "channels"


@dataclass(frozen=True, slots=True)
class SizeReport:
    """Bytes of all parameters and buffers, tied ones once.

    Attributes:
        disk_before: Of the dense model, as a file holds them;
        disk_after: of the pruned one.
        compressed_before: The former after zlib;
        compressed_after: the latter.
    """

    disk_before: int
    disk_after: int
    compressed_before: int
    compressed_after: int


@dataclass(frozen=True, slots=True)
class ProofReport:
    """The pruned network against the dense one with the removed channels masked at every consumer.

    Attributes:
        max_abs: Largest |Δ| of any output on the network's own weights.
        max_relative: Largest |Δ| divided by the largest magnitude of that output, over all comparisons.
        tolerance: What `max_relative` had to stay under.
        n_inputs: Batches compared: the example inputs on the network's own weights, and random inputs on perturbed
            weights, so that a channel that happens to be silent is compared, too. Large random images are smaller than
            the example's where the network runs on these.
        mode: "in_place" if the user's own module was sliced, "rewritten" if its exported graph was written again.
        dtype: "float32", or "float64" where rounding alone went over the tolerance.
        masked_norms: Norms across channels whose statistics now run over the channels that are left: there, a removed
            channel is not the same as a silent one.
        unknown_ops: Ops without a rule that froze channels, with their lines.
    """

    max_abs: float
    max_relative: float
    tolerance: float
    n_inputs: int
    mode: str
    dtype: str = "float32"
    masked_norms: tuple[str, ...] = ()
    unknown_ops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PruneResult:
    """A smaller model, and everything that is known about it.

    Attributes:
        model: The pruned copy; the model that was given is untouched.
        recipe: What was cut: `replay(fresh, recipe)` and the state dict give the same model again.
        report: One row for each group, frozen ones included, in the order of the forward pass.
        proof: How close the pruned network is to the masked dense one.
        size: Of the weights, where zeros make a difference; None where only the shapes count.
        notes: What the user has to know besides.
    """

    model: nn.Module
    recipe: PruneRecipe
    report: tuple[GroupReport, ...]
    proof: ProofReport
    size: SizeReport | None = None
    notes: tuple[str, ...] = ()
