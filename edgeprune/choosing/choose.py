"""Measurements + axes + bounds -> the one to install, and why.

The order of the decision: the constraints; then the objectives one after the other, where a tie passes to the next;
then accuracy; then what a user can look up (see `ties`), so that the same measurements always give the same choice.

Ties do not chain, so "the tied" must be said exactly: on each objective they are all whose interval overlaps that of
the one with the best value. The first objective's best is sought among all that keep the constraints, later ones among
those still tied; and what another admitted measurement covers (see `dominance`) is never chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never

from edgeprune.choosing.axes import Axes, Axis
from edgeprune.choosing.bounds import Bounds, refuse_all
from edgeprune.choosing.dominance import uncovered
from edgeprune.choosing.reason import Grounds, reason
from edgeprune.choosing.ties import preference
from edgeprune.errors import Inconclusive
from edgeprune.values.choice import Choice
from edgeprune.values.measurement import Measurement


def choose(measurements: Sequence[Measurement], axes: Axes, bounds: Bounds) -> Choice:
    """Choose one.

    Args:
        measurements: At least one.
        axes: What they are compared by.
        bounds: What the winner must keep.

    Returns:
        The choice.

    Raises:
        ChoiceError: No measurement keeps the constraints.
        Inconclusive: Those that do carry no decision, or none of the objectives was measured.
    """
    if not axes.ranked:
        why = "; ".join(f"{quantity} {reason}" for quantity, reason in axes.skipped.items())
        raise Inconclusive(f"Nothing that was to be minimized can be ranked: {why}.", "Minimize latency or size.")
    admitted = [measurement for measurement in measurements if not bounds.broken(measurement)]
    if not admitted:
        refuse_all(measurements, bounds)
    conclusive = [measurement for measurement in admitted if measurement.verdict != "inconclusive"]
    if not conclusive:
        _refuse_inconclusive(admitted)
    winner = _first(conclusive, axes.all)
    others = [measurement for measurement in conclusive if measurement is not winner]
    runner_up = _first(others, axes.all) if others else None
    kept_out = _kept_out(measurements, conclusive, axes, bounds)
    deciding = bounds.broken(kept_out)[0] if kept_out else None
    grounds = Grounds(winner, runner_up, kept_out, axes, bounds)
    return Choice(winner, bounds.baseline, deciding, runner_up, reason(grounds))


def _first(eligible: Sequence[Measurement], axes: Sequence[Axis]) -> Measurement:
    tied, _ = uncovered(eligible, axes)
    pool = list(eligible)
    for axis in axes:
        known = [interval for measurement in pool if (interval := axis.interval(measurement))]
        if known:
            limit = min(known, key=lambda interval: interval.point).high
            tied = [m for m in tied if (interval := axis.interval(m)) and interval.low <= limit]
            pool = tied
    return min(tied, key=preference)


def _kept_out(
    measurements: Sequence[Measurement], admitted: Sequence[Measurement], axes: Axes, bounds: Bounds
) -> Measurement | None:
    # The one that would have won without the constraints.
    refused = [m for m in measurements if m.verdict != "inconclusive" and bounds.broken(m)]
    first = _first([*admitted, *refused], axes.all)
    return first if bounds.broken(first) else None


def _refuse_inconclusive(admitted: Sequence[Measurement]) -> Never:
    reasons = sorted({m.verdict_reason.rstrip(".") for m in admitted if m.verdict_reason})
    why = f" ({reasons[0]})" if reasons else ""
    raise Inconclusive(
        f"All {len(admitted)} measurements that keep the constraints are inconclusive{why}.",
        "Measure longer with --plan strict, on a quiet board.",
    )
