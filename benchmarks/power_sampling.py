"""Does reading a power sensor beside a run move its latency? Runs with and without it take turns, in fresh processes.

    python benchmarks/power_sampling.py [ROUNDS]

The sensor is an INA3221's tree of files, read 50 times a second by the agent's own process. Prints the ratio of medians
of each round (with / without), their median and their range.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from agent_overhead import artifact, conv_net

from edgeprune.devices import Session, connect
from edgeprune.measuring import Power, measure_repeat, power_for
from edgeprune.testing.sysfs import jetson_orin
from edgeprune.values.artifact import Artifact
from edgeprune.values.device import DeviceProfile
from edgeprune.values.event import ignore
from edgeprune.values.plan import BenchPlan

ROUNDS = 10
PLAN = BenchPlan(warmup_s=0.3, min_duration_s=8.0, max_duration_s=30.0, repeats=1)


def median_ns(session: Session, model: Artifact, power: Power) -> float:
    """Return the median of one repeat, in nanoseconds."""
    return statistics.median(measure_repeat(session, model, PLAN, 0, ignore, power).samples_ns)


def main() -> None:
    """Take turns and print what came out."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jetson_orin(folder / "board").show(7.0)
        os.environ["EDGEPRUNE_FILESYSTEM"] = str(folder / "board")
        profile = DeviceProfile("bench", f"local://?root={folder / 'agent'}", "jetson-orin-nano", "onboard")
        with connect(profile) as session:
            model = artifact(conv_net(folder / "conv_net.onnx"))
            power = power_for(session, "onboard", ignore, needed=True)
            ratios = []
            for number in range(rounds):
                turns = [power, Power()] if number % 2 else [Power(), power]
                found = {turn.source is not None: median_ns(session, model, turn) for turn in turns}
                ratios.append(found[True] / found[False])
                with_it, without = found[True] / 1e3, found[False] / 1e3
                print(f"  with {with_it:9.2f} µs   without {without:9.2f} µs   ratio {ratios[-1]:.4f}")
    print(f"ratio {statistics.median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}")


if __name__ == "__main__":
    main()
