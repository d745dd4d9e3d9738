"""Energies against known power curves, and readings that carry none."""

from __future__ import annotations

import dataclasses
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import EXIT_INCONCLUSIVE, NotCredible
from edgeprune.measuring.energy import NO_METER, energy_of
from edgeprune.measuring.energy_window import window_energy
from edgeprune.measuring.mean_uncertainty import combine_freedom, coverage_factor, mean_of
from edgeprune.measuring.power_gates import GATES
from edgeprune.testing.energy_truth import repeat_of, truth_of
from edgeprune.testing.meter_model import MeterModel, load_of
from edgeprune.testing.meter_models import METERS
from edgeprune.testing.power_curve import PowerCurve, steady_runs
from edgeprune.values.power import BOUNDARIES, FIDELITIES, MeterFacts

FACTS = MeterFacts("bench", "board", "external", 0.01, 0.01)
PAD_S = 2.0


def curve(duration_s=4.0, idle=2.0, busy=6.0, **changes):
    ends = np.arange(1, round(duration_s / 0.01) + 1) * 0.01
    return PowerCurve(idle, busy, busy, PAD_S, ends, **changes)


def traced(truth=None, facts=FACTS, noise=0.01, bound=0.0, seed=0):
    truth = truth or curve()
    trace = MeterModel(facts, noise, bound, truth, True).read(truth, np.random.default_rng(seed))
    return trace, load_of(truth)


def gate_of(trace, load):
    with pytest.raises(NotCredible) as caught:
        window_energy(trace, load)
    assert caught.value.gate in GATES and caught.value.exit_code == EXIT_INCONCLUSIVE
    assert caught.value.next_step == GATES[caught.value.gate]
    return caught.value.gate


def without(trace, keep):
    """The trace's readings of which `keep` is true."""
    kept = [i for i in range(len(trace.readings)) if keep(i, trace.times_ns[i] * 1e-9)]
    return dataclasses.replace(
        trace, times_ns=array("q", [trace.times_ns[i] for i in kept]),
        readings=array("q", [trace.readings[i] for i in kept]),
    )  # fmt: skip


# --- the truth


@pytest.mark.parametrize("name", METERS)
def test_every_meter_comes_within_1_percent_of_the_truth_where_its_gates_let_it_pass(name):
    truth = truth_of(METERS[name], range(4))
    assert truth.errors and truth.worst_ratio <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", METERS)
def test_every_meters_interval_holds_the_truth_in_93_to_97_percent_of_1000_seeds(name):
    truth = truth_of(METERS[name], range(1000))
    assert truth.worst_ratio <= 0.01
    assert len(truth.errors) > 500 and 0.93 <= truth.coverage_ratio <= 0.97


def test_the_curves_energy_is_the_integral_of_its_power():
    truth = PowerCurve(2.0, 6.0, 4.0, 1.0, steady_runs(1.0, 0.01, np.random.default_rng(0)), 0.6, 0.5, 0.1)
    at = np.linspace(0, 3, 300_001)
    power = np.diff(truth.taken_j(at)) / np.diff(at)
    assert power.min() == pytest.approx(2.0) and 6.4 < power.max() <= 6.5 + 1e-9
    loaded = power[(at[:-1] >= 1.0) & (at[1:] <= truth.end_s)]
    assert loaded.mean() * truth.ends_s[-1] == pytest.approx(truth.gross_j, rel=1e-3)


@settings(max_examples=40)
@given(
    st.floats(0.5, 20), st.floats(0.1, 30), st.sampled_from([0.0, 0.004, 0.01]), st.floats(0, 0.02),
    st.booleans(), st.integers(0, 1000),
)  # fmt: skip
def test_net_is_what_the_load_added_and_gross_is_all_whatever_the_clocks(idle, added, average, bound, counter, seed):
    truth = curve(idle=idle, busy=idle + added)
    facts = dataclasses.replace(FACTS, average_s=average, counter=counter)
    energy = window_energy(*traced(truth, facts, 0.001 * added, bound, seed))
    assert energy.gross_j == pytest.approx(truth.gross_j, rel=0.01)
    if energy.net_j is not None:
        assert energy.net_j == pytest.approx(4 * added, abs=0.01 * truth.gross_j + 4 * energy.net_random_j)
    assert energy.runs == 400


