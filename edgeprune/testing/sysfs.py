"""Trees of kernel files as boards have them, whose sensors show a power that is set: for readers that take a root.

    tree = JetsonOrin(tmp_path)
    tree.show(7.5)                       # all rails move
    tree.lose("in1_input")               # from now on reading it fails, as reading a disabled channel does

Files are written in place, so that readers that keep them open see what changes, as they do in sysfs.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from edgeprune.testing.background import Background

_WIDTH = 24
"""Numbers are padded to one length: a shorter one must not leave a digit of the longer one behind."""


class SysfsBoard(ABC):
    """A tree of files.

    Args:
        root: Where /sys and /usr are to lie.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def show(self, power_w: float) -> None:
        """Make the sensors show a power.

        Args:
            power_w: Of the board's total.
        """

    def put(self, path: str, content: object) -> Path:
        """Write a file; in place if it is there.

        Args:
            path: Relative to the root.
            content: Text or number.

        Returns:
            The file.
        """
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(fd, f"{content}".ljust(_WIDTH).encode() + b"\n", 0)
        finally:
            os.close(fd)
        return file

    def lose(self, name: str) -> None:
        """Make every file of a name fail when it is read, not when it is opened.

        Args:
            name: Of the files.
        """
        for path in sorted(self.root.rglob(name)):
            path.unlink()
            path.symlink_to("/proc/self/mem")  # opens, and gives EIO

    def play(self, power_w: Callable[[], float], period_s: float = 0.005) -> Player:
        """Return a context in which the sensors follow a power.

        Args:
            power_w: Gives the power of this moment.
            period_s: Between two updates.

        Returns:
            To be used in a `with` block.
        """
        return Player(lambda: self.show(power_w()), period_s)


class Player(Background):
    """Does something again and again while its block is entered.

    Args:
        action: What.
        period_s: Between two times.
    """

    def __init__(self, action: Callable[[], None], period_s: float) -> None:
        super().__init__()
        self._action, self._period_s = action, period_s

    def _work(self) -> None:
        while not self._over.wait(self._period_s):
            self._action()

    def _close(self) -> None:
        """Leave what was shown last."""

    def __enter__(self) -> Self:
        self._action()
        return super().__enter__()


class Ina3221Hwmon(SysfsBoard):
    """A Jetson with JetPack 5 or later: INA3221 by hwmon, in steps of 8 mV and 40 µV over the shunt.

    Args:
        root: Of the tree.
        rails: Chip address to its three labels; "NC" and "" as they come.
        shares: Label to its share of the shown power; labels that are left out have none.
        volts: Of all rails.
        shunt_uohm: Of all shunts.
    """

    def __init__(
        self, root: Path, rails: Mapping[str, tuple[str, str, str]], shares: Mapping[str, float], volts: float = 5.0,
        shunt_uohm: int = 5000,
    ) -> None:  # fmt: skip
        super().__init__(root)
        self._shares, self._volts, self._ohm = shares, volts, shunt_uohm * 1e-6
        self._places: dict[str, str] = {}
        for number, (address, labels) in enumerate(rails.items()):
            device = f"sys/bus/i2c/devices/{address}"
            folder = f"{device}/hwmon/hwmon{3 + number}"
            for path in (f"{device}/name", f"{folder}/name"):
                self.put(path, "ina3221")
            self._chip(folder, labels, shunt_uohm)
        self.show(0.0)

    def _chip(self, folder: str, labels: tuple[str, str, str], shunt_uohm: int) -> None:
        self.put(f"{folder}/update_interval", 7)
        self.put(f"{folder}/samples", 1)
        self.put(f"{folder}/in7_label", "sum of shunt voltages")
        self.put(f"{folder}/in7_input", 0)
        for channel, label in enumerate(labels, 1):
            self.put(f"{folder}/shunt{channel}_resistor", shunt_uohm)
            self.put(f"{folder}/in{channel}_input", 0)
            self.put(f"{folder}/in{channel + 3}_input", 0)
            self.put(f"{folder}/curr{channel}_input", 0)
            if label:
                self.put(f"{folder}/in{channel}_label", label)
            self._places[f"{folder}/{channel}"] = label

    def show(self, power_w: float) -> None:
        """Show a power."""
        for place, label in self._places.items():
            folder, _, channel = place.rpartition("/")
            millivolt = round(self._volts * 1000 / 8) * 8
            amps = self._shares.get(label, 0.0) * power_w / (millivolt / 1000)
            steps = round(amps * self._ohm / 40e-6)
            self.put(f"{folder}/in{channel}_input", millivolt)
            self.put(f"{folder}/in{int(channel) + 3}_input", steps * 40)
            self.put(f"{folder}/curr{channel}_input", round(steps * 40e-6 / self._ohm * 1000))


def jetson_orin(root: Path) -> Ina3221Hwmon:
    """Return a Jetson Orin Nano or NX, whose VDD_IN is the total.

    Args:
        root: Of the tree.

    Returns:
        The tree.
    """
    labels = ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
    return Ina3221Hwmon(root, {"1-0040": labels}, {"VDD_IN": 1.0, "VDD_CPU_GPU_CV": 0.5, "VDD_SOC": 0.2})


