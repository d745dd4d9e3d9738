"""TI's INA shunts: INA3221 by NVIDIA's IIO driver (JetPack 4) or by hwmon, INA219 and its kin by hwmon.

Source:
    Linux, Documentation/hwmon/{sysfs-interface,ina3221,ina2xx}.rst: in mV, curr mA, power µW, shunt µΩ.
    TI SBOS576, INA3221: steps of 40 µV and 8 mV, offset at most 80 µV, gain 0.25 %.
    NVIDIA's ina3221x driver: rail_name_<c>, in_power<c>_input in mW, running_mode 1 averages 64 conversions.
"""

import math
import os
from typing import Any, Dict, List, Set

from edgeprune_agent.power.gauges import Gauge, Unusable, folders, number, text

PERIOD_S = 0.02
_SHUNT_OHM = 0.005
"""Where the driver does not say it: that of every Jetson module before AGX Orin."""
_GAIN_RATIO = 0.006
"""0.25 % of the chip and 1 % of the shunt, as limits."""
_VOLTAGE_EVERY = 10
"""The voltage hardly changes, and reading it takes as long as reading the current."""
_CONTINUOUS_S, _TRIGGERED_S = 0.422, 0.00084
_CHIPS = {
    "ina219": (20e-3, 0.001), "ina220": (20e-3, 0.001), "ina226": (6.25e-3, 0.0352), "ina230": (6.25e-3, 0.0352),
    "ina231": (6.25e-3, 0.0352), "ina232": (6.25e-3, 0.0352), "ina238": (1e-3, 0.005), "ina260": (10e-3, 0.0352),
}  # fmt: skip
"""Chip to the step of its power (W, at a shunt of 10 mΩ) and to how long it averages by the driver's default."""


class Channel:
    """One rail of a JetPack 4 INA3221: power in mW, of one conversion."""

    def __init__(self, folder: str, index: str, label: str) -> None:
        self.label, self._folder = label, folder
        self._power = Gauge(os.path.join(folder, "in_power{}_input".format(index)))
        volt = (number(folder, "in_voltage{}_input".format(index)) or 5000) * 1e-3
        average = _CONTINUOUS_S if number(folder, "running_mode") == 1 else _TRIGGERED_S
        self.facts = _shunt_facts("ina3221x", volt, _SHUNT_OHM, average, 0.0)

    def read(self) -> int:
        """Return nW."""
        return self._power.read() * 1000000


class HwmonChannel:
    """One rail of an INA3221 by hwmon, which gives no power: voltage times current."""

    def __init__(self, folder: str, index: str, label: str) -> None:
        self.label = label
        self._volt = Gauge(os.path.join(folder, "in{}_input".format(index)))
        self._amp = Gauge(os.path.join(folder, "curr{}_input".format(index)))
        self._mv = self._ticks = 0
        ohm = (number(folder, "shunt{}_resistor".format(index)) or 0) * 1e-6 or _SHUNT_OHM
        update = (number(folder, "update_interval") or 7) * 1e-3
        volt = (number(folder, "in{}_input".format(index)) or 5000) * 1e-3
        # Three channels take turns, each for its voltage and its current.
        self.facts = _shunt_facts("ina3221", volt, ohm, update / 6, update)

    def read(self) -> int:
        """Return nW."""
        if self._ticks % _VOLTAGE_EVERY == 0:
            self._mv = self._volt.read()
        self._ticks += 1
        return self._mv * self._amp.read() * 1000


class PowerChannel:
    """One INA219 or kin, whose driver gives µW; where that overflowed, voltage times current."""

    def __init__(self, folder: str, chip: str, label: str) -> None:
        self.label = label
        self._power, self._volt, self._amp = [
            Gauge(os.path.join(folder, name)) for name in ("power1_input", "in1_input", "curr1_input")
        ]
        step, average = _CHIPS[chip]
        ohm = (number(folder, "shunt_resistor") or 10000) * 1e-6
        update = (number(folder, "update_interval") or 0) * 1e-3 or average
        step = step if chip == "ina260" else step * 0.01 / ohm
        self.facts = {
            "source": "{} {}, shunt {:g} mOhm".format(chip, label, 2 if chip == "ina260" else ohm * 1e3),
            "period_s": PERIOD_S, "average_s": update, "delay_s": update, "resolution_w": step,
            "gain_ratio": _GAIN_RATIO, "offset_w": step / 2,
        }  # fmt: skip

    def read(self) -> int:
        """Return nW."""
        power, product = self._power.read() * 1000, self._volt.read() * self._amp.read() * 1000
        return product if power < 0 or abs(power - product) > 0.05 * abs(product) else power


