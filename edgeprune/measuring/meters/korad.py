"""Korad, Tenma, Velleman and other supplies of that kind: no line ends, answers of five characters.

Source:
    The protocol as published for the KA3005P: "VOUT1?" gives "05.00", "IOUT1?" gives "0.123"; some take no digit.
"""

from __future__ import annotations

import re
import time

from edgeprune.errors import MeterFailed
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.polling import PollingMeter
from edgeprune.measuring.meters.port import Port
from edgeprune.values.power import MeterFacts

_GAP_S = 0.05
"""It does not hear what comes sooner after the last command."""
_ANSWER_S = 0.5
_NUMBER = re.compile(rb"\d{1,2}\.\d{2,3}")
_DIALECTS = (("VOUT1?", "IOUT1?"), ("VOUT?", "IOUT?"))


def decode(answer: bytes) -> float | None:
    """Read one answer.

    Args:
        answer: Five bytes.

    Returns:
        V or A; None if it is no number.
    """
    return float(answer) if len(answer) == 5 and _NUMBER.fullmatch(answer) else None


class Korad(PollingMeter):
    """A Korad supply or one of its kin.

    Args:
        address: korad:///dev/ttyACM0
    """

    def __init__(self, address: MeterAddress) -> None:
        super().__init__(address)
        address.known("baud")
        self._name, self._ask = "Korad", _DIALECTS[0]

    @property
    def facts(self) -> MeterFacts:
        """10 mV and 1 mA, at 5 V; both are asked for one after the other."""
        return self.address.adapt(MeterFacts(self._name, "board", "external", 0.2, 0.02, 0.2, 0.005, 0.003, 0.025))

    def greet(self, port: Port) -> None:
        """Ask for its name, and find out how it wants to be asked.

        Raises:
            MeterFailed: It gives no numbers.
        """
        time.sleep(_GAP_S)
        port.write(b"*IDN?")
        self._name = self._all(port).decode("ascii", "replace").strip() or "Korad"
        for self._ask in _DIALECTS:
            if self.power_w(port) is not None:
                return
        raise MeterFailed(f"{port.place} is no Korad: it gives no voltage and current.", "Try scpi://.")

    def power_w(self, port: Port) -> float | None:
        """Ask for volt, then for ampere.

        Returns:
            W; None where one answer is no number.
        """
        volts, amps = (self._number(port, question) for question in self._ask)
        return None if volts is None or amps is None else volts * amps

    def _number(self, port: Port, question: str) -> float | None:
        time.sleep(_GAP_S)
        port.write(question.encode("ascii"))
        try:
            return decode(port.read_exactly(5, _ANSWER_S))
        except MeterFailed:
            port.drain(_GAP_S)
            return None

    def _all(self, port: Port) -> bytes:
        # Its name has no end but silence.
        answer = bytearray()
        while piece := port.read(_ANSWER_S if not answer else 2 * _GAP_S):
            answer += piece
        return bytes(answer)