def jetson_agx_orin(root: Path) -> Ina3221Hwmon:
    """Return a Jetson AGX Orin, which has no input rail and two channels that are not connected.

    Args:
        root: Of the tree.

    Returns:
        The tree; three rails make the shown power, VDDQ_VDD2_1V8AO is a part of one of them.
    """
    chips = {"1-0040": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "1-0041": ("NC", "VDDQ_VDD2_1V8AO", "NC")}
    shares = {"VDD_GPU_SOC": 0.4, "VDD_CPU_CV": 0.3, "VIN_SYS_5V0": 0.3, "VDDQ_VDD2_1V8AO": 0.1, "NC": 0.7}
    return Ina3221Hwmon(root, chips, shares, shunt_uohm=2000)


class Ina3221Iio(SysfsBoard):
    """A Jetson with JetPack 4: NVIDIA's IIO driver, power in mW, limits with their unit.

    Args:
        root: Of the tree.
        labels: Of the three channels; the first one is the total.
        continuous: Whether the driver averages.
    """

    def __init__(
        self, root: Path, labels: tuple[str, str, str] = ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"),
        continuous: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(root)
        self._folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
        self.put(f"{self._folder}/running_mode", int(continuous))
        for channel, label in enumerate(labels):
            self.put(f"{self._folder}/rail_name_{channel}", label)
            self.put(f"{self._folder}/in_voltage{channel}_input", 5000)
            self.put(f"{self._folder}/warn_current_limit_{channel}", "32760 ma")
            self.put(f"{self._folder}/in_power{channel}_input", 0)
        self.show(0.0)

    def show(self, power_w: float) -> None:
        """Show a power on the first channel, parts of it on the others."""
        for channel, share in enumerate((1.0, 0.4, 0.3)):
            milliamp = round(share * power_w / 5.0 / 0.008) * 8
            self.put(f"{self._folder}/ui_input_{channel}", f"5000 {milliamp}")
            self.put(f"{self._folder}/in_power{channel}_input", 5 * milliamp)


class Ina2xx(SysfsBoard):
    """One INA219, INA226, INA238 or INA260 by hwmon.

    Args:
        root: Of the tree.
        chip: Its name.
        shunt_uohm: As the driver believes.
        overflow_w: From this power on `power1_input` wraps into the negative.
    """

    def __init__(self, root: Path, chip: str = "ina226", shunt_uohm: int = 10000, overflow_w: float = 1e9) -> None:
        super().__init__(root)
        self._folder, self._overflow_w = "sys/class/hwmon/hwmon2", overflow_w
        self.put(f"{self._folder}/name", chip)
        self.put(f"{self._folder}/in0_input", 0)
        if chip != "ina260":
            self.put(f"{self._folder}/shunt_resistor", shunt_uohm)
        self.show(0.0)

    def show(self, power_w: float) -> None:
        """Show a power at 5 V."""
        microwatt = round(power_w * 1e6)
        self.put(f"{self._folder}/in1_input", 5000)
        self.put(f"{self._folder}/curr1_input", round(power_w / 5 * 1000))
        self.put(f"{self._folder}/power1_input", microwatt if power_w < self._overflow_w else microwatt - 2**32)


class Rapl(SysfsBoard):
    """Packages with energy counters that wrap, a core that is a part of the first one, and its double by MMIO.

    Args:
        root: Of the tree.
        packages: How many.
        span_uj: Where the counters wrap: 2^32 steps of 61.035 µJ.
        begin_uj: What they begin with.
    """

    def __init__(self, root: Path, packages: int = 1, span_uj: int = 262143328850, begin_uj: int = 0) -> None:
        super().__init__(root)
        self._span, self._total = span_uj, float(begin_uj)
        self._packages = [f"sys/class/powercap/intel-rapl:{number}" for number in range(packages)]
        self._at_s = time.monotonic()
        zones = {zone: f"package-{number}" for number, zone in enumerate(self._packages)}
        parts = {"sys/class/powercap/intel-rapl:0:0": "core", "sys/class/powercap/intel-rapl-mmio:0": "package-0"}
        for zone, name in {**zones, **parts}.items():
            self.put(f"{zone}/name", name)
            self.put(f"{zone}/max_energy_range_uj", span_uj)
            self.put(f"{zone}/energy_uj", begin_uj)

    def show(self, power_w: float) -> None:
        """Count on as far as a power has since the last call."""
        now = time.monotonic()
        self.count(power_w * (now - self._at_s))
        self._at_s = now

    def count(self, energy_j: float) -> None:
        """Count on by an energy.

        Args:
            energy_j: Of all packages together.
        """
        self._total += energy_j * 1e6 / len(self._packages)
        for zone in self._packages:
            self.put(f"{zone}/energy_uj", int(self._total) % self._span)
