"""How long one node of a model takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One node of the graph as the runtime runs it, after its optimizations.

    Attributes:
        name: As the runtime calls it.
        op: Its operator.
        provider: What ran it, such as "CPU" or "CUDA".
        time_s: Median over the profiled runs; profiling itself makes them slower.
        module: The torch module whose weights it holds, or whose output it goes on with; "" where that is not known.
    """

    name: str
    op: str
    provider: str
    time_s: float
    module: str = ""
