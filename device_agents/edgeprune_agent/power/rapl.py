"""RAPL: energy counters of x86 packages, which wrap.

Source:
    Linux, Documentation/power/powercap/powercap.rst. `intel-rapl-mmio` counts a package a second time; core and
    uncore are parts of the package.
"""

import os
import re
from typing import Any, Dict, List, Set

from edgeprune_agent.power.gauges import Gauge, Unusable, folders, number, text

PERIOD_S = 0.02
_PACKAGE = re.compile(r"intel-rapl:\d+$")


class Packages:
    """The sum of all packages since the first reading."""

    def __init__(self, zones: List[str]) -> None:
        self.flags: Set[str] = set()
        self._gauges = [Gauge(os.path.join(zone, "energy_uj")) for zone in zones]
        self._ranges = [number(zone, "max_energy_range_uj") or 1 << 32 for zone in zones]
        self._last: List[int] = []
        self._total_uj = 0
        labels = " + ".join(text(zone, "name") or "?" for zone in zones)
        self.facts: Dict[str, Any] = {
            "source": "rapl " + labels, "boundary": "soc", "fidelity": "estimate", "period_s": PERIOD_S,
            "delay_s": 0.001, "resolution_w": 6.1e-5, "gain_ratio": 0.03, "offset_w": 0.05, "counter": True,
        }  # fmt: skip

    def read(self) -> int:
        """Return nJ since the first reading."""
        now = [gauge.read() for gauge in self._gauges]
        for old, new, span in zip(self._last or now, now, self._ranges):
            self._total_uj += new - old if new >= old else new - old + span
        self._last = now
        return self._total_uj * 1000


def find(filesystem: str, wanted: Dict[str, Any]) -> Packages:
    """Return the sum of all packages.

    Raises:
        Unusable: There is none, or its counter is root's alone.
    """
    del wanted
    zones = _zones(filesystem)
    if not zones:
        raise Unusable("no RAPL")
    path = os.path.join(zones[0], "energy_uj")
    if not os.access(path, os.R_OK):
        raise Unusable("{0} is root's alone; as root: chmod a+r {0}".format(path))
    return Packages(zones)


def names(filesystem: str) -> List[str]:
    """Return the packages whose counters can be read."""
    zones = _zones(filesystem)
    return ["rapl " + (text(zone, "name") or "?") for zone in zones if os.access(zone + "/energy_uj", os.R_OK)]


def _zones(filesystem: str) -> List[str]:
    zones = folders(filesystem, "sys/class/powercap/intel-rapl:*")
    return [zone for zone in zones if _PACKAGE.search(zone) and (text(zone, "name") or "").startswith("package")]
