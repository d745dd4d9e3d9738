"""A recorded trace, given again in its own time: a CSV file with the columns time_s and power_w."""

from __future__ import annotations

import csv
import time
from array import array
from itertools import pairwise
from pathlib import Path

from edgeprune.errors import MeterFailed
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.meter import Meter, MeterReadings
from edgeprune.values.power import MeterFacts

_WAIT_S = 0.05


class Replay(Meter):
    """Plays a file from its begin whenever it is started; after its end nothing comes any more.

    Args:
        address: The file, and what its readings are: period_s, average_s, delay_s, resolution_w.
    """

    stamp_bound_s = 0.0

    def __init__(self, address: MeterAddress) -> None:
        super().__init__(address)
        address.known("period_s", "average_s", "delay_s", "resolution_w")
        self._rows: list[tuple[float, float]] = []
        self._next = self._begin_ns = 0

    @property
    def facts(self) -> MeterFacts:
        """By the options; the period is the median of the file where none is given."""
        steps = sorted(b - a for (a, _), (b, _) in pairwise(self._rows))
        usual = steps[len(steps) // 2] if steps else 1.0
        number = self.address.number
        return self.address.adapt(
            MeterFacts(
                f"replay of {Path(self.address.place).name}", "board", "external", number("period_s", usual),
                number("average_s", 0.0), number("delay_s", 0.0), number("resolution_w", 0.0),
            )
        )  # fmt: skip

    def start(self) -> None:
        """Read the file; its time 0 is now."""
        self._rows = read_trace(Path(self.address.place))
        self._next, self._begin_ns = 0, time.monotonic_ns()

    def read(self) -> MeterReadings:
        """Return the rows whose time has come.

        Returns:
            The readings.
        """
        time.sleep(_WAIT_S)
        past_s = (time.monotonic_ns() - self._begin_ns) * 1e-9
        times, values = array("q"), array("q")
        while self._next < len(self._rows) and self._rows[self._next][0] <= past_s:
            at_s, power = self._rows[self._next]
            times.append(self._begin_ns + round(at_s * 1e9))
            values.append(round(power * 1e9))
            self._next += 1
        return MeterReadings(times, values)

    def stop(self) -> None:
        """Forget where it was."""
        self._next = len(self._rows)


def read_trace(path: Path) -> list[tuple[float, float]]:
    """Read a recorded trace.

    Args:
        path: CSV with a header; times rise.

    Returns:
        Pairs of s and W.

    Raises:
        MeterFailed: The file cannot be read, or is no trace.
    """
    step = "Write a CSV file with the columns time_s and power_w, times rising."
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(float(row["time_s"]), float(row["power_w"])) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise MeterFailed(f"{path} is no power trace ({error!r}).", step) from error
    rising = all(a < b for (a, _), (b, _) in pairwise(rows))
    if len(rows) < 2 or not rising or any(not abs(power) < 1e6 or not 0 <= at < 1e7 for at, power in rows):
        raise MeterFailed(f"{path} is no power trace: its rows do not rise in time, or are no numbers.", step)
    return rows
