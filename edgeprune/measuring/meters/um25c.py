"""RDTech UM24C, UM25C and UM34C: USB meters behind a Bluetooth serial port. They answer F0 with 130 bytes.

Source:
    The protocol as read by rd-usb and by sigrok's rdtech-um driver; layout only. That it measures about twice a second,
    and the accuracy, are from memory.
"""

from __future__ import annotations

import struct

from edgeprune.errors import MeterFailed
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.polling import PollingMeter
from edgeprune.measuring.meters.port import Port
from edgeprune.values.power import MeterFacts

FRAME_BYTES = 130
ASK = b"\xf0"
MODELS = {0x0963: ("UM24C", 1e-2, 1e-3), 0x09C9: ("UM25C", 1e-3, 1e-4), 0x0D4C: ("UM34C", 1e-2, 1e-3)}
"""Model id to name, and to the steps of voltage (V) and current (A)."""
_HEAD = struct.Struct(">HHH")
_END = b"\xff\xf1"
_ANSWER_S = 1.0
_GREETINGS = 3


def decode(frame: bytes) -> tuple[str, float, float] | None:
    """Read one answer.

    Args:
        frame: 130 bytes.

    Returns:
        Model, V and A; None if these are not the bytes of an answer.
    """
    if len(frame) != FRAME_BYTES:
        return None
    model, volts, amps = _HEAD.unpack_from(frame)
    known = MODELS.get(model)
    # The UM34C ends with a checksum of which bytes is not known to us.
    if known is None or (frame[-2:] != _END and known[0] != "UM34C"):
        return None
    name, volt_step, amp_step = known
    return name, volts * volt_step, amps * amp_step


class Um25c(PollingMeter):
    """A UM25C or one of its kin.

    Args:
        address: um25c:///dev/rfcomm0
    """

    def __init__(self, address: MeterAddress) -> None:
        super().__init__(address)
        address.known("baud")
        self._model = "UM25C"

    @property
    def facts(self) -> MeterFacts:
        """Power is voltage times current, whose steps are 0.5 mW (UM25C) or 5 mW at 5 V."""
        step_w = 5e-4 if self._model == "UM25C" else 5e-3
        return self.address.adapt(
            MeterFacts(self._model, "board", "external", 0.5, 0.1, 0.5, step_w, 0.006, 0.005)
        )  # fmt: skip

    def greet(self, port: Port) -> None:
        """Ask once.

        Raises:
            MeterFailed: No answer, or of something else.
        """
        if all(self._ask(port) is None for _ in range(_GREETINGS)):
            raise MeterFailed(
                f"{port.place} is no UM25C: its answer is none.", "See which meter is paired to that port."
            )

    def power_w(self, port: Port) -> float | None:
        """Ask for one reading.

        Returns:
            W; None for a damaged answer.
        """
        answer = self._ask(port)
        return None if answer is None else answer[1] * answer[2]

    def _ask(self, port: Port) -> tuple[str, float, float] | None:
        # Bytes that were lost or put in shift all others: after silence the next answer begins at its begin.
        port.write(ASK)
        data = port.read_exactly(FRAME_BYTES, _ANSWER_S)
        answer = decode(data)
        if answer is None:
            port.drain(0.1)
            return None
        self._model = answer[0]
        return answer
