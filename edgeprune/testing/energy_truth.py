"""Is the energy right? Known power curves through the models of meters, against what is worked out of the readings."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from edgeprune.errors import NotCredible
from edgeprune.measuring.energy import energy_of
from edgeprune.measuring.energy_window import window_energy
from edgeprune.testing.meter_model import MeterModel, load_of
from edgeprune.testing.power_curve import PowerCurve, steady_runs
from edgeprune.values.measurement import EnergyStats, Repeat
from edgeprune.values.power import LoadWindow, PowerTrace

RUN_S = 7e-3
"""An inference, on average over the seeds; one seed differs from the other by up to 30 %."""


@dataclass(slots=True)
class Truth:
    """What many seeds came to.

    Attributes:
        window_s: Length of the loads.
        errors: E/E_true - 1 of each window that passed the gates, meter exact in scale and zero.
        covered: Of each measurement that passed, whether its 95 % interval holds the truth; the meter's scale and zero
            drawn from what it states of them.
        repeated: Of each, whether the interval without scale and zero holds what such a meter should say.
        uncertainties: Half of these intervals, relative.
        repeatabilities: Likewise without scale and zero.
        refused: Gate to how many windows or measurements it refused.
    """

    window_s: float
    errors: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    repeated: list[bool] = field(default_factory=list)
    uncertainties: list[float] = field(default_factory=list)
    repeatabilities: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def worst_ratio(self) -> float:
        """Largest |E/E_true - 1|."""
        return max(map(abs, self.errors), default=0.0)

    @property
    def coverage_ratio(self) -> float:
        """Share of the intervals that hold the truth."""
        return sum(self.covered) / len(self.covered) if self.covered else 0.0

    @property
    def repeated_ratio(self) -> float:
        """Share of the intervals without scale and zero that hold."""
        return sum(self.repeated) / len(self.repeated) if self.repeated else 0.0


def truth_of(model: MeterModel, seeds: range, length_ratio: float = 1.0, repeats: int = 3) -> Truth:
    """Try a meter against the truth.

    Args:
        model: The meter.
        seeds: One window and one measurement each.
        length_ratio: Length of the loads over the shortest that the meter asks for.
        repeats: Windows of a measurement.

    Returns:
        What came out.
    """
    truth = Truth(model.facts.shortest_window_s * length_ratio)
    for seed in seeds:
        source = np.random.default_rng(seed)
        curve = _curve(model, truth.window_s, source)
        _try_window(truth, replace(model, calibrated=True), curve, source)
        _try_measurement(truth, model, curve, source, repeats)
    return truth


def _curve(model: MeterModel, window_s: float, source: np.random.Generator) -> PowerCurve:
    ends = steady_runs(window_s, RUN_S * source.uniform(0.7, 1.3), source)
    return replace(model.typical, begin_s=model.facts.idle_s + 0.1, ends_s=ends)


def _try_window(truth: Truth, exact: MeterModel, curve: PowerCurve, source: np.random.Generator) -> None:
    try:
        energy = window_energy(exact.read(curve, source), load_of(curve))
    except NotCredible as error:
        truth.refused[error.gate] += 1
    else:
        truth.errors.append(energy.gross_j / curve.gross_j - 1)


def _try_measurement(
    truth: Truth, model: MeterModel, curve: PowerCurve, source: np.random.Generator, repeats: int
) -> None:
    gain, offset_w = model.calibration(source)
    traces = [model.read_with(curve, source, gain, offset_w) for _ in range(repeats)]
    load = load_of(curve)
    result = energy_of([repeat_of(index, load, trace) for index, trace in enumerate(traces)])
    if result.stats is None:
        truth.refused[result.missing["energy"].partition(":")[0]] += 1
    else:
        shown_j = gain * curve.gross_j + offset_w * load.duration_s
        _take(truth, result.stats, curve.gross_j / curve.runs, shown_j / curve.runs)


def _take(truth: Truth, stats: EnergyStats, true_j: float, shown_j: float) -> None:
    truth.covered.append(abs(stats.per_inference_j - true_j) <= stats.uncertainty_j)
    truth.repeated.append(abs(stats.per_inference_j - shown_j) <= (stats.repeatability_j or 0.0))
    truth.uncertainties.append(stats.uncertainty_j / true_j)
    truth.repeatabilities.append((stats.repeatability_j or 0.0) / true_j)


def repeat_of(index: int, load: LoadWindow, trace: PowerTrace | None, missing: str = "") -> Repeat:
    """Return a repeat of which nothing but its energy counts.

    Args:
        index: Its number.
        load: When inferences ran.
        trace: What a meter read.
        missing: Why it read nothing.

    Returns:
        The repeat; all its latencies are equal.
    """
    samples = array("q", [(load.end_ns - load.begin_ns) // load.runs] * load.runs)
    return Repeat(
        index, samples, 0, 0, 0, True, None, None, "", (), "", "", load=load, power=trace, power_missing=missing
    )
