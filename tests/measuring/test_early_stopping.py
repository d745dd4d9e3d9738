import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.measuring.early_stopping import beyond, bound
from edgeprune.measuring.latency import SAMPLES_NEEDED


@pytest.mark.parametrize(("n", "discarded"), [(2048, 172), (2116, 178), (7469, 685)])
def test_as_many_samples_are_discarded_as_loadgen_discards(n, discarded):
    assert beyond(n, 90) - 1 == discarded


@pytest.mark.parametrize(("percent", "n"), SAMPLES_NEEDED.items())
def test_a_bound_exists_from_the_number_of_samples_on_that_a_percentile_takes(percent, n):
    assert bound(np.arange(n - 1.0), percent) is None
    assert bound(np.arange(float(n)), percent) == n - 1


def test_the_percentile_exceeds_its_bound_in_about_one_percent_of_the_cases():
    source = np.random.default_rng(0)
    truth = -np.log(0.1)  # of the exponential distribution's 90 %
    exceeded = sum(bound(source.exponential(size=200), 90) < truth for _ in range(2000))
    assert 4 <= exceeded <= 36


@given(st.integers(64, 3000), st.integers(0, 2**32 - 1))
def test_the_bound_is_a_sample_at_or_above_the_percentile(n, seed):
    samples = np.random.default_rng(seed).exponential(size=n)
    found = bound(samples, 90)
    assert found in samples
    assert found >= np.percentile(samples, 90, method="lower")
