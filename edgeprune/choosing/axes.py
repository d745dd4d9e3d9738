"""Measurement + quantity -> the interval in which its value may lie, so that a tie is a tie.

On every axis smaller is better; accuracy is turned round. Two values tie when their intervals overlap, and one is
clearly better when they do not:

    latency       the 95 % interval of the median
    energy        plus and minus its expanded uncertainty; without what one and the same meter puts into all of them
    size, memory  within 1 % of each other: below what a page or a file's header makes of them
    accuracy      the value itself, to 1e-12
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeprune.values.measurement import Measurement

TIE_RATIO = 0.01
ACCURACY_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a value may lie.

    Attributes:
        low: Smallest,
        point: most likely,
        high: largest.
    """

    low: float
    point: float
    high: float


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction in which measurements are compared.

    Attributes:
        quantity: "latency", "energy", "size", "memory" or "accuracy".
        same_meter: Whether one meter read all energies, so that its scale and zero do not decide.
    """

    quantity: str
    same_meter: bool = False

    def interval(self, measurement: Measurement) -> Interval | None:
        """Return where a measurement lies, smaller is better; None if the quantity was not measured."""
        value = measurement.quantity(self.quantity)
        if value is None:
            return None
        if self.quantity == "latency":
            low, high = measurement.latency.p50_ci_s
            return Interval(min(low, value), value, max(high, value))
        if self.quantity == "energy":
            margin = _energy_margin(measurement, self.same_meter)
            return Interval(value - margin, value, value + margin)
        if self.quantity == "accuracy":
            return Interval(-value, -value, -value + ACCURACY_TOLERANCE)
        return Interval(value, value, value * (1 + TIE_RATIO))

    def no_worse(self, a: Measurement, b: Measurement) -> bool:
        """Return whether `a` is not clearly worse than `b`; the unmeasured cannot claim so against the measured."""
        mine, other = self.interval(a), self.interval(b)
        return other is None or (mine is not None and mine.low <= other.high)

    def better(self, a: Measurement, b: Measurement) -> bool:
        """Return whether `a` is clearly better than `b`; False where one of them was not measured."""
        mine, other = self.interval(a), self.interval(b)
        return mine is not None and other is not None and mine.high < other.low


def _energy_margin(measurement: Measurement, same_meter: bool) -> float:
    energy = measurement.energy
    if energy is None:
        return 0.0
    alone = energy.repeatability_j
    return alone if same_meter and alone is not None else energy.uncertainty_j


ACCURACY = Axis("accuracy")


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a comparison.

    Attributes:
        ranked: Objectives that at least one measurement has, the most important first.
        accuracy: Accuracy as a further axis, or none if nobody has it.
        skipped: Objective to the reason why nothing is ranked by it.
        partial: Objective to words about those that lack it.
    """

    ranked: tuple[Axis, ...]
    accuracy: tuple[Axis, ...]
    skipped: Mapping[str, str]
    partial: Mapping[str, str]

    @property
    def all(self) -> tuple[Axis, ...]:
        """Every axis, accuracy last."""
        return self.ranked + self.accuracy


def axes_of(measurements: Sequence[Measurement], minimize: Sequence[str]) -> Axes:
    """Find out by what some measurements can be compared.

    Args:
        measurements: At least one.
        minimize: Quantities, the most important first.

    Returns:
        The axes.
    """
    skipped = {quantity: reason for quantity in minimize if (reason := _why_not(measurements, quantity))}
    partial = {quantity: words for quantity in minimize if (words := _who_lacks(measurements, quantity))}
    same = len({measurement.energy.source for measurement in measurements if measurement.energy}) == 1
    ranked = tuple(Axis(q, same_meter=q == "energy" and same) for q in minimize if q not in skipped)
    known = any(measurement.accuracy is not None for measurement in measurements)
    ranked_partial = {quantity: words for quantity, words in partial.items() if quantity not in skipped}
    return Axes(ranked, (ACCURACY,) if known else (), skipped, ranked_partial)


def _why_not(measurements: Sequence[Measurement], quantity: str) -> str:
    if all(measurement.quantity(quantity) is None for measurement in measurements):
        reasons = sorted({m.missing[quantity] for m in measurements if m.missing.get(quantity)})
        return "not measured by any" + (f": {reasons[0].rstrip('.')}" if reasons else "")
    if quantity != "energy":
        return ""
    energies = [measurement.energy for measurement in measurements if measurement.energy]
    boundaries = sorted({energy.boundary for energy in energies})
    fidelities = sorted({energy.fidelity for energy in energies})
    if len(boundaries) > 1:
        return f"measured at different boundaries: {', '.join(boundaries)}"
    return f"measured by meters of different tiers: {', '.join(fidelities)}" if len(fidelities) > 1 else ""


def _who_lacks(measurements: Sequence[Measurement], quantity: str) -> str:
    lacking = sum(measurement.quantity(quantity) is None for measurement in measurements)
    if not lacking:
        return ""
    return f"{quantity} was not measured for {lacking} of {len(measurements)}, which lose ties on it"
