"""Which layers must stay float so that a floor holds: ranked by the output error that each adds, measured.

Each layer is reduced alone and the network's outputs are compared with the model's; the layers are then given back to
float in this order. How many it takes is found by bisection, since each trial costs a whole quantization; that a floor
which holds with some layers in float also holds with more is all but certain, and what is returned has been tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeprune.errors import ExportError
from edgeprune.exporting.model_file import Run
from edgeprune.exporting.parity import Reference, mean_distance
from edgeprune.exporting.reducer import Reducer
from edgeprune.values.artifact import ParityReport
from edgeprune.values.spec import ExportSpec

RANKING_EXAMPLES = 32
"""Enough to tell layers apart that differ by more than a few percent; each layer costs one run over them."""


def ranked(work: Reducer, reference: Reference, run: Callable[[bytes], Run]) -> list[str]:
    """Rank layers by what each costs.

    Args:
        work: Reduces the file.
        reference: What the network should give.
        run: Loads a file.

    Returns:
        All layers, the one whose reduction moves the outputs most first.
    """
    everything = set(work.layers)
    cost = {layer: mean_distance(reference, run(work.reduced(everything - {layer}))) for layer in work.layers}
    return sorted(cost, key=lambda layer: (-cost[layer], layer))


def fewest(order: Sequence[str], holds: Callable[[Sequence[str]], bool]) -> list[str]:
    """Return the shortest beginning of a ranking with which the floor holds, by bisection.

    Args:
        order: Layers, the costliest first.
        holds: Whether the floor holds with these in float.

    Returns:
        The layers to keep in float: all of them where nothing less would do.
    """
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(order[:middle]) else (middle + 1, high)
    return list(order[:low])


def shortfall(report: ParityReport, spec: ExportSpec) -> str:
    """Say what an artifact lacks to the floor of its spec.

    Args:
        report: Of the artifact.
        spec: With the floor, if any.

    Returns:
        In words; empty where it lacks nothing.
    """
    agreement, floor = report.top1_agreement_ratio, spec.agreement_floor_ratio
    if floor is not None and agreement is not None and agreement < floor:
        return f"its largest output is the model's on {agreement:.2%} of {report.n_inputs} inputs, {floor:.2%} is asked"
    error, bound = report.whole_max_relative, spec.max_error_ratio
    if bound is not None and error is not None and error > bound:
        return f"an output is off by {error:.2%} of the largest, {bound:.2%} is allowed"
    return ""


def below_floor(name: str, lack: str, worst: str | None) -> ExportError:
    """Make the error of an artifact that misses its floor.

    Args:
        name: Of the artifact.
        lack: As `shortfall` says it.
        worst: The costliest layer; None where layers cannot be told apart.

    Returns:
        To be raised.
    """
    layer = f"; the layer that costs most is {worst}" if worst else ""
    step = "Take int8-mixed, which leaves such layers in float, or lower the floor." if worst else "Lower the floor."
    return ExportError(f"{name} misses its floor: {lack}{layer}.", step)
