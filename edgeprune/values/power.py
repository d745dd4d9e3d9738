"""What a meter says of itself, what it read, and when the board was at work."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

BOUNDARIES = ("wall", "board", "module", "rails", "soc", "battery")
"""What is behind the point of measurement: the mains, the board's input, the input of the module on a carrier board,
some rails of it, the processor's package, or the battery. Energies of different boundaries are never compared."""
FIDELITIES = ("external", "onboard", "battery", "estimate")
"""An instrument between supply and board; a shunt on the board; a battery's gauge; a sum that leaves something out."""

SHORTEST_RATIO = 20
"""A load shorter than so many readings, or so many times the reach of one, carries no energy."""
_GLIMPSES, _INFERENCE_S = 400, 0.05


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """What a meter states of itself.

    A reading at the time t is the mean power over `average_s` that ended up to `delay_s` before t. The reading of a
    counter is the energy since some moment.

    Attributes:
        source: Instrument or sensor, and rail.
        boundary: One of `BOUNDARIES`.
        fidelity: One of `FIDELITIES`.
        period_s: Between two readings.
        average_s: How long a reading averages; 0 for a spot reading.
        delay_s: How old a reading may be when it is taken.
        resolution_w: Smallest step of a reading; of a counter in J.
        gain_ratio: Standard uncertainty of the scale.
        offset_w: Standard uncertainty of the zero.
        counter: Whether readings are energies.
    """

    source: str
    boundary: str
    fidelity: str
    period_s: float
    average_s: float = 0.0
    delay_s: float = 0.0
    resolution_w: float = 0.0
    gain_ratio: float = 0.0
    offset_w: float = 0.0
    counter: bool = False

    @property
    def width_s(self) -> float:
        """How far back a reading may reach."""
        return self.average_s + self.delay_s + (self.period_s if self.counter else 0.0)

    @property
    def contiguous(self) -> bool:
        """Whether the readings see all of the time, each at its own time: then they may be summed."""
        return self.counter or (self.average_s >= 0.9 * self.period_s and self.delay_s == 0)

    @property
    def shortest_window_s(self) -> float:
        """How long the load should last for an energy to be credible.

        Twenty times the slower of period and averaging; a meter of short glimpses needs many of them, since power goes
        up and down within an inference.

        Source:
            `benchmarks/energy_truth.py` shows what error remains.
        """
        glimpses = 0.0 if self.contiguous or self.average_s >= _INFERENCE_S else _GLIMPSES * self.period_s
        return max(1.0, SHORTEST_RATIO * max(self.period_s, self.width_s), glimpses)

    @property
    def idle_s(self) -> float:
        """How long the board must lie idle before and after the load."""
        return max(1.0, 4 * (self.width_s + 2 * self.period_s))


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """What a meter read during one run.

    Attributes:
        meter: Whose readings.
        times_ns: When each was taken, on the board's CLOCK_MONOTONIC.
        readings: nW, or nJ of a counter.
        dropped: Readings known to be lost.
        flags: Names of gates that the meter itself shut, such as "saturated" or "charging".
        clock_bound_s: How far `times_ns` may be from the board's clock.
    """

    meter: MeterFacts
    times_ns: array[int] = field(repr=False)
    readings: array[int] = field(repr=False)
    dropped: int = 0
    flags: tuple[str, ...] = ()
    clock_bound_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """When a board ran inferences, on its CLOCK_MONOTONIC, with the model loaded and idle before and after.

    Attributes:
        begin_ns: Start of the first inference.
        end_ns: End of the last one.
        runs: Inferences in between, timed or not.
        idle_before_s: How long it lay idle before,
        idle_after_s: and after.
    """

    begin_ns: int
    end_ns: int
    runs: int
    idle_before_s: float
    idle_after_s: float

    @property
    def duration_s(self) -> float:
        """From the first inference's start to the last one's end."""
        return (self.end_ns - self.begin_ns) * 1e-9


@dataclass(frozen=True, slots=True)
class WindowEnergy:
    """The energy of one load window.

    Attributes:
        gross_j: All of it.
        net_j: Without what idling would have taken; None if the idle pads do not tell.
        net_reason: Why not; "" if they do.
        random_j: Standard uncertainty of `gross_j` that another window would show anew,
        random_freedom: with its degrees of freedom;
        systematic_j: and of what stays: scale and zero of the meter.
        net_random_j: As `random_j`, of `net_j`.
        runs: Inferences.
        duration_s: Of the window.
        idle_w: Mean power of the pads; None if unknown.
        n_readings: Readings wholly within the load.
        estimator: "padded-net" or "interior-mean".
    """

    gross_j: float
    net_j: float | None
    net_reason: str
    random_j: float
    random_freedom: float
    systematic_j: float
    net_random_j: float
    runs: int
    duration_s: float
    idle_w: float | None
    n_readings: int
    estimator: str
