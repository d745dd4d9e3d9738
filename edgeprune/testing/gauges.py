"""Boards whose power comes neither from an INA nor from RAPL: phones and the Raspberry Pi 5."""

from __future__ import annotations

from pathlib import Path

from edgeprune.testing.sysfs import SysfsBoard


class Battery(SysfsBoard):
    """A phone's battery, with what vendors make of it.

    Args:
        root: Of the tree.
        unit: "uA" as the kernel has it, or "mA".
        sign: 1 where discharging counts positive, -1 as the kernel has it.
        status: "Discharging", or something else while a cable feeds the phone.
    """

    def __init__(self, root: Path, unit: str = "uA", sign: int = -1, status: str = "Discharging") -> None:
        super().__init__(root)
        self._folder, self._factor = "sys/class/power_supply/battery", sign * {"uA": 1e6, "mA": 1e3}[unit]
        self.put("sys/class/power_supply/usb/type", "USB")
        self.put(f"{self._folder}/type", "Battery")
        self.put(f"{self._folder}/status", status)
        self.show(0.0)

    def show(self, power_w: float) -> None:
        """Show a power at 4 V."""
        self.put(f"{self._folder}/voltage_now", 4_000_000)
        self.put(f"{self._folder}/current_now", round(power_w / 4 * self._factor))


PMIC_ANSWER = """\
 3V7_WL_SW_A current(0)=0.00000000A
   3V3_SYS_A current(1)=0.06245952A
   1V8_SYS_A current(2)=0.16102850A
  DDR_VDD2_A current(3)=0.00780744A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.17566740A
    0V8_SW_A current(6)=0.32791250A
  VDD_CORE_A current(7)=10.87674000A
   3V3_DAC_A current(17)=0.00036630A
   3V3_ADC_A current(18)=0.00042735A
   0V8_AON_A current(16)=0.00579975A
      HDMI_A current(22)=0.01367520A
 3V7_WL_SW_V volt(8)=3.79999600V
   3V3_SYS_V volt(9)=3.30632200V
   1V8_SYS_V volt(10)=1.79828900V
  DDR_VDD2_V volt(11)=1.10292900V
  DDR_VDDQ_V volt(12)=0.60476130V
   1V1_SYS_V volt(13)=1.10439400V
    0V8_SW_V volt(14)=0.80256330V
  VDD_CORE_V volt(15)=0.89745940V
   3V3_DAC_V volt(20)=3.30494200V
   3V3_ADC_V volt(21)=3.30219400V
   0V8_AON_V volt(19)=0.79736190V
      HDMI_V volt(23)=5.07056000V
     EXT5V_V volt(24)=5.06788000V
      BATT_V volt(25)=3.01110800V
"""
"""What a Raspberry Pi 5 said of itself: 10.80 W."""


class RaspberryPi5(SysfsBoard):
    """A Raspberry Pi 5, whose `vcgencmd` is a script that prints a file.

    Args:
        root: Of the tree.
        answer: Of `pmic_read_adc`.
    """

    def __init__(self, root: Path, answer: str = PMIC_ANSWER) -> None:
        super().__init__(root)
        self._said = root / "pmic.txt"
        self._said.write_text(answer, "ascii")
        program = root / "usr" / "bin" / "vcgencmd"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n[ \"$1\" = pmic_read_adc ] && exec cat '{self._said}'\nexit 1\n", "ascii")
        program.chmod(0o755)

    def show(self, power_w: float) -> None:
        """Show a power on two rails."""
        draft = self._said.with_suffix(".new")
        draft.write_text(
            f"  VDD_CORE_A current(7)={power_w:.8f}A\n   1V8_SYS_A current(2)=0.10000000A\n"
            "  VDD_CORE_V volt(15)=0.90000000V\n   1V8_SYS_V volt(10)="
            f"{power_w:.8f}V\n     EXT5V_V volt(24)=5.06788000V\n", "ascii",
        )  # fmt: skip
        draft.replace(self._said)
