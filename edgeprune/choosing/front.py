"""[Measurement] + objectives + constraints -> ParetoFront, the entrance of this stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeprune import units
from edgeprune.choosing import choose
from edgeprune.choosing.axes import Axes, axes_of
from edgeprune.choosing.bounds import Bounds
from edgeprune.choosing.dominance import uncovered
from edgeprune.choosing.ties import preference
from edgeprune.errors import UsageError
from edgeprune.values.choice import Choice, Constraint, Objective
from edgeprune.values.measurement import Measurement


@dataclass(frozen=True, slots=True)
class ParetoFront:
    """Measurements that no other one beats, given their uncertainty; and the ones that are beaten.

    Both are sorted by the first objective. The constraints do not shape the front, only the choice.

    Attributes:
        front: Never empty.
        dominated: The rest.
        baseline: What accuracy drops are counted from; None if there is none.
        objectives: What is ranked by, the most important first; accuracy is a further axis.
        constraints: What the choice must keep.
        skipped: Objective to the reason why nothing is ranked by it.
        partial: Objective to words about the measurements that lack it.
    """

    front: tuple[Measurement, ...]
    dominated: tuple[Measurement, ...]
    baseline: Measurement | None
    objectives: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    skipped: Mapping[str, str]
    partial: Mapping[str, str]
    _axes: Axes = field(repr=False)

    def choose(self) -> Choice:
        """Choose the one to install; see `edgeprune.choosing.choose` for the order of the decision.

        Returns:
            Winner, runner-up, deciding constraint and the reason in words.
        """
        return choose.choose((*self.front, *self.dominated), self._axes, Bounds(self.constraints, self.baseline))


def pareto(
    measurements: Sequence[Measurement],
    *,
    minimize: Sequence[str] = ("latency", "energy", "size"),
    constraints: Sequence[str | Constraint] = (),
    baseline: Measurement | None = None,
) -> ParetoFront:
    """Compare measurements of one device.

    Args:
        measurements: At least one, in any order.
        minimize: Quantities out of latency, energy, size and memory, the most important first.
        constraints: Bounds such as "accuracy_drop <= 0.5pt".
        baseline: What accuracy drops are counted from; None takes the dense fp32 ONNX model, else a dense fp32 one,
            else a dense one, if there is any. Where no measurement belongs to a variant of ours, the first one is it.

    Returns:
        The front.

    Raises:
        UsageError: There are no measurements, they come from several devices, or an objective or constraint is unknown.
    """
    if not measurements:
        raise UsageError("There are no measurements to compare.", "Run `edgeprune search` to make some.")
    if len({measurement.device_id for measurement in measurements}) > 1:
        devices = ", ".join(sorted({measurement.device for measurement in measurements}))
        raise UsageError(
            f"Measurements of several devices cannot be ranked: {devices}.", "Compare one device at a time."
        )
    objectives = [Objective(quantity).quantity for quantity in dict.fromkeys(minimize)]
    if not objectives:
        raise UsageError("There is nothing to minimize.", "Name at least one of latency, energy, size and memory.")
    bounds = tuple(Constraint.parse(bound) if isinstance(bound, str) else _known(bound) for bound in constraints)
    axes = axes_of(measurements, objectives)
    ordered = sorted(measurements, key=lambda measurement: _place(measurement, axes))
    front, dominated = uncovered(ordered, axes.all)
    ranked = tuple(axis.quantity for axis in axes.ranked)
    base = baseline or _dense(ordered) or _first_file(measurements)
    return ParetoFront(tuple(front), tuple(dominated), base, ranked, bounds, axes.skipped, axes.partial, axes)


def _known(constraint: Constraint) -> Constraint:
    units.quantity_unit(constraint.quantity)
    return constraint


def _place(measurement: Measurement, axes: Axes) -> tuple[object, ...]:
    values = [measurement.quantity(axis.quantity) for axis in axes.ranked]
    return *((value is None, value or 0.0) for value in values), *preference(measurement)


def _dense(measurements: Sequence[Measurement]) -> Measurement | None:
    dense = [measurement for measurement in measurements if measurement.variant and measurement.variant.prune is None]
    return min(dense, key=_how_plain, default=None)


def _first_file(measurements: Sequence[Measurement]) -> Measurement | None:
    return None if any(measurement.variant for measurement in measurements) else measurements[0]


def _how_plain(dense: Measurement) -> tuple[object, ...]:
    # Among equals the fastest: no variant shall look good against a slow run of the baseline.
    artifact = dense.artifact
    plain = artifact.precision != "fp32", artifact.format != "onnx", dense.verdict == "inconclusive"
    return *plain, dense.latency.p50_s, preference(dense)
