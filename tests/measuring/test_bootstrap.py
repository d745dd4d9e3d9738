import itertools
import time

import numpy as np
import pytest

from edgeprune.measuring.bootstrap import median_interval

NOISE = 1.2533
"""Standard deviation of the median of n normal samples, times the square root of n."""


def drawn(seed, repeats, n, between):
    """Samples around 100 with standard deviation 1, and repeats that are off by `between` standard errors."""
    source = np.random.default_rng(seed)
    error = between * NOISE / np.sqrt(n)
    return [100 + error * source.standard_normal() + source.standard_normal(n) for _ in range(repeats)]


def coverage(trials, repeats, n, between):
    hits = 0
    for seed in range(trials):
        low, high = median_interval(drawn(seed, repeats, n, between), seed=seed)
        hits += low <= 100 <= high
    return hits / trials


def test_the_same_samples_give_the_same_interval():
    samples = drawn(0, 3, 200, 1)
    assert median_interval(samples, seed=1) == median_interval(samples, seed=1)
    assert median_interval(samples, seed=1) != median_interval(samples, seed=2)


def test_the_interval_agrees_with_resampling_every_sample():
    samples = drawn(0, 1, 400, 0)
    low, high = median_interval(samples)
    source = np.random.default_rng(0)
    plain = np.percentile(np.median(source.choice(samples[0], (4000, 400)), axis=1), [2.5, 97.5])
    assert (low, high) == pytest.approx(plain, abs=0.15 * (plain[1] - plain[0]))


def test_equal_samples_leave_no_doubt():
    assert median_interval([np.full(20, 7.0), np.full(30, 7.0)]) == pytest.approx((7.0, 7.0))


def test_repeats_that_disagree_widen_the_interval_beyond_them():
    low, high = median_interval([np.full(50, 100.0), np.full(50, 102.0), np.full(50, 104.0)])
    assert low < 100 < 104 < high


def test_more_samples_narrow_the_interval():
    widths = [np.ptp(median_interval(drawn(0, 1, n, 0))) for n in (30, 300, 3000)]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_repeats_that_are_worlds_apart_leave_a_positive_lower_end():
    low, high = median_interval([np.full(5, 1.0), np.full(5, 1000.0)])
    assert 0 < low < 1 < 1000 < high


def test_the_interval_scales_with_the_samples():
    samples = [100 * samples for samples in drawn(0, 3, 50, 5)]
    scaled = median_interval([1000 * repeat for repeat in samples])
    assert scaled == pytest.approx([1000 * end for end in median_interval(samples)])


def test_two_hundred_thousand_samples_take_no_noticeable_time():
    samples = drawn(0, 3, 66_667, 1)
    begin = time.process_time()
    median_interval(samples)
    assert time.process_time() - begin < 2


def test_a_skewed_distribution_has_a_skewed_interval():
    source = np.random.default_rng(0)
    samples = np.exp(3 * source.standard_normal(30))
    low, high = median_interval([samples])
    assert high - np.median(samples) > 1.2 * (np.median(samples) - low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    assert 0.87 <= coverage(100, repeats=3, n=60, between=1) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("repeats", "between"), [(1, 0), (10, 1), *itertools.product((2, 3, 5), (0, 1, 5, 50))])
def test_coverage_is_near_95_percent_wherever_the_variance_comes_from(repeats, between):
    assert 0.87 <= coverage(250, repeats, 60, between) <= 0.999
