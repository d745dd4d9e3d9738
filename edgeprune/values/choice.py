"""What the user wants, and which measurement answers it."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune import units
from edgeprune.errors import UsageError
from edgeprune.values.measurement import Measurement

OBJECTIVES = ("latency", "energy", "size", "memory")


@dataclass(frozen=True, slots=True)
class Objective:
    """A quantity to minimise.

    Attributes:
        quantity: One of `OBJECTIVES`.
    """

    quantity: str

    def __post_init__(self) -> None:
        if self.quantity not in OBJECTIVES:
            raise UsageError(f"Cannot minimise {self.quantity!r}.", f"Choose from {', '.join(OBJECTIVES)}.")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on a quantity.

    Attributes:
        quantity: A name of `edgeprune.units.QUANTITIES`.
        operator: "<=" or ">=".
        bound: In the quantity's base unit.
    """

    quantity: str
    operator: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read "p95_latency <= 20ms".

        Args:
            text: Quantity, operator, number with unit.

        Returns:
            The constraint.
        """
        return cls(*units.parse_comparison(text))

    def admits(self, value: float) -> bool:
        """Whether a value keeps the bound, to 1e-9, so that 0.5 points means 0.5 points.

        Args:
            value: In the base unit.

        Returns:
            True if it does.
        """
        slack = self.bound - value if self.operator == "<=" else value - self.bound
        return slack >= -1e-9

    def __str__(self) -> str:
        unit = units.quantity_unit(self.quantity)
        bound = (
            f"{100 * self.bound:g} pt" if self.quantity == "accuracy_drop" else units.format_quantity(self.bound, unit)
        )
        return f"{self.quantity} {self.operator} {bound}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision and its grounds.

    Attributes:
        winner: The measurement chosen.
        baseline: The dense network's measurement that drops are counted from; None if there was none.
        deciding: The constraint that kept a better one out; None if none did.
        runner_up: The next best that keeps the constraints; None if the winner was the only one.
        reason: Why, in words.
    """

    winner: Measurement
    baseline: Measurement | None
    deciding: Constraint | None
    runner_up: Measurement | None
    reason: str
