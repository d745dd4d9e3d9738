"""Session + Artifact + BenchPlan -> Measurement."""

from edgeprune.measuring.bench import measure, measure_repeat, summarise
from edgeprune.measuring.cooling import CoolingGate
from edgeprune.measuring.evaluation import evaluate, score
from edgeprune.measuring.inference import infer
from edgeprune.measuring.metering import Power, power_for

__all__ = ["CoolingGate", "Power", "evaluate", "infer", "measure", "measure_repeat", "power_for", "score", "summarise"]
