"""A worker's side of its power sensor, which another process reads: readings are fetched, and told at the end."""

import random
import time
from typing import Any, Dict, List, Tuple

from edgeprune_agent import identity, power, timing
from edgeprune_agent.events import EventWriter
from edgeprune_agent.power.gauges import Unusable
from edgeprune_agent.sampler import Sampler

_EVENT_READINGS = 1000
_JITTER_RATIO = 0.2
"""Readings that kept step with the inferences would always see the same part of them."""
_SLICE_S = 0.1


class PowerReader:
    """Runs in the other process: finds the sensor first, then waits for the next moment and reads.

    Args:
        wanted: See `power.find`.
        filesystem: Where /sys lies.
    """

    def __init__(self, wanted: Dict[str, Any], filesystem: str) -> None:
        self._wanted, self._filesystem = wanted, filesystem
        self._sensor: Any = None
        self._error = False
        self._due = 0.0

    def read(self) -> Dict[str, Any]:
        """Return the sensor's facts, or why there is none; from then on its readings."""
        if self._sensor is None:
            return self._find()
        time.sleep(max(0.0, self._due - time.monotonic()))
        begin = timing.now_ns()
        try:
            value = self._sensor.read()
        except OSError:
            said: Dict[str, Any] = {"dropped": 1}
        else:
            said = {"t": (begin + timing.now_ns()) // 2, "v": value}
        if self._sensor.flags:
            said["flags"] = sorted(self._sensor.flags)
        period_s = self._sensor.facts["period_s"]
        late_s = max(self._due, time.monotonic() - period_s)
        self._due = late_s + period_s * (1 + _JITTER_RATIO * (2 * random.random() - 1))
        return said

    def _find(self) -> Dict[str, Any]:
        if self._error:
            time.sleep(_SLICE_S)
            return {}
        try:
            self._sensor = power.find(self._wanted, self._filesystem)
        except Unusable as error:
            self._error = True
            return {"error": str(error)}
        return {"facts": self._sensor.facts}


class Told:
    """What a reader said, put together.

    Attributes:
        about: `facts` or `error`, `dropped`, `flags`.
        readings: Times and values.
    """

    def __init__(self) -> None:
        self.about: Dict[str, Any] = {"facts": None, "error": None, "dropped": 0, "flags": []}
        self.readings: List[Tuple[int, int]] = []

    def add(self, line: Dict[str, Any]) -> None:
        """Take what `PowerReader.read` returned."""
        if "v" in line:
            self.readings.append((line["t"], line["v"]))
        self.about["dropped"] += line.get("dropped", 0)
        self.about.update({key: line[key] for key in ("facts", "error", "flags") if key in line})


class PowerWatch:
    """The readings of one run.

    Args:
        wanted: The spec's `power`.
    """

    def __init__(self, wanted: Dict[str, Any]) -> None:
        self._sampler = Sampler(PowerReader(wanted, identity.filesystem()).read, 0.0)
        self._told = Told()

    def take(self) -> None:
        """Fetch what was read; the pipe holds some thousands of readings."""
        self._add(self._sampler.take())

    def _add(self, lines: List[Dict[str, Any]]) -> None:
        for line in lines:
            self._told.add(line)

    def tell(self, events: EventWriter) -> None:
        """End the other process and put what it said into the spool."""
        self._add(self._sampler.close())
        events.put("power", **self._told.about)
        readings = self._told.readings
        for start in range(0, len(readings), _EVENT_READINGS):
            times, values = zip(*readings[start : start + _EVENT_READINGS])
            events.put("readings", t_ns=times, values=values)


def read_for(seconds: float, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """Read a sensor for a moment, without a run.

    Args:
        seconds: How long.
        wanted: See `power.find`.

    Returns:
        `facts` or `error`; `dropped`, `flags`; `t_ns` and `values` of the readings.
    """
    reader, told = PowerReader(wanted, identity.filesystem()), Told()
    told.add(reader.read())
    end = time.monotonic() + seconds
    while told.about["facts"] and time.monotonic() < end:
        told.add(reader.read())
    return dict(told.about, t_ns=[t for t, _ in told.readings], values=[value for _, value in told.readings])
