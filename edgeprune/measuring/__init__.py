"""Session + Artifact + BenchPlan -> Measurement."""

from edgeprune.measuring.bench import measure, measure_repeat, summarise
from edgeprune.measuring.comparison import Comparison, compare
from edgeprune.measuring.cooling import CoolingGate
from edgeprune.measuring.evaluation import evaluate, score
from edgeprune.measuring.inference import infer
from edgeprune.measuring.layers import layer_times
from edgeprune.measuring.metering import Power, power_for
from edgeprune.measuring.pinning import pinned
from edgeprune.measuring.power_source import open_power

__all__ = [
    "Comparison",
    "CoolingGate",
    "Power",
    "compare",
    "evaluate",
    "infer",
    "layer_times",
    "measure",
    "measure_repeat",
    "open_power",
    "pinned",
    "power_for",
    "score",
    "summarise",
]
