"""Is the energy right, and its interval honest? Each meter's model against known power curves.

    python benchmarks/energy_truth.py [SEEDS]

Prints per meter: the largest |E/E_true - 1| of windows that pass the gates (scale and zero of the meter exact), the
share of 95 % intervals that hold the truth (scale and zero drawn from what the meter states) and the median interval;
the same without scale and zero; and what the gates refused. Loads are as long as the meter asks for.
"""

from __future__ import annotations

import statistics
import sys

from edgeprune.testing.energy_truth import truth_of
from edgeprune.testing.meter_models import METERS

SEEDS = 1000


def main() -> None:
    """Print the table."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
    heads = [
        "meter",
        "load",
        "worst error",
        "coverage of 95 %",
        "interval ±",
        "coverage, random",
        "random ±",
        "refused",
    ]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name, model in METERS.items():
        truth = truth_of(model, seeds)
        refused = ", ".join(f"{gate} {count}" for gate, count in truth.refused.items()) or "none"
        columns = [
            name,
            f"{truth.window_s:.3g} s",
            f"{100 * truth.worst_ratio:.2f} %",
            f"{100 * truth.coverage_ratio:.1f} %",
            f"{100 * statistics.median(truth.uncertainties or [0]):.2f} %",
            f"{100 * truth.repeated_ratio:.1f} %",
            f"{100 * statistics.median(truth.repeatabilities or [0]):.2f} %",
            f"{refused} of {2 * len(seeds)}",
        ]
        print(f"| {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
