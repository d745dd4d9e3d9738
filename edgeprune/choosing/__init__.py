"""[Measurement] + objectives -> ParetoFront -> Choice."""

from edgeprune.choosing.pareto import ParetoFront, pareto

__all__ = ["ParetoFront", "pareto"]
