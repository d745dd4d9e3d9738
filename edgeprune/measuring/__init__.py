"""Session + Artifact + BenchPlan -> Measurement."""

from edgeprune.measuring.bench import measure, measure_repeat, summarise
from edgeprune.measuring.cooling import CoolingGate
from edgeprune.measuring.evaluation import evaluate, score
from edgeprune.measuring.inference import infer

__all__ = ["CoolingGate", "evaluate", "infer", "measure", "measure_repeat", "score", "summarise"]