class Total:
    """The sum of some channels."""

    def __init__(self, channels: List[Any]) -> None:
        facts = [channel.facts for channel in channels]
        self.read_all = [channel.read for channel in channels]
        self.flags: Set[str] = set()
        self.facts: Dict[str, Any] = {
            key: max(fact[key] for fact in facts) for key in ("average_s", "delay_s", "gain_ratio")
        }
        for key in ("resolution_w", "offset_w"):
            self.facts[key] = math.sqrt(sum(fact[key] ** 2 for fact in facts))
        # A reading may wait for a conversion, one of each channel after the other.
        self.facts["period_s"] = max(PERIOD_S, 2 * sum(fact["delay_s"] for fact in facts if "3221" in fact["source"]))
        labels = " + ".join(channel.label for channel in channels)
        one = len(facts) == 1
        self.facts["source"] = facts[0]["source"] if one else "{} {}".format(facts[0]["source"].split()[0], labels)
        self.facts["boundary"] = "module" if "3221" in self.facts["source"] or "VIN" in labels.split() else "board"
        self.facts["fidelity"] = "onboard"

    def read(self) -> int:
        """Return nW."""
        return sum(read() for read in self.read_all)


def _shunt_facts(chip: str, volt: float, ohm: float, average_s: float, delay_s: float) -> Dict[str, Any]:
    return {
        "source": chip, "average_s": average_s, "delay_s": delay_s, "resolution_w": 40e-6 / ohm * volt,
        "gain_ratio": _GAIN_RATIO, "offset_w": 80e-6 / math.sqrt(3) / ohm * volt,
    }  # fmt: skip


def find(filesystem: str, wanted: Dict[str, Any]) -> Total:
    """Return the sum of the wanted rails, or the only rail that there is.

    Args:
        filesystem: Where /sys lies.
        wanted: `rails`.

    Returns:
        The sensor.

    Raises:
        Unusable: There is no INA, a rail is missing, or nobody says which rails make the total.
    """
    channels = {channel.label: channel for channel in _channels(filesystem)}
    known = ", ".join(channels)
    missing = [rail for rail in wanted["rails"] if rail not in channels]
    if not channels:
        raise Unusable("no INA sensor")
    if missing:
        raise Unusable("no rail {} (there are {})".format(", ".join(missing), known))
    if not wanted["rails"] and len(channels) > 1:
        raise Unusable("which of the rails {} make the total is not known".format(known))
    total = Total([channels[rail] for rail in wanted["rails"] or channels])
    if len(total.read_all) == 1 and "3221" in total.facts["source"]:
        total.facts["source"] += " " + (wanted["rails"] or list(channels))[0]
    return total


def names(filesystem: str) -> List[str]:
    """Return every rail."""
    return ["{} {}".format(channel.facts["source"].split()[0], channel.label) for channel in _channels(filesystem)]


def _channels(filesystem: str) -> List[Any]:
    channels: List[Any] = []
    for folder in folders(
        filesystem, "sys/bus/i2c/devices/*/iio:device*", "sys/bus/i2c/drivers/ina3221x/*/iio:device*",
        "sys/bus/i2c/devices/*/hwmon/hwmon*", "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*", "sys/class/hwmon/hwmon*",
    ):  # fmt: skip
        try:
            channels += _of(folder)
        except Unusable:
            continue
    return channels


def _of(folder: str) -> List[Any]:
    chip = text(folder, "name") or ""
    if chip in _CHIPS:
        # The only unlabelled one on a Jetson is AGX Thor's input (jetson_stats pull request 900).
        label = text(folder, "power1_label") or text(folder, "in1_label")
        return [PowerChannel(folder, chip, label or ("VIN" if chip == "ina238" else chip))]
    kind, pattern = (HwmonChannel, "in{}_label") if chip == "ina3221" else (Channel, "rail_name_{}")
    labels = [(index, text(folder, pattern.format(index))) for index in ("0", "1", "2", "3")]
    return [kind(folder, index, label) for index, label in labels if label and label != "NC"]
