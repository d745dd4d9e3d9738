"""Supplies and meters that speak SCPI over a serial port or TCP.

Source:
    SCPI-1999, vol. 2, sec. 4 (MEASure), 7.2.1.4 (9.9E37 is infinity, 9.91E37 not a number). Rigol DP800 programming
    guide: :MEASure:ALL? CHn gives volt, ampere and watt; OWON: MEASure:ALL? gives volt and ampere.
"""

from __future__ import annotations

import re

from edgeprune.errors import MeterFailed
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.polling import PollingMeter
from edgeprune.measuring.meters.port import Port
from edgeprune.values.power import MeterFacts

ANSWER_S = 2.0
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*[A-Za-z]{0,2}\s*")
_NOT_A_NUMBER = 9e37


def numbers(answer: str) -> list[float] | None:
    """Read the numbers of an answer, with or without units.

    Args:
        answer: Such as "5.0114,0.1000,0.501" or "+5.01140E+00V".

    Returns:
        The numbers; None if one of them is none, or an overload.
    """
    matches = [_NUMBER.fullmatch(part) for part in answer.split(",")]
    values = [float(match.group(1)) for match in matches if match]
    return values if len(values) == len(matches) and all(abs(value) < _NOT_A_NUMBER for value in values) else None


def questions(identity: str, channel: int) -> tuple[str, ...]:
    """Return what to ask an instrument for its power.

    Args:
        identity: Its answer to *IDN?.
        channel: Of a supply with several.

    Returns:
        One question whose answer ends with volt, ampere and watt or with volt and ampere; or two, for volt and ampere.
    """
    maker, model = [*(part.strip().upper() for part in identity.split(",")), "", ""][:2]
    if maker.startswith("RIGOL") and model.startswith("DP"):
        return (f":MEAS:ALL? CH{channel}",)
    if maker.startswith("OWON"):
        return ("MEAS:ALL?",)
    return "MEAS:VOLT?", "MEAS:CURR?"


class Scpi(PollingMeter):
    """Any supply or power meter with SCPI.

    Args:
        address: scpi:///dev/ttyUSB0?baud=9600 or scpi://host:5555, with channel=N, or watt=QUESTION for an instrument
            that measures power itself.
    """

    def __init__(self, address: MeterAddress) -> None:
        super().__init__(address)
        address.known("baud", "channel", "watt", "period_s", "average_s", "resolution_w")
        self._channel = int(address.number("channel", 1, 1, 99))
        self._name = "SCPI instrument"
        self._ask: tuple[str, ...] = ()

    @property
    def facts(self) -> MeterFacts:
        """Of a usual bench supply: 0.3 % and 3 mA at 5 V, ten readings a second."""
        number = self.address.number
        period_s = number("period_s", 0.1, 0.001, 10)
        return self.address.adapt(
            MeterFacts(
                self._name, "board", "external", period_s, number("average_s", 0.02), period_s,
                number("resolution_w", 0.005), 0.003, 0.015,
            )
        )  # fmt: skip

    def greet(self, port: Port) -> None:
        """Ask for its name, and whether it can measure.

        Raises:
            MeterFailed: It has no name, or cannot.
        """
        identity = self._answer(port, "*IDN?")
        parts = [part.strip() for part in identity.split(",")]
        if len(parts) < 2:
            raise MeterFailed(f"{port.place} is no SCPI instrument: its name is {identity[:60]!r}.", "Try korad://.")
        self._name = " ".join(parts[:2])
        watt = self.address.options.get("watt")
        self._ask = (watt,) if watt else questions(identity, self._channel)
        if self.power_w(port) is None:
            raise MeterFailed(
                f"{self._name} does not answer {self._ask[0]} with numbers.", "Give its question: ?watt=…"
            )

    def power_w(self, port: Port) -> float | None:
        """Ask for volt and ampere, or for watt.

        Returns:
            W; None for an overload or an answer that is no number.
        """
        found: list[float] = []
        for question in self._ask:
            part = numbers(self._answer(port, question))
            if part is None:
                return None
            found += part
        if len(found) == 1 and len(self._ask) == 1:
            return found[0]
        return found[0] * found[1] if len(found) >= 2 else None

    def _answer(self, port: Port, question: str) -> str:
        port.write(question.encode("ascii", "replace") + b"\n")
        return port.read_until(b"\n", ANSWER_S).decode("ascii", "replace").strip()
