"""A battery's gauge. What a driver calls current_now differs by vendor in unit and sign, so it is tried, not believed.

Source:
    Linux, Documentation/ABI/testing/sysfs-class-power: µA, µV, µW. Signs contradict each other; `status` counts.
"""

import errno
import os
from typing import Any, Dict, List, Set

from edgeprune_agent.power.gauges import Gauge, Unusable, folders, text

PERIOD_S = 0.25
_STATUS_EVERY = 8
_LEAST_A, _MOST_A = 0.05, 10.0
"""No board that runs a network takes less or more."""
_FACTORS = {"uA": 1e-6, "mA": 1e-3}


class Battery:
    """Voltage times the size of the current, while the battery is being discharged."""

    def __init__(self, folder: str, unit: str) -> None:
        self._folder, self._factor, self._ticks = folder, _FACTORS[unit], 0
        self._volt, self._amp = (Gauge(os.path.join(folder, name)) for name in ("voltage_now", "current_now"))
        self.flags: Set[str] = set()
        self.facts: Dict[str, Any] = {
            "source": "power_supply " + os.path.basename(folder), "boundary": "battery", "fidelity": "battery",
            "period_s": PERIOD_S, "average_s": 0.5, "delay_s": 0.5, "resolution_w": 0.004, "gain_ratio": 0.03,
            "offset_w": 0.01,
        }  # fmt: skip

    def read(self) -> int:
        """Return nW; notes in `flags` what speaks against it.

        Raises:
            OSError: There is no such power.
        """
        amp, volt = abs(self._amp.read()) * self._factor, self._volt.read() * 1e-6
        if not _LEAST_A <= amp <= _MOST_A or not 1.0 <= volt <= 60.0:
            self.flags.add("sign")
        if self._ticks % _STATUS_EVERY == 0 and text(self._folder, "status") != "Discharging":
            self.flags.add("charging")
        self._ticks += 1
        power = amp * volt * 1e9
        if power >= 1e18:
            raise OSError(errno.ERANGE, "no such power")
        return int(power)


def find(filesystem: str, wanted: Dict[str, Any]) -> Battery:
    """Return the first battery.

    Args:
        filesystem: Where /sys lies.
        wanted: `current_unit`.

    Returns:
        The sensor.

    Raises:
        Unusable: There is none.
    """
    for folder in _batteries(filesystem):
        return Battery(folder, wanted["current_unit"])
    raise Unusable("no battery")


def names(filesystem: str) -> List[str]:
    """Return the batteries."""
    return ["power_supply " + os.path.basename(folder) for folder in _batteries(filesystem)]


def _batteries(filesystem: str) -> List[str]:
    supplies = folders(filesystem, "sys/class/power_supply/*")
    return [
        folder
        for folder in supplies
        if text(folder, "type") == "Battery" and os.path.exists(os.path.join(folder, "current_now"))
    ]
