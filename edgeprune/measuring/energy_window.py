"""PowerTrace + LoadWindow -> the energy of the load, with its uncertainty; pure, and nothing that is not credible.

Two estimators, neither of which needs the edges of the load to be known exactly:

interior-mean   The mean power of the readings that saw nothing but the load, times its duration. For meters that take
                spot readings.
padded-net      Everything taken from within the idle pad before to within the one after, less idle power times that
                time: what the load added. Gross adds idle power times the load's duration. For meters that sum up.

The one is the check of the other where the pads allow it.

Source:
    JCGM 100:2008 (GUM), 5.1.2 for the combination of uncertainties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeprune.errors import NotCredible
from edgeprune.measuring import power_gates as gates
from edgeprune.measuring.mean_uncertainty import Floats, Mean, combine_freedom, mean_of
from edgeprune.measuring.power_readings import Bools, Readings, readings_of
from edgeprune.values.power import LoadWindow, PowerTrace, WindowEnergy

_LEAST_IDLE_READINGS = 3
_EDGES = math.sqrt(2 / 12)
"""Two edges, each somewhere within one step."""


@dataclass(frozen=True, slots=True)
class Idle:
    """The idle power around a load.

    Attributes:
        mean: Of both pads.
        drift_w: From the one before to the one after.
    """

    mean: Mean
    drift_w: float


def window_energy(trace: PowerTrace, load: LoadWindow) -> WindowEnergy:
    """Work out the energy of one load.

    Args:
        trace: Of a meter, on the board's clock.
        load: When inferences ran.

    Returns:
        The energy.

    Raises:
        NotCredible: The readings carry none; its gate says why.
    """
    gates.check_trace(trace)
    readings = readings_of(trace, load)
    gates.check_window(readings)
    energy = _estimate(readings)
    gates.check_energy(trace.meter.source, energy)
    return energy


def idle_power(trace: PowerTrace, load: LoadWindow) -> tuple[float | None, str]:
    """Work out the power of the board around a load, the model loaded and nothing run.

    Args:
        trace: Of a meter, on the board's clock.
        load: Between two idle pads.

    Returns:
        W, or None and the reason.
    """
    try:
        gates.check_trace(trace)
    except NotCredible as error:
        return None, error.message
    idle, reason = _idle(readings_of(trace, load))
    return None if idle is None else idle.mean.value, reason


def _estimate(readings: Readings) -> WindowEnergy:
    meter, duration = readings.meter, readings.load.duration_s
    inside = _mean(readings, readings.interior)
    interior_j, interior = inside.value * duration, _interior_parts(readings, inside)
    idle, no_idle = _idle(readings)
    chosen_j, parts, name = interior_j, interior, "interior-mean"
    if idle is not None:
        padded_j, padded = _padded(readings, inside, idle)
        both = math.hypot(_total(interior), _total(padded))
        gates.check_steady(meter.source, padded_j, interior_j, both)
        if meter.contiguous:
            chosen_j, parts, name = padded_j, padded, "padded-net"
    net_j = None if idle is None else chosen_j - idle.mean.value * duration
    return WindowEnergy(
        gross_j=chosen_j,
        net_j=net_j,
        net_reason=no_idle,
        random_j=_total(parts),
        random_freedom=combine_freedom(parts),
        systematic_j=math.hypot(meter.gain_ratio * chosen_j, meter.offset_w * duration),
        net_random_j=0.0 if idle is None else math.hypot(_total(parts), _idle_sd(idle) * duration),
        runs=readings.load.runs,
        duration_s=duration,
        idle_w=None if idle is None else idle.mean.value,
        n_readings=int(readings.interior.sum()),
        estimator=name,
    )


def _interior_parts(readings: Readings, inside: Mean) -> list[tuple[float, float]]:
    # A shift of the clock trades a bit of the load's end for a bit of its begin.
    power = readings.power_w[readings.interior]
    third = max(1, len(power) // 3)
    trend_w = abs(float(power[-third:].mean() - power[:third].mean()))
    duration = readings.load.duration_s
    return [(inside.sd * duration, inside.freedom), (readings.align_s / math.sqrt(3) * trend_w, math.inf)]


def _padded(readings: Readings, inside: Mean, idle: Idle) -> tuple[float, list[tuple[float, float]]]:
    meter, duration, span = readings.meter, readings.load.duration_s, readings.touching
    summed_s = float(readings.steps_s[span].sum())
    taken_j = float((readings.power_w[span] * readings.steps_s[span]).sum())
    gross_j = taken_j - idle.mean.value * (summed_s - duration)
    step_w = abs(inside.value - idle.mean.value)
    unseen_s = max(0.0, meter.period_s - meter.width_s) + (0.0 if meter.counter else meter.delay_s)
    return gross_j, [
        (inside.sd * duration, inside.freedom),
        (_idle_sd(idle) * abs(summed_s - duration), idle.mean.freedom),
        (_EDGES * unseen_s * step_w, math.inf),
        (readings.align_s / math.sqrt(3) * abs(idle.drift_w), math.inf),
    ]


def _idle(readings: Readings) -> tuple[Idle | None, str]:
    # The idle power, or why it is not known.
    pads = [readings.before, readings.after]
    if min(int(pad.sum()) for pad in pads) < _LEAST_IDLE_READINGS:
        return None, "the board did not lie idle long enough before and after for this meter"
    before, after = (_mean(readings, pad) for pad in pads)
    value, drift = (before.value + after.value) / 2, after.value - before.value
    sd = math.hypot(before.sd, after.sd) / 2
    if abs(drift) > gates.IDLE_DRIFT_RATIO * abs(value) + 3 * 2 * sd:
        return None, f"idle power went from {before.value:.3g} W before to {after.value:.3g} W after"
    freedom = combine_freedom([(before.sd, before.freedom), (after.sd, after.freedom)])
    return Idle(Mean(value, sd, freedom), drift), ""


def _idle_sd(idle: Idle) -> float:
    # Between the pads idle power went from one level to the other, nobody knows when.
    return math.hypot(idle.mean.sd, idle.drift_w / (2 * math.sqrt(3)))


def _mean(readings: Readings, which: Bools) -> Mean:
    values: Floats = readings.power_w[which]
    meter, step_s = readings.meter, float(np.median(readings.steps_s[which]))
    if meter.counter:
        return _counter_mean(values, readings.steps_s[which], meter.resolution_w)
    return mean_of(values, step_s, meter.width_s, meter.resolution_w)


def _counter_mean(powers: Floats, steps_s: Floats, resolution_j: float) -> Mean:
    # What one reading of a counter has too much, the next has too little, so only the ends of a stretch count.
    duration = float(steps_s.sum())
    value = float((powers * steps_s).sum()) / duration
    stretches = min(10, len(powers))
    pieces = [float(np.average(p, weights=s)) for p, s in _split(powers, steps_s, stretches)]
    sd = float(np.std(pieces, ddof=1)) / math.sqrt(stretches)
    return Mean(value, math.hypot(sd, resolution_j / math.sqrt(6) / duration), stretches - 1)


def _split(powers: Floats, steps_s: Floats, count: int) -> list[tuple[Floats, Floats]]:
    return list(zip(np.array_split(powers, count), np.array_split(steps_s, count), strict=True))


def _total(parts: list[tuple[float, float]]) -> float:
    return math.sqrt(sum(sd**2 for sd, _ in parts))
