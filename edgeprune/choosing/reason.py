"""A choice -> two to four plain sentences with figures."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.choosing.axes import Axes, Axis
from edgeprune.choosing.bounds import Bounds, written
from edgeprune.choosing.ties import decision
from edgeprune.values.measurement import Measurement

_NAMES = {"latency": "p50"}


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a choice rests on.

    Attributes:
        winner: The measurement chosen.
        runner_up: The next best that keeps the constraints; None if there is none.
        kept_out: The one that would have won without the constraints; None if the winner would.
        axes: What they were compared by.
        bounds: Constraints and baseline.
    """

    winner: Measurement
    runner_up: Measurement | None
    kept_out: Measurement | None
    axes: Axes
    bounds: Bounds


def reason(grounds: Grounds) -> str:
    """Say what won, over what, and what else was close.

    Args:
        grounds: The decision.

    Returns:
        Two to four sentences.
    """
    sentences = [_won(grounds), _kept_out(grounds), _runner_up(grounds), _reservations(grounds)]
    return " ".join(sentence for sentence in sentences if sentence)


def _won(grounds: Grounds) -> str:
    winner, base = grounds.winner, grounds.bounds.baseline
    size, accuracy = _figure(winner, "size"), _figure(winner, "accuracy")
    if base is None:
        return f"{_name(winner)} wins with {_figures(winner, grounds)}; there is no dense baseline to compare it with."
    if winner is base:
        return f"{_name(winner)}, the baseline itself, wins with {_figures(winner, grounds)}."
    gain = f"{_figure(winner, 'latency')}, {_speed(winner, base)} ({_value(base, 'latency')})"
    others = [
        f"{_figure(winner, axis.quantity)} instead of {_value(base, axis.quantity)}"
        for axis in grounds.axes.ranked
        if axis.quantity not in ("latency", "size")
    ]
    size = f"{size} instead of {_value(base, 'size')}"
    return f"{_name(winner)} wins: {', '.join([gain, *others, size])}, {accuracy}{_points(grounds)}."


def _speed(winner: Measurement, base: Measurement) -> str:
    latency, factor = Axis("latency"), base.latency.p50_s / winner.latency.p50_s
    if latency.better(winner, base):
        return f"{factor:.2f} times as fast as {_name(base)}"
    if latency.better(base, winner):
        return f"slower than {_name(base)} by {100 * (1 / factor - 1):.1f} %"
    return f"as fast as {_name(base)} within the uncertainty"


def _points(grounds: Grounds) -> str:
    drop = grounds.bounds.value(grounds.winner, "accuracy_drop")
    if drop is None:
        return ""
    if abs(drop) < 5e-5:
        return ", unchanged"
    return f", {100 * abs(drop):.2f} points {'less' if drop > 0 else 'more'}"


def _kept_out(grounds: Grounds) -> str:
    refused = grounds.kept_out
    if refused is None:
        return ""
    broken = grounds.bounds.broken(refused)
    more = f" (and {len(broken) - 1} more constraint{'s' * (len(broken) > 2)})" if len(broken) > 1 else ""
    first = grounds.axes.ranked[0].quantity
    miss = grounds.bounds.miss_in_words(refused, broken[0])
    return f"{broken[0]}{more} kept {_name(refused)} out ({_figure(refused, first)}): its {miss}."


def _runner_up(grounds: Grounds) -> str:
    winner, second = grounds.winner, grounds.runner_up
    if second is None:
        return "No other conclusive measurement keeps the constraints."
    axes = grounds.axes.all
    decided = next((axis for axis in axes if axis.better(winner, second) or _only(axis, winner, second)), None)
    intro = f"The runner-up is {_name(second)} ({_figure(second, axes[0].quantity)})"
    if decided is axes[0]:
        return f"{intro}: {_verdict(decided, winner, second)}."
    tie = f"the two tie on {_title(axes[0])} within {_tolerance(axes[0])}"
    if axes[0].better(second, winner):
        tie = f"both tie on {_title(axes[0])} with the best, within its uncertainty"
    if decided is None:
        return f"{intro}: {tie}, and on everything else that was compared{decision(winner, second)}."
    return f"{intro}: {tie}, so {_title(decided)} decided, {_verdict(decided, winner, second)}."


def _verdict(axis: Axis, winner: Measurement, second: Measurement) -> str:
    if _only(axis, winner, second):
        return f"{_title(axis)} was not measured for it"
    mine, other = _value(winner, axis.quantity), _value(second, axis.quantity)
    beyond = "" if axis.quantity == "accuracy" else f", a difference beyond {_tolerance(axis)}"
    return f"{mine} against {other}{beyond}"


def _only(axis: Axis, winner: Measurement, second: Measurement) -> bool:
    return axis.interval(winner) is not None and axis.interval(second) is None


def _reservations(grounds: Grounds) -> str:
    winner, axes = grounds.winner, grounds.axes
    notes = [f"{quantity} was not ranked: {why}" for quantity, why in axes.skipped.items()]
    notes += axes.partial.values()
    if winner.verdict != "ok":
        why = f" ({winner.verdict_reason.rstrip('.')})" if winner.verdict_reason else ""
        notes.insert(0, f"the winner's measurement is {winner.verdict.replace('_', ' ')}{why}")
    text = "; ".join(notes)
    return f"Note: {text}." if text else ""


def _figures(measurement: Measurement, grounds: Grounds) -> str:
    quantities = dict.fromkeys(["latency", *(axis.quantity for axis in grounds.axes.ranked), "size", "accuracy"])
    return ", ".join(_figure(measurement, quantity) for quantity in quantities)


def _figure(measurement: Measurement, quantity: str) -> str:
    return f"{_NAMES.get(quantity, quantity)} {_value(measurement, quantity)}"


def _value(measurement: Measurement, quantity: str) -> str:
    value = measurement.quantity(quantity)
    return "not measured" if value is None else written(value, quantity)


def _title(axis: Axis) -> str:
    return _NAMES.get(axis.quantity, axis.quantity)


def _tolerance(axis: Axis) -> str:
    return "the uncertainty" if axis.quantity in ("latency", "energy") else "1 %"


def _name(measurement: Measurement) -> str:
    threads = measurement.plan.threads
    return measurement.label if threads == 1 else f"{measurement.label} ({threads} threads)"
