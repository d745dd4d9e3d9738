"""[Measurement] + objectives -> ParetoFront -> Choice."""

from edgeprune.choosing.front import ParetoFront, pareto

__all__ = ["ParetoFront", "pareto"]
