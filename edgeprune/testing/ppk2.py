"""A Nordic PPK2 on its serial port: its calibration text, its stream of 100 000 samples a second, its bad habits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from edgeprune.measuring.meters.ppk2_samples import RATE_HZ, Calibration, read_calibration
from edgeprune.testing.instruments import PowerNow
from edgeprune.testing.lines import Instrument

CALIBRATION_TEXT = (
    "Calibrated: 0\nR0: 1003.3506\nR1: 101.5865\nR2: 10.3027\nR3: 0.9636\nR4: 0.0564\nGS0: 0.0000\nGS1: 112.7890\n"
    "GS2: 18.0115\nGS3: 2.4217\nGS4: 0.0729\nGI0: 1.0000\nGI1: 0.9695\nGI2: 0.9609\nGI3: 0.9519\nGI4: 0.9582\n"
    "O0: 112.9420\nO1: 75.4627\nO2: 64.6020\nO3: 50.4983\nO4: 87.2177\nVDD: 3741\nHW: 9173\nmode: 2\n"
    "S0: 0.000000048\nS1: 0.000000596\nS2: 0.000005281\nS3: 0.000062577\nS4: 0.002940743\nI0: -0.000000104\n"
    "I1: -0.000001443\nI2: 0.000036439\nI3: -0.000374119\nI4: -0.009388455\n"
    "UG0: 1.00\nUG1: 1.00\nUG2: 1.00\nUG3: 1.00\nUG4: 1.00\nIA: 56\nEND\n"
)
"""What a real one said."""
_LENGTHS = {0x19: 1, 0x11: 2, 0x0C: 2, 0x06: 1, 0x07: 1, 0x0D: 3, 0x25: 6, 0x15: 1, 0x16: 1, 0x20: 1}
_RANGE_TOPS_A = (50e-6, 500e-6, 5e-3, 60e-3)


class FakePpk2(Instrument):
    """A PPK2.

    Args:
        power_w: Of this moment.
        running: Whether a session that was killed left it streaming.
        lose: Samples that are lost after half a second.
        calibration_text: What it says of itself.
        levels: Of its inputs D0 to D7 at this moment, one bit each.
    """

    def __init__(
        self, power_w: PowerNow, running: bool = False, lose: int = 0, calibration_text: str = CALIBRATION_TEXT,
        levels: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        self._levels = levels
        self._power_w, self._text, self._lose = power_w, calibration_text, lose
        self._calibration = read_calibration(calibration_text)
        self._heard = b""
        self._noise = np.random.default_rng(0)
        self._begin_s, self._count = (time.monotonic() if running else math.inf), 0
        self.millivolt, self.mode = 5000, 0

    def hear(self, data: bytes) -> bytes:
        """Return what it answers to commands, each of its own length."""
        self._heard += data
        said = b""
        while self._heard and len(self._heard) >= (length := _LENGTHS.get(self._heard[0], 1)):
            command, self._heard = self._heard[:length], self._heard[length:]
            said += self._do(command)
        return said

    def _do(self, command: bytes) -> bytes:
        match command[0]:
            case 0x19:
                return self._text.encode()
            case 0x0D:
                self.millivolt = (command[1] - 3) * 256 + command[2] + 800 - 32
            case 0x11:
                self.mode = command[1]
            case 0x06:
                self._begin_s, self._count = time.monotonic(), 0
            case 0x07:
                self._begin_s = math.inf
        return b""

    def due(self) -> bytes:
        """Return the samples that were taken since it was asked last."""
        elapsed = time.monotonic() - self._begin_s
        due = int(elapsed * RATE_HZ) - self._count if elapsed > 0 else 0
        if due <= 0:
            return b""
        first, self._count = self._count, self._count + due
        numbers = np.arange(first, self._count)
        if self._lose and self._count >= RATE_HZ // 2:
            lost = min(self._lose, len(numbers))  # a quick reader asks for fewer at a time than are to be lost
            numbers, self._lose = numbers[lost:], self._lose - lost
        amps = self._power_w() / (self.millivolt / 1000)
        return self._words(np.full(len(numbers), amps), numbers).tobytes()

    def _words(self, amps: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        which = int(np.searchsorted(_RANGE_TOPS_A, amps[0])) if len(amps) else 0
        adc = to_adc(amps, which, self._calibration) + self._noise.uniform(-1, 1, len(amps))
        word = np.clip(np.rint(adc), 0, 16383).astype(np.uint32)
        number = (numbers % 64).astype(np.uint32) << 18
        return (word | np.uint32(which << 14) | number | np.uint32(self._levels() << 24)).astype("<u4")


def to_adc(amps: np.ndarray, which: int, calibration: Calibration) -> np.ndarray:
    """Return what the converter shows for a current: the formula of `ppk2_samples.amps` the other way round.

    Args:
        amps: Shape (n,).
        which: Range.
        calibration: Of the instrument.

    Returns:
        Shape (n,), not rounded.
    """
    gs, gi, ug = calibration.gs[which], calibration.gi[which], calibration.ug[which]
    rest = amps / ug - (calibration.s[which] * calibration.vdd_mv / 1000 + calibration.i[which])
    x = (np.sqrt(gi**2 + 4 * gs * rest) - gi) / (2 * gs) if gs else rest / gi
    counts: np.ndarray = (x * calibration.r[which] * 163840 / 1.8 + calibration.o[which]) / 4
    return counts
