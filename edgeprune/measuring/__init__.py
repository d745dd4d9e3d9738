"""Session + Artifact + BenchPlan -> Measurement."""

from edgeprune.measuring.bench import measure, measure_repeat, summarise
from edgeprune.measuring.cooling import CoolingGate
from edgeprune.measuring.evaluation import evaluate, score
from edgeprune.measuring.inference import infer
from edgeprune.measuring.metering import Power, power_for
from edgeprune.measuring.power_source import open_power

__all__ = [
    "CoolingGate",
    "Power",
    "evaluate",
    "infer",
    "measure",
    "measure_repeat",
    "open_power",
    "power_for",
    "score",
    "summarise",
]
