"""What decides between measurements that tie on all that is compared: what a user can look up, not a hash."""

from __future__ import annotations

import math

from edgeprune.values.measurement import Measurement


def preference(measurement: Measurement) -> tuple[object, ...]:
    """Return a key whose smallest is preferred.

    Args:
        measurement: Any.

    Returns:
        Size of the file, parameters, label, plan, runtime and threads. Content ids come last: they tell apart what has
        all of these in common, so that the same measurements always give the same choice.
    """
    plan = measurement.plan
    named = measurement.label, plan.name, plan.runtime, plan.threads
    return measurement.artifact.size_bytes, _params(measurement), named, measurement.id, measurement.device_id


def decision(winner: Measurement, second: Measurement) -> str:
    """Say what decided between two that tie.

    Args:
        winner: The preferred one.
        second: The other.

    Returns:
        Such as ", so the smaller file decided, 4096 against 4100 bytes"; where `second` is the preferred one of the
        two, it was out of the question before.
    """
    if preference(second) < preference(winner):
        return ", but another one is clearly better than it"
    sizes = winner.artifact.size_bytes, second.artifact.size_bytes
    params = _params(winner), _params(second)
    if sizes[0] < sizes[1]:
        return f", so the smaller file decided, {sizes[0]} against {sizes[1]} bytes"
    if params[0] < params[1]:
        other = "unknown" if math.isinf(params[1]) else params[1]
        return f", so the fewer parameters decided, {params[0]} against {other}"
    same = preference(winner)[2] == preference(second)[2]
    return f", so the order of their {'ids' if same else 'names'} decided"


def _params(measurement: Measurement) -> float:
    found = measurement.variant.params if measurement.variant else None
    return math.inf if found is None else found
