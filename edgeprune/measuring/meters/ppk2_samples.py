"""Bytes of a Nordic PPK2 -> amperes: its calibration text, its 32-bit samples, its filter of switching spikes.

Source:
    The formulas of Nordic's nRF Connect Power Profiler as a description; no code of it. The calibration text and two
    samples with their currents are the golden vectors of tests/measuring/test_ppk2.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Words = NDArray[np.uint32]

RATE_HZ = 100_000
RANGES = 5
COEFFICIENTS = ("r", "gs", "gi", "o", "s", "i", "ug")
_ADC_STEP = 1.8 / 163840
_SPIKE_SAMPLES = 3
_HISTORY = 100
"""Samples that the filter's average still remembers."""
_ALPHA, _ALPHA_LAST = 0.18, 0.06
_SATURATED = 16383
_NO = (0.0,) * RANGES
_ONE = (1.0,) * RANGES


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the instrument says of its five ranges.

    Attributes:
        r: Shunts, Ω.
        gs, gi, o, s, i, ug: Coefficients of the formula in `amps`.
        vdd_mv: Supply of the board under test, which the offset depends on.
    """

    r: tuple[float, ...] = (1031.64, 101.65, 10.15, 0.94, 0.043)
    gs: tuple[float, ...] = _ONE
    gi: tuple[float, ...] = _ONE
    o: tuple[float, ...] = _NO
    s: tuple[float, ...] = _NO
    i: tuple[float, ...] = _NO
    ug: tuple[float, ...] = _ONE
    vdd_mv: float = 5000.0


def read_calibration(text: str) -> Calibration:
    """Read the instrument's own text; what is missing, zero where that cannot be, or no number keeps its default.

    Args:
        text: Lines such as "R0: 1003.3506", up to "END".

    Returns:
        The calibration.
    """
    values = _values(text)
    found = Calibration(vdd_mv=values.get("VDD", Calibration().vdd_mv))
    changes: dict[str, Any] = {}
    for name in COEFFICIENTS:
        defaults = getattr(found, name)
        given = [values.get(f"{name.upper()}{n}", defaults[n]) for n in range(RANGES)]
        zero_is_none = name in ("r", "gi", "ug")
        changes[name] = tuple(d if zero_is_none and not g else g for g, d in zip(given, defaults, strict=True))
    return replace(found, **changes)


def _values(text: str) -> Mapping[str, float]:
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            values[name.strip()] = number
    return values


def voltage_bytes(millivolt: int) -> bytes:
    """Return the two bytes that stand for a supply voltage.

    Args:
        millivolt: 800 to 5000; others become the nearest.

    Returns:
        High and low byte.
    """
    step = min(max(millivolt, 800), 5000) - 800 + 32
    return bytes([3 + step // 256, step % 256])


def amps(words: Words, calibration: Calibration) -> Floats:
    """Turn samples into currents.

    Args:
        words: As they came, shape (n,).
        calibration: Of the instrument.

    Returns:
        A, shape (n,).
    """
    which = ranges(words)
    r, gs, gi, o, s, i, ug = (np.array(getattr(calibration, name))[which] for name in COEFFICIENTS)
    x = ((words & 0x3FFF).astype(np.float64) * 4 - o) * (_ADC_STEP / r)
    current: Floats = ug * (x * (gs * x + gi) + (s * calibration.vdd_mv / 1000 + i))
    return current


def ranges(words: Words) -> NDArray[np.int64]:
    """Return the range of each sample, 0 to 4."""
    which: NDArray[np.int64] = np.minimum((words >> 14) & 7, RANGES - 1).astype(np.int64)
    return which


def counters(words: Words) -> NDArray[np.int64]:
    """Return the running number of each sample, modulo 64."""
    number: NDArray[np.int64] = ((words >> 18) & 63).astype(np.int64)
    return number


def inputs(words: Words) -> NDArray[np.int64]:
    """Return the levels of the inputs D0 to D7 at each sample, one bit each."""
    levels: NDArray[np.int64] = (words >> 24).astype(np.int64)
    return levels


def saturated(words: Words) -> bool:
    """Return whether a sample is at the end of the highest range."""
    return bool(np.any(((words & 0x3FFF) == _SATURATED) & (ranges(words) == RANGES - 1)))


class SpikeFilter:
    """Replaces the three samples after a change of range by the running average before it."""

    def __init__(self) -> None:
        self._past: Floats = np.empty(0)
        self._range, self._left = -1, 0

    def __call__(self, current: Floats, which: NDArray[np.int64]) -> Floats:
        """Filter the next samples.

        Args:
            current: A, shape (n,).
            which: Their ranges.

        Returns:
            The same samples, spikes taken out.
        """
        if not len(current):
            return current
        joined = np.concatenate([self._past, current])
        start = len(self._past)
        before = np.concatenate([[self._range if self._range >= 0 else which[0]], which[:-1]])
        changes = [int(change) for change in np.flatnonzero(which != before)]
        for offset in range(self._left):
            if offset < len(current):
                joined[start + offset] = self._average(joined[:start], int(which[0]))
        for change in changes:
            average = self._average(joined[: start + change], int(which[change]))
            joined[start + change : start + change + _SPIKE_SAMPLES] = average
        last = changes[-1] if changes else -self._left - _SPIKE_SAMPLES
        self._left = max(0, last + _SPIKE_SAMPLES - len(current)) if changes else max(0, self._left - len(current))
        self._range, self._past = int(which[-1]), joined[-_HISTORY:]
        filtered: Floats = joined[start:]
        return filtered

    @staticmethod
    def _average(past: Floats, which: int) -> float:
        # The exponential average of what came before, as far back as it counts.
        if not len(past):
            return 0.0
        alpha = _ALPHA_LAST if which == RANGES - 1 else _ALPHA
        weights = (1 - alpha) ** np.arange(min(len(past), _HISTORY))[::-1]
        return float(np.average(past[-_HISTORY:], weights=weights))
