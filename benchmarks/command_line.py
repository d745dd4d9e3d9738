"""How long `edgeprune --help` takes as a whole process, beside `python -c pass`. Bound: 0.3 s."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "edgeprune --help": [str(Path(sys.executable).parent / "edgeprune"), "--help"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one process, s."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the median of each command, the rounds interleaved."""
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)]
    for name in COMMANDS:
        times = sorted(one[name] for one in rounds)
        print(f"{name:>18}: median {statistics.median(times):.3f} s, {times[0]:.3f} to {times[-1]:.3f} s, n={ROUNDS}")


if __name__ == "__main__":
    main()
