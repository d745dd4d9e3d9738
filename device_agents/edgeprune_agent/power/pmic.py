"""Raspberry Pi 5's PMIC by its firmware: voltages and currents of the rails behind it, not of the input.

Source:
    `vcgencmd pmic_read_adc`: lines such as "VDD_CORE_A current(7)=10.87674000A", to be paired by the rail's name.
"""

import errno
import os
import re
import subprocess
from typing import Any, Dict, List, Set

from edgeprune_agent.power.gauges import Unusable

PERIOD_S = 0.1
_PLACES = ("usr/bin/vcgencmd", "opt/vc/bin/vcgencmd", "system/bin/vcgencmd")
_LINE = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)
_PATIENCE_S = 5


class Pmic:
    """The sum over all rails that have a current."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.flags: Set[str] = set()
        # The readings are not calibrated, what the rails leave out is not known: 10 % is a guess.
        self.facts: Dict[str, Any] = {
            "source": "rpi_pmic, sum of rails", "boundary": "rails", "fidelity": "estimate", "period_s": PERIOD_S,
            "average_s": 0.001, "delay_s": 0.02, "resolution_w": 0.001, "gain_ratio": 0.1, "offset_w": 0.05,
        }  # fmt: skip

    def read(self) -> int:
        """Return nW.

        Raises:
            OSError: The firmware gave no current.
        """
        command = [self._program, "pmic_read_adc"]
        try:
            said = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=_PATIENCE_S)
        except subprocess.SubprocessError as error:
            raise OSError(errno.EIO, str(error)) from None
        power = total_w(said.decode("ascii", "replace"))
        if power is None:
            raise OSError(errno.ENODATA, "no current in its answer")
        return int(power * 1e9)


def total_w(said: str) -> Any:
    """Return the sum of voltage times current over the rails of an answer, W; None if no rail has both."""
    amps: Dict[str, float] = {}
    volts: Dict[str, float] = {}
    for rail, kind, value in _LINE.findall(said):
        (amps if kind == "A" else volts)[rail] = _value(value)
    both = [amps[rail] * volts[rail] for rail in amps if rail in volts]
    return sum(both) if both else None


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def find(filesystem: str, wanted: Dict[str, Any]) -> Pmic:
    """Return the PMIC.

    Raises:
        Unusable: The firmware has no currents to tell.
    """
    del wanted
    program = next((path for path in (os.path.join(filesystem, p) for p in _PLACES) if os.access(path, os.X_OK)), None)
    if program is None:
        raise Unusable("no vcgencmd")
    sensor = Pmic(program)
    try:
        sensor.read()
    except OSError as error:
        raise Unusable("vcgencmd pmic_read_adc tells no current ({})".format(error.strerror)) from None
    return sensor


def names(filesystem: str) -> List[str]:
    """Return the PMIC's name if it tells currents."""
    try:
        return [find(filesystem, {}).facts["source"]]
    except Unusable:
        return []
