import math
from pathlib import Path

import numpy as np
import pytest
from test_verdict import PLAN, steady

from edgeprune.errors import UsageError
from edgeprune.measuring.bench import summarise
from edgeprune.measuring.comparison import compare, compare_medians
from edgeprune.values.artifact import Artifact
from edgeprune.values.device import DeviceInfo

ARTIFACT = Artifact(Path("m.onnx"), "onnx", "fp32", "0" * 64, 1, (), ())
INFO = DeviceInfo("id", "boot", "1", "", "3", "b", "o", "k", "a", 1, None, 1, None, ())


@pytest.fixture
def measured(repeat):
    """Makes a measurement of two repeats around a centre."""

    def make(centre, **changes):
        repeats = [repeat(steady(index, centre), index, **changes) for index in range(2)]
        return summarise(ARTIFACT, PLAN, repeats, device="d", info=INFO)

    return make


def outcomes(true_ratio, noise, count=500, repeats=3, seed=0):
    source = np.random.default_rng(seed)
    first, second = np.exp(source.normal(0, noise, (2, count, repeats)))
    return [compare_medians(a, true_ratio * b).outcome for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("noise", [0.0005, 0.005, 0.02, 0.1])
def test_two_runs_of_one_model_are_called_different_in_at_most_one_percent(noise):
    found = outcomes(1.0, noise)
    assert found.count("slower") + found.count("faster") <= 5


@pytest.mark.parametrize("noise", [0.0005, 0.005, 0.01, 0.02])
def test_a_slowdown_by_five_percent_is_called_unless_it_is_inconclusive(noise):
    found = outcomes(1.05, noise)
    conclusive = [outcome for outcome in found if outcome != "inconclusive"]
    assert conclusive.count("slower") >= 0.95 * len(conclusive)
    assert "faster" not in found


def test_a_quiet_machine_leaves_nothing_open():
    assert set(outcomes(1.05, 0.0005)) == {"slower"}
    assert outcomes(1.0, 0.0005).count("same") >= 495


def test_an_interval_worked_by_hand():
    # Logarithms 0 and 0.02 against 0.1 and 0.12: means 0.01 and 0.11, pooled variance 2e-4, error √(2e-4 (1/2 + 1/2)).
    found = compare_medians([1.0, math.exp(0.02)], [math.exp(0.1), math.exp(0.12)])
    reach = 14.089 * math.sqrt(2e-4)
    assert found.ratio == pytest.approx(math.exp(0.1))
    assert found.ratio_ci == pytest.approx((math.exp(0.1 - reach), math.exp(0.1 + reach)))
    assert found.outcome == "inconclusive"
    assert "leaves open" in found.reason


def test_one_process_each_tells_nothing_between_processes():
    found = compare_medians([1.0], [2.0])
    assert (found.outcome, found.ratio, found.ratio_ci) == ("inconclusive", 2.0, (0.0, math.inf))


def test_the_second_one_is_called(measured):
    assert compare(measured(1e6), measured(1.3e6)).outcome == "slower"
    assert compare(measured(1.3e6), measured(1e6)).outcome == "faster"
    assert compare(measured(1e6), measured(1e6)).outcome == "same"


def test_an_inconclusive_measurement_makes_the_comparison_so(measured, repeat):
    other = summarise(ARTIFACT, PLAN, [repeat(steady(0, 2e6))], device="d", info=INFO)
    found = compare(measured(1e6), other)
    assert found.outcome == "inconclusive"
    assert "Only 1 of 2 repeats" in found.reason


def test_what_cannot_be_compared_is_refused(measured):
    import dataclasses

    with pytest.raises(UsageError, match="two devices"):
        compare(measured(1e6), dataclasses.replace(measured(1e6), device_id="other"))
    with pytest.raises(UsageError, match="between 0 and 1"):
        compare(measured(1e6), measured(1e6), resolution=5.0)
