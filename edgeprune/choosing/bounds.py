"""Constraints against measurements: which are kept, and by how much the others miss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Never

from edgeprune import units
from edgeprune.choosing.ties import preference
from edgeprune.errors import ChoiceError
from edgeprune.values.choice import Constraint
from edgeprune.values.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Bounds:
    """Constraints, and the measurement that drops are counted from.

    Attributes:
        constraints: All must hold.
        baseline: None makes "accuracy_drop" unknown.
    """

    constraints: tuple[Constraint, ...]
    baseline: Measurement | None

    def value(self, measurement: Measurement, quantity: str) -> float | None:
        """Return a quantity in its base unit, "accuracy_drop" included; None if it was not measured."""
        if quantity != "accuracy_drop":
            return measurement.quantity(quantity)
        before = self.baseline.accuracy if self.baseline else None
        after = measurement.accuracy
        return None if before is None or after is None else before - after

    def broken(self, measurement: Measurement) -> list[Constraint]:
        """Return the constraints that a measurement does not keep; one on what was not measured is not kept."""
        values = [(bound, self.value(measurement, bound.quantity)) for bound in self.constraints]
        return [bound for bound, value in values if value is None or not bound.admits(value)]

    def miss(self, measurement: Measurement, bound: Constraint) -> float:
        """Return by how much a value breaks a bound, in the base unit; infinite if it was not measured."""
        value = self.value(measurement, bound.quantity)
        return math.inf if value is None else abs(value - bound.bound)

    def miss_in_words(self, measurement: Measurement, bound: Constraint) -> str:
        """Return words such as "accuracy_drop is 1.20 pt, 0.70 pt too much"."""
        value = self.value(measurement, bound.quantity)
        if value is None:
            without = " (there is no dense baseline)" if bound.quantity == "accuracy_drop" and not self.baseline else ""
            return f"{bound.quantity} was not measured{without}"
        way = "too much" if bound.operator == "<=" else "too little"
        miss = written(self.miss(measurement, bound), bound.quantity, difference=True)
        return f"{bound.quantity} is {written(value, bound.quantity)}, {miss} {way}"


def written(value: float, quantity: str, *, difference: bool = False) -> str:
    """Write a quantity for a person; drops and differences of accuracy in points.

    Args:
        value: In the base unit.
        quantity: A name of `edgeprune.units.QUANTITIES`.
        difference: Whether it is a difference of two values.

    Returns:
        Such as "1.2 ms", "91.20 %" or "0.70 pt".
    """
    if quantity == "accuracy_drop" or (quantity == "accuracy" and difference):
        return f"{100 * value:.2f} pt"
    return units.format_quantity(value, units.quantity_unit(quantity))


def refuse_all(measurements: Sequence[Measurement], bounds: Bounds) -> Never:
    """Raise the error that no measurement is admitted.

    Args:
        measurements: At least one, none of which keeps all bounds.
        bounds: What they should keep.

    Raises:
        ChoiceError: Always; names the constraints and the nearest miss.
    """
    nearest = min(measurements, key=lambda measurement: (_shortfall(measurement, bounds), preference(measurement)))
    broken = bounds.broken(nearest)
    misses = " and ".join(bounds.miss_in_words(nearest, bound) for bound in broken)
    what = f"None of {len(measurements)} variants keeps {' and '.join(map(str, _culprits(measurements, bounds)))}."
    measured = [bound for bound in broken if bounds.value(nearest, bound.quantity) is not None]
    if len(measured) < len(broken):
        step = "Measure that quantity, or drop the constraint on it."
    else:
        step = f"Relax {' and '.join(str(bound) for bound in broken)}, or search further with `edgeprune search`."
    raise ChoiceError(f"{what} Nearest: {nearest.label}, whose {misses}.", step)


def _culprits(measurements: Sequence[Measurement], bounds: Bounds) -> list[Constraint]:
    # A bound that nobody keeps explains it alone; otherwise it is their combination.
    broken = [bounds.broken(measurement) for measurement in measurements]
    by_all = [bound for bound in bounds.constraints if all(bound in each for each in broken)]
    return by_all or list(bounds.constraints)


def _shortfall(measurement: Measurement, bounds: Bounds) -> float:
    return max(bounds.miss(measurement, bound) / (abs(bound.bound) or 1.0) for bound in bounds.broken(measurement))
