"""Gates that readings must pass before an energy is worked out of them, and after; each has a name and a next step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Never

import numpy as np

from edgeprune.errors import NotCredible
from edgeprune.measuring.power_readings import Readings
from edgeprune.values.power import SHORTEST_RATIO, PowerTrace, WindowEnergy

GATES = {
    "too_short": "Measure longer: --plan strict.",
    "low_coverage": "Measure again; see whether the meter keeps up and the board is not overloaded.",
    "gap": "Measure again; see whether the meter keeps up and the board is not overloaded.",
    "clock_bound": "Use a faster link to the board, or measure longer.",
    "dropped": "Connect the meter to a port of its own.",
    "saturated": "Use a meter with a larger range.",
    "stale": "See whether the meter is between supply and board, and switched on.",
    "sign": "See which unit the board's battery driver uses, and give it in the meter's address: ?current_unit=mA",
    "charging": "Take the board off its charger while it is measured.",
    "imprecise": "Measure longer: --plan strict.",
    "unsteady": "Measure longer, on a quiet board.",
    "negative_net": "See whether the meter is between supply and board.",
}
"""Gate to what helps."""
_SAID = {
    "saturated": "reached the end of its range",
    "charging": "saw the battery being charged",
    "sign": "reads a current that no board takes: its unit or sign is not what it seems",
}
"""Gate that a meter shuts itself to what it saw."""
_COVERAGE_RATIO, _DROPPED_RATIO = 0.95, 1e-3
_GAP_STEPS, _GAP_RATIO = 3.0, 0.005
_CLOCK_RATIO = 0.01
_PRECISION_RATIO, _WIDE_FACTOR = 0.01, 3.3
_UNSTEADY_RATIO = 0.02
IDLE_DRIFT_RATIO = 0.03


def shut(gate: str, message: str) -> Never:
    """Refuse readings.

    Args:
        gate: A key of `GATES`.
        message: What is wrong.

    Raises:
        NotCredible: Always.
    """
    raise NotCredible(gate, message, GATES[gate])


def check_trace(trace: PowerTrace) -> None:
    """Let a trace pass, whatever the load.

    Args:
        trace: As the meter made it.
    """
    name = trace.meter.source
    check_flags(name, trace.flags)
    if len(trace.readings) < 3:
        shut("low_coverage", f"{name} gave {len(trace.readings)} readings.")
    total = len(trace.readings) + trace.dropped
    if trace.dropped > _DROPPED_RATIO * total:
        shut("dropped", f"{name} lost {trace.dropped} of {total} readings.")


def check_flags(name: str, flags: Iterable[str]) -> None:
    """Let readings pass that the meter itself does not call wrong.

    Args:
        name: Of the meter.
        flags: Gates that it shut.
    """
    for flag in sorted(flags):
        if flag in _SAID:
            shut(flag, f"{name} {_SAID[flag]}.")


def check_window(readings: Readings) -> None:
    """Let readings pass whose times suit the load.

    Args:
        readings: Around the load.
    """
    meter, duration = readings.meter, readings.load.duration_s
    slowest = max(meter.period_s, meter.width_s)
    if duration < SHORTEST_RATIO * slowest:
        shut(
            "too_short", f"{meter.source} takes {slowest:.3g} s for a reading and needs a load of "
            f"{SHORTEST_RATIO * slowest:.3g} s; this one was {duration:.3g} s.",
        )  # fmt: skip
    if readings.align_s > _CLOCK_RATIO * duration:
        shut(
            "clock_bound", f"The clocks of meter and board may be {readings.align_s:.3g} s apart, more than 1 % of "
            f"the load's {duration:.3g} s.",
        )  # fmt: skip
    inside = readings.touching
    steps = readings.steps_s[inside]
    usual = float(np.median(steps)) if len(steps) else meter.period_s
    longest = _GAP_STEPS * max(usual, meter.period_s)
    # A counter counts while nobody reads it.
    if not meter.counter and steps.max(initial=0.0) > max(longest, _GAP_RATIO * duration):
        shut("gap", f"{meter.source} fell silent for {steps.max():.3g} s during the load.")
    covered = float((steps if meter.counter else np.minimum(steps, longest)).sum())
    if covered < _COVERAGE_RATIO * duration or readings.interior.sum() < 3:
        shut("low_coverage", f"{meter.source} saw {100 * min(covered / duration, 1):.0f} % of the load.")
    if np.ptp(readings.power_w) == 0:
        shut("stale", f"{meter.source} gave one and the same reading all the time.")


def check_energy(name: str, energy: WindowEnergy) -> None:
    """Let an energy pass.

    Args:
        name: Of the meter.
        energy: As estimated.
    """
    if energy.gross_j <= 0:
        shut("sign", f"{name} reads no power, or a negative one, under load.")
    spread = _WIDE_FACTOR * energy.random_j
    if spread > _PRECISION_RATIO * energy.gross_j:
        needed_s = energy.duration_s * (spread / energy.gross_j / _PRECISION_RATIO) ** 2
        shut(
            "imprecise", f"After {energy.duration_s:.3g} s the readings of {name} leave the energy open by "
            f"{100 * spread / energy.gross_j:.2g} %; for 1 % it takes about {needed_s:.3g} s.",
        )  # fmt: skip
    if energy.net_j is not None and energy.net_j < -_WIDE_FACTOR * energy.net_random_j:
        shut("negative_net", f"{name} reads less power under load than idle.")


def check_steady(name: str, padded_j: float, interior_j: float, sd_j: float) -> None:
    """Let two estimates pass that agree.

    Args:
        name: Of the meter.
        padded_j: By all that was taken beyond idling.
        interior_j: By the mean within the load.
        sd_j: Standard uncertainty of their difference.
    """
    apart = abs(padded_j - interior_j)
    if apart > _UNSTEADY_RATIO * abs(interior_j) + _WIDE_FACTOR * sd_j:
        shut("unsteady", f"Two ways to work out the energy differ by {100 * apart / abs(interior_j):.2g} %: {name} "
             "saw no steady load, or the board was not idle before and after.")  # fmt: skip
