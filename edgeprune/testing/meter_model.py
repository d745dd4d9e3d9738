"""A meter as its data sheet has it: PowerCurve -> the PowerTrace that it would give, errors included."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from edgeprune.testing.power_curve import Floats, PowerCurve
from edgeprune.values.power import LoadWindow, MeterFacts, PowerTrace

_JITTER_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class MeterModel:
    """How a meter comes to its readings.

    Attributes:
        facts: What it states; the model keeps to it.
        noise_w: Standard deviation of a reading beyond quantization.
        clock_bound_s: Bound of the error of its times against the board's clock.
        typical: A curve of the boards that it is used for.
        calibrated: Whether scale and zero are exact; otherwise they are drawn from what `facts` states.
    """

    facts: MeterFacts
    noise_w: float
    clock_bound_s: float
    typical: PowerCurve
    calibrated: bool = False

    def read(self, curve: PowerCurve, source: np.random.Generator) -> PowerTrace:
        """Return what the meter gives of a curve, from time 0 until as long after the load as there is before it.

        Args:
            curve: The truth.
            source: Of all that is random.

        Returns:
            The trace; the board's clock starts at 0.
        """
        gain, offset = self.calibration(source)
        return self.read_with(curve, source, gain, offset)

    def calibration(self, source: np.random.Generator) -> tuple[float, float]:
        """Draw the scale and the zero (W) of one instrument.

        Args:
            source: Of what is random.

        Returns:
            Factor and offset.
        """
        if self.calibrated:
            return 1.0, 0.0
        return 1 + self.facts.gain_ratio * source.standard_normal(), self.facts.offset_w * source.standard_normal()

    def read_with(self, curve: PowerCurve, source: np.random.Generator, gain: float, offset_w: float) -> PowerTrace:
        """Do as `read` does, by one given instrument.

        Args:
            curve: The truth.
            source: Of all that is random.
            gain: Scale of the instrument,
            offset_w: and its zero.

        Returns:
            The trace.
        """
        facts = self.facts
        last_s = curve.end_s + curve.begin_s
        steps = facts.period_s * (1 + _JITTER_RATIO * source.uniform(-1, 1, int(last_s / facts.period_s) + 1))
        at_s = np.cumsum(steps) + source.uniform(0, facts.period_s) - facts.period_s
        at_s = at_s[(at_s > facts.width_s) & (at_s < last_s)]
        made_s = self._made(at_s, source)
        if facts.counter:
            values = gain * curve.taken_j(made_s) + offset_w * made_s
        else:
            values = gain * self._means(curve, made_s, source) + offset_w
        if facts.resolution_w:
            values = np.floor(values / facts.resolution_w + 0.5) * facts.resolution_w
        ends = source.uniform(-self.clock_bound_s, self.clock_bound_s, 2)
        told_s = at_s + ends[0] + (ends[1] - ends[0]) * at_s / last_s
        return PowerTrace(
            facts, array("q", np.rint(told_s * 1e9).astype(int).tolist()),
            array("q", np.rint(values * 1e9).astype(int).tolist()), clock_bound_s=self.clock_bound_s,
        )  # fmt: skip

    def _made(self, at_s: Floats, source: np.random.Generator) -> Floats:
        # When the instrument finished what it hands out at these moments: it does so every `delay_s`.
        hold = self.facts.delay_s
        if not hold:
            return at_s
        phase = source.uniform(0, hold)
        made: Floats = np.floor((at_s - phase) / hold) * hold + phase
        return made

    def _means(self, curve: PowerCurve, made_s: Floats, source: np.random.Generator) -> Floats:
        over = max(self.facts.average_s, 1e-6)
        fresh, back = np.unique(made_s, return_inverse=True)
        means = (curve.taken_j(fresh) - curve.taken_j(fresh - over)) / over
        noisy: Floats = (means + self.noise_w * source.standard_normal(len(fresh)))[back]
        return noisy


def load_of(curve: PowerCurve) -> LoadWindow:
    """Return what an agent says of the curve's load.

    Args:
        curve: The truth.

    Returns:
        The window, with pads as long as the time before the load.
    """
    begin, end = round(curve.begin_s * 1e9), round(curve.end_s * 1e9)
    return LoadWindow(begin, end, curve.runs, curve.begin_s, curve.begin_s)