def test_meters_that_sum_up_use_the_padded_net_others_the_interior_mean():
    assert window_energy(*traced()).estimator == "padded-net"
    spot = dataclasses.replace(FACTS, average_s=0.001)
    assert window_energy(*traced(facts=spot)).estimator == "interior-mean"


def test_a_clock_that_is_off_within_its_bound_changes_less_than_the_stated_uncertainty():
    truth = curve()
    trace, load = traced(truth, noise=0.02)
    shifted = dataclasses.replace(
        trace, times_ns=array("q", [t + 35_000_000 for t in trace.times_ns]), clock_bound_s=0.035
    )
    energy = window_energy(shifted, load)
    assert abs(energy.gross_j - truth.gross_j) < 3 * energy.random_j < 0.01 * truth.gross_j


def test_scale_and_zero_of_the_meter_are_in_the_interval_and_not_in_the_repeatability():
    facts = dataclasses.replace(FACTS, gain_ratio=0.01, offset_w=0.05)
    trace, load = traced(facts=facts)
    stats = energy_of([repeat_of(index, load, trace) for index in range(3)]).stats
    assert stats.uncertainty_j == pytest.approx(2 * np.hypot(0.01 * 0.06, 0.05 * 0.01), rel=0.05)
    assert stats.repeatability_j < 0.02 * stats.uncertainty_j
    assert stats.net_uncertainty_j == pytest.approx(2 * 0.01 * 0.04, rel=0.1)


# --- gates


def test_a_load_shorter_than_twenty_readings_is_refused():
    assert gate_of(*traced(curve(1.0), dataclasses.replace(FACTS, period_s=0.1, average_s=0.1))) == "too_short"


def test_a_hole_in_the_readings_is_a_gap():
    trace, load = traced()
    assert gate_of(without(trace, lambda i, t: not 3.0 < t < 3.2), load) == "gap"


def test_a_counter_counts_while_nobody_reads_it():
    truth = curve()
    trace, load = traced(truth, dataclasses.replace(FACTS, counter=True))
    energy = window_energy(without(trace, lambda i, t: not 3.0 < t < 3.2), load)
    assert energy.gross_j == pytest.approx(truth.gross_j, rel=0.005)


def test_readings_that_end_within_the_load_do_not_cover_it():
    trace, load = traced()
    assert gate_of(without(trace, lambda i, t: t < 5.0), load) == "low_coverage"
    assert gate_of(without(trace, lambda i, t: i < 2), load) == "low_coverage"


def test_clocks_that_may_be_apart_by_more_than_1_percent_of_the_load_are_refused():
    assert gate_of(*traced(bound=0.05)) == "clock_bound"


def test_more_than_a_thousandth_of_the_readings_lost_is_refused():
    trace, load = traced()
    assert window_energy(dataclasses.replace(trace, dropped=0), load)
    assert gate_of(dataclasses.replace(trace, dropped=2), load) == "dropped"


@pytest.mark.parametrize("flag", ["saturated", "charging", "sign"])
def test_what_the_meter_itself_refused_is_refused(flag):
    trace, load = traced()
    assert gate_of(dataclasses.replace(trace, flags=(flag,)), load) == flag


def test_a_meter_that_never_changes_is_stale():
    trace, load = traced()
    assert gate_of(dataclasses.replace(trace, readings=array("q", [10**9] * len(trace.readings))), load) == "stale"


def test_a_load_that_takes_less_than_idling_is_not_believed():
    assert gate_of(*traced(curve(idle=6.0, busy=2.0))) == "negative_net"


def test_negative_power_under_load_is_a_sign_error():
    assert gate_of(*traced(curve(idle=-2.0, busy=-6.0))) == "sign"


def test_scattered_readings_are_imprecise_and_the_time_that_it_would_take_is_named():
    with pytest.raises(NotCredible, match=r"for 1 % it takes about \d+") as caught:
        window_energy(*traced(noise=3.0))
    assert caught.value.gate == "imprecise"


def test_a_surge_that_only_the_sum_sees_is_unsteady():
    trace, load = traced()
    first = next(i for i, t in enumerate(trace.times_ns) if t > load.begin_ns)
    surge = array("q", trace.readings)
    surge[first] = 200 * 10**9
    assert gate_of(dataclasses.replace(trace, readings=surge), load) == "unsteady"


def test_idle_power_that_drifts_takes_the_net_energy_away_and_leaves_the_gross_one():
    trace, load = traced(curve(after_w=0.5))
    energy = window_energy(trace, load)
    assert energy.net_j is None and energy.net_reason.startswith("idle power went from 2 W before to 2.5 W after")
    assert energy.estimator == "interior-mean"


