"""Repeats with power traces -> EnergyStats, or the reason why there are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeprune.errors import NotCredible
from edgeprune.measuring.energy_window import window_energy
from edgeprune.measuring.mean_uncertainty import combine_freedom, coverage_factor
from edgeprune.measuring.power_gates import shut
from edgeprune.values.measurement import EnergyStats, Repeat
from edgeprune.values.power import PowerTrace, WindowEnergy

NO_METER = "no meter: latency was measured without a source of power readings"


@dataclass(frozen=True, slots=True)
class EnergyResult:
    """What the repeats say of the energy of one inference.

    Attributes:
        stats: None if nothing credible.
        missing: Name of what is missing, "energy" or "net_energy", to why.
        rejected: What was wrong with repeats that were left out.
    """

    stats: EnergyStats | None
    missing: dict[str, str]
    rejected: tuple[str, ...] = ()


def energy_of(repeats: Sequence[Repeat]) -> EnergyResult:
    """Put the energies of repeats together.

    A repeat whose readings are not credible is left out whole; more than half of them must be left.

    Args:
        repeats: At least one.

    Returns:
        The statistics or the reasons.
    """
    traces = [repeat.power for repeat in repeats if repeat.power is not None and repeat.load is not None]
    if not traces:
        said = next((repeat.power_missing for repeat in repeats if repeat.power_missing), NO_METER)
        return EnergyResult(None, {"energy": said})
    windows: list[WindowEnergy] = []
    rejected: list[str] = []
    for repeat in repeats:
        try:
            windows.append(_window(repeat, traces[0]))
        except NotCredible as error:
            rejected.append(f"{error.gate}: {error.message} {error.next_step}")
    if 2 * len(windows) <= len(repeats):
        return EnergyResult(None, {"energy": rejected[0]}, tuple(rejected))
    stats = _stats(windows, traces)
    reasons = [window.net_reason for window in windows if window.net_reason]
    missing = {} if stats.net_per_inference_j is not None else {"net_energy": reasons[0]}
    return EnergyResult(stats, missing, tuple(rejected))


def _window(repeat: Repeat, first: PowerTrace) -> WindowEnergy:
    if repeat.power is None or repeat.load is None:
        shut("low_coverage", repeat.power_missing or f"Repeat {repeat.index} has no readings of a meter.")
    if (repeat.power.meter.source, repeat.power.meter.boundary) != (first.meter.source, first.meter.boundary):
        shut("low_coverage", f"Repeat {repeat.index} was read by another meter, {repeat.power.meter.source}.")
    return window_energy(repeat.power, repeat.load)


def _stats(windows: Sequence[WindowEnergy], traces: Sequence[PowerTrace]) -> EnergyStats:
    meter = traces[0].meter
    gross = _pool([w.gross_j / w.runs for w in windows], [(w.random_j / w.runs, w.random_freedom) for w in windows])
    fixed_j = _mean([w.systematic_j / w.runs for w in windows])
    net_j = net_u = idle_w = None
    if all(window.net_j is not None for window in windows):
        net_j, net_u = _net(windows, meter.gain_ratio)
        idle_w = _mean([window.idle_w or 0.0 for window in windows])
    return EnergyStats(
        per_inference_j=gross.value,
        net_per_inference_j=net_j,
        source=meter.source,
        boundary=meter.boundary,
        fidelity=meter.fidelity,
        uncertainty_j=_expanded(gross, fixed_j),
        repeatability_j=_expanded(gross, 0.0),
        net_uncertainty_j=net_u,
        mean_w=sum(window.gross_j for window in windows) / sum(window.duration_s for window in windows),
        idle_w=idle_w,
        n_windows=len(windows),
        estimator=windows[0].estimator,
        clock_bound_s=max(trace.clock_bound_s for trace in traces),
    )


def _net(windows: Sequence[WindowEnergy], gain_ratio: float) -> tuple[float, float]:
    # The meter's zero is in both the load and the idle power, and goes with the difference.
    values = [(window.net_j or 0.0) / window.runs for window in windows]
    net = _pool(values, [(window.net_random_j / window.runs, window.random_freedom) for window in windows])
    return net.value, _expanded(net, gain_ratio * abs(net.value))


@dataclass(frozen=True, slots=True)
class _Pooled:
    value: float
    sd: float
    freedom: float


def _pool(values: Sequence[float], random: Sequence[tuple[float, float]]) -> _Pooled:
    # The mean of windows: each has its own uncertainty, and they may differ by more than that explains.
    n, mean = len(values), _mean(values)
    within = _mean([sd**2 for sd, _ in random])
    spread = sum((value - mean) ** 2 for value in values) / (n - 1) if n > 1 else 0.0
    between = max(0.0, spread - within)
    freedom = sum(min(freedom, 1e6) for _, freedom in random)
    parts = [(math.sqrt(within / n), freedom), (math.sqrt(between / n), max(n - 1.0, 1.0))]
    return _Pooled(mean, math.sqrt((within + between) / n), combine_freedom(parts))


def _expanded(pooled: _Pooled, fixed: float) -> float:
    total = math.hypot(pooled.sd, fixed)
    return coverage_factor(combine_freedom([(pooled.sd, pooled.freedom), (fixed, math.inf)])) * total


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
