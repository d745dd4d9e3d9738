import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.measuring.latency import SAMPLES_NEEDED, count_outliers, latency_stats, minute_medians_s, percentile_s
from edgeprune.values.plan import BenchPlan

PLAN = BenchPlan(min_runs=12, repeats=2)


def test_statistics_of_samples_worked_by_hand(repeat):
    # 1…12 µs: median 6.5, mean 6.5, deviations from the median 0.5…5.5 twice each, variance 13.
    stats = latency_stats([repeat(1000 * n for n in range(1, 7)), repeat((1000 * n for n in range(7, 13)), 1)])
    assert stats.n == 12
    assert stats.p50_s == pytest.approx(6.5e-6)
    assert stats.mean_s == pytest.approx(6.5e-6)
    assert (stats.min_s, stats.max_s) == pytest.approx((1e-6, 12e-6))
    assert stats.mad_s == pytest.approx(3e-6)
    assert stats.cv_ratio == pytest.approx(13**0.5 / 6.5)
    assert (stats.p90_s, stats.p95_s, stats.p99_s, stats.n_outliers) == (None, None, None, 0)
    assert stats.samples_ns.tolist() == [1000 * n for n in range(1, 13)]


def test_load_and_first_run_are_medians_over_the_repeats(repeat):
    repeats = [
        repeat([1000], n, load_ns=load, first_run_ns=2 * load) for n, load in enumerate((10**6, 9 * 10**6, 2 * 10**6))
    ]
    stats = latency_stats(repeats)
    assert stats.load_s == pytest.approx(2e-3)
    assert stats.first_run_s == pytest.approx(4e-3)


def test_one_sample_has_no_spread(repeat):
    stats = latency_stats([repeat([5000])])
    assert (stats.p50_s, stats.cv_ratio, stats.mad_s) == (pytest.approx(5e-6), 0.0, 0.0)
    assert stats.p50_ci_s == pytest.approx((5e-6, 5e-6))


@pytest.mark.parametrize(("percent", "needed"), SAMPLES_NEEDED.items())
def test_a_percentile_is_stated_from_its_number_of_samples_on(percent, needed):
    samples = np.arange(1.0, needed + 1) * 1000
    assert percentile_s(samples[:-1], percent) is None
    assert percentile_s(samples, percent) == pytest.approx(np.percentile(samples, percent) * 1e-9)


@pytest.mark.parametrize(("percent", "needed"), SAMPLES_NEEDED.items())
def test_the_numbers_of_samples_follow_from_99_percent_confidence(percent, needed):
    # Enough, when the chance that at most one of n samples lies beyond the percentile is at most 1 %.
    from math import comb

    def may_state(n):
        q = 1 - percent / 100
        return sum(comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(2)) <= 0.01

    assert may_state(needed)
    assert not may_state(needed - 1)


def test_far_outliers_are_counted_and_kept(repeat):
    # Quartiles 2 and 4 (n = 9 with linear quantiles), fences -4 and 10.
    samples = np.array([1.0, 2, 2, 3, 3, 3, 4, 4, 11])
    assert count_outliers(samples) == 1
    assert count_outliers(np.array([1.0, 2, 2, 3, 3, 3, 4, 4, 10])) == 0
    stats = latency_stats([repeat(samples * 1000)])
    assert (stats.n_outliers, stats.n, stats.max_s) == (1, 9, pytest.approx(11e-6))


samples_ns = st.lists(st.integers(1, 10**10), min_size=1, max_size=50)


@given(groups=st.lists(samples_ns, min_size=1, max_size=4))
def test_statistics_are_ordered_whatever_the_samples(repeat, groups):
    stats = latency_stats([repeat(group, index) for index, group in enumerate(groups)])
    low, high = stats.p50_ci_s
    assert 0 <= low <= stats.p50_s <= high
    assert stats.min_s <= stats.p50_s <= stats.max_s
    assert stats.min_s <= stats.mean_s * (1 + 1e-9)
    assert stats.mean_s <= stats.max_s * (1 + 1e-9)
    assert 0 <= stats.n_outliers <= stats.n == sum(map(len, groups))


@given(groups=st.lists(samples_ns, min_size=1, max_size=3), factor=st.integers(2, 50))
def test_statistics_scale_with_the_samples(repeat, groups, factor):
    plain = latency_stats([repeat(group) for group in groups])
    scaled = latency_stats([repeat([s * factor for s in group]) for group in groups])
    for name in ("p50_s", "mean_s", "mad_s", "min_s", "max_s"):
        assert getattr(scaled, name) == pytest.approx(factor * getattr(plain, name))
    assert scaled.p50_ci_s == pytest.approx([factor * end for end in plain.p50_ci_s], rel=1e-6)
    assert scaled.cv_ratio == pytest.approx(plain.cv_ratio, abs=1e-9)


def test_minutes_are_counted_by_the_samples_and_only_full_ones_count():
    assert minute_medians_s(np.array([20e9] * 3 + [30e9] * 3)) == pytest.approx([20.0, 30.0])
    assert minute_medians_s(np.full(50, 1e9)) == []


def test_at_a_rate_minutes_are_counted_by_the_rate():
    assert minute_medians_s(np.array([1e6] * 60 + [2e6] * 60), rate_hz=1.0) == [1e-3, 2e-3]


def test_each_repeat_has_its_median_and_percentiles_have_bounds(repeat):
    stats = latency_stats([repeat([1000] * 40), repeat([3000] * 40, 1)])
    assert stats.repeat_p50_s == pytest.approx((1e-6, 3e-6))
    assert (stats.p90_bound_s, stats.p95_bound_s, stats.minute_p50_s) == (3e-6, None, ())
    assert (stats.first_load_s, stats.warm_load_s) == (None, None)