def test_without_idle_pads_there_is_a_gross_energy_and_no_net_one():
    truth = curve()
    trace, load = traced(truth)
    energy = window_energy(trace, dataclasses.replace(load, idle_before_s=0.0, idle_after_s=0.0))
    assert energy.gross_j == pytest.approx(truth.gross_j, rel=1e-3)
    assert energy.net_j is None and energy.idle_w is None


# --- repeats


def test_repeats_without_a_meter_say_so(repeat):
    result = energy_of([repeat([5] * 20)])
    assert result.stats is None and result.missing == {"energy": NO_METER}
    assert energy_of([repeat([5] * 20, power_missing="unplugged")]).missing == {"energy": "unplugged"}


def test_energy_stands_on_more_than_half_of_the_repeats_and_names_the_others():
    trace, load = traced()
    bad = dataclasses.replace(trace, dropped=100)
    result = energy_of([repeat_of(0, load, trace), repeat_of(1, load, bad), repeat_of(2, load, trace)])
    assert result.stats.n_windows == 2 and result.rejected[0].startswith("dropped: bench lost 100")
    refused = energy_of([repeat_of(0, load, trace), repeat_of(1, load, bad)])
    assert refused.stats is None and refused.missing["energy"].startswith("dropped: ")


def test_readings_of_two_meters_are_not_put_together():
    trace, load = traced()
    other = dataclasses.replace(trace, meter=dataclasses.replace(trace.meter, boundary="wall"))
    result = energy_of([repeat_of(0, load, trace), repeat_of(1, load, other), repeat_of(2, load, None, "unplugged")])
    assert result.stats is None
    assert "another meter" in result.rejected[0] and "unplugged" in result.rejected[1]


def test_repeats_that_differ_widen_the_interval():
    loads = [curve(busy=busy) for busy in (6.0, 6.1, 5.9)]
    stats = energy_of([repeat_of(i, load_of(c), traced(c)[0]) for i, c in enumerate(loads)]).stats
    alike = energy_of([repeat_of(i, load_of(loads[0]), traced(loads[0], seed=i)[0]) for i in range(3)]).stats
    assert stats.repeatability_j > 0.0015 > 10 * alike.repeatability_j
    assert stats.boundary in BOUNDARIES and stats.fidelity in FIDELITIES


# --- means


@pytest.mark.parametrize(("freedom", "factor"), [(1, 12.706), (2.9, 4.303), (20, 2.086), (30, 2.042), (1e9, 1.96)])
def test_the_coverage_factor_is_students_t(freedom, factor):
    assert coverage_factor(freedom) == pytest.approx(factor, abs=1e-3)


def test_degrees_of_freedom_combine_as_welch_and_satterthwaite_have_it():
    assert combine_freedom([(1.0, 4.0), (1.0, 4.0)]) == pytest.approx(8.0)
    assert combine_freedom([(1.0, 4.0), (0.0, 1.0)]) == pytest.approx(4.0)
    assert combine_freedom([(0.0, 4.0)]) == float("inf")


def test_a_mean_of_white_noise_is_known_to_its_standard_error():
    source = np.random.default_rng(0)
    found = [mean_of(source.standard_normal(400), 0.01, 0.01, 0.0).sd for _ in range(200)]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(1 / 20, rel=0.05)


def test_readings_that_overlap_are_not_counted_as_new_ones():
    source = np.random.default_rng(1)
    means, told = [], []
    for _ in range(300):
        boxcar = np.convolve(source.standard_normal(1010), np.ones(10) / 10, "valid")
        mean = mean_of(boxcar, 0.01, 0.1, 0.0)
        means.append(mean.value)
        told.append(mean.sd**2)
    assert np.sqrt(np.mean(told)) == pytest.approx(np.std(means), rel=0.15)


def test_a_quiet_quantized_signal_keeps_the_uncertainty_of_a_step_and_noise_takes_it_away():
    steps = 0.04
    assert mean_of(np.full(100, 5.0), 0.01, 0.01, steps).sd == pytest.approx(steps / np.sqrt(12))
    noisy = np.round(np.random.default_rng(0).normal(5.0, 0.04, 4000) / steps) * steps
    assert mean_of(noisy, 0.01, 0.01, steps).sd < 0.002
