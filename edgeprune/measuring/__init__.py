"""Session + Artifact + BenchPlan -> Measurement."""

from edgeprune.measuring.bench import measure, measure_repeat, summarise
from edgeprune.measuring.comparison import Comparison, compare
from edgeprune.measuring.cooling import CoolingGate
from edgeprune.measuring.evaluation import evaluate, score
from edgeprune.measuring.inference import infer
from edgeprune.measuring.layers import layer_times
from edgeprune.measuring.pinning import pinned

__all__ = [
    "Comparison",
    "CoolingGate",
    "compare",
    "evaluate",
    "infer",
    "layer_times",
    "measure",
    "measure_repeat",
    "pinned",
    "score",
    "summarise",
]
