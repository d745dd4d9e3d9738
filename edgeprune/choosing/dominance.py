"""Which measurements no other one beats, given their uncertainty.

`a` dominates `b` if it is no worse on every axis and clearly better on one. "No worse" includes a tie, and ties do not
chain: A may tie with B and B with C while C is clearly slower than A. Dominance then does not chain either, and with
several uncertain axes it can even run in a circle. What takes a measurement off the front is therefore *covering*:

    a covers b   if a dominates b, and whatever dominates a dominates b too

Covering is a strict partial order on any set of measurements, with dominance and covering being the same wherever
dominance does chain. So the front is never empty, nothing on it is covered, whatever is off it is covered by something
on it, and the clearly fastest is never lost to one that is itself beaten.

Source:
    Miller 1980, "A New Solution Set for Tournaments and Majority Voting", AJPS 24(1), 68-96 (the covering relation
    and its uncovered set), in the one-sided form for relations that leave pairs open.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeprune.choosing.axes import Axis
from edgeprune.values.measurement import Measurement


def dominates(a: Measurement, b: Measurement, axes: Sequence[Axis]) -> bool:
    """Whether `a` is no worse than `b` on every axis and clearly better on one.

    Args:
        a: A measurement; an inconclusive one dominates nothing.
        b: Another one.
        axes: What they are compared by.

    Returns:
        True if it does.
    """
    if a.verdict == "inconclusive":
        return False
    return all(axis.no_worse(a, b) for axis in axes) and any(axis.better(a, b) for axis in axes)


def uncovered(measurements: Sequence[Measurement], axes: Sequence[Axis]) -> tuple[list[Measurement], list[Measurement]]:
    """Split measurements into those that no other one covers, and the rest.

    Args:
        measurements: Any number.
        axes: What they are compared by.

    Returns:
        The front and the others, both in the order given.
    """
    above = [{j for j, a in enumerate(measurements) if dominates(a, b, axes)} for b in measurements]
    covered = [any(above[j] <= beaten_by for j in beaten_by) for beaten_by in above]
    front = [m for m, lost in zip(measurements, covered, strict=True) if not lost]
    return front, [m for m, lost in zip(measurements, covered, strict=True) if lost]
