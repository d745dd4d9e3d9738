import gc
import itertools

import pytest
from edgeprune_agent import timing
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    """A clock that only inferences move."""

    def __init__(self, monkeypatch, latency_ns=1_000_000):
        self.now, self.latency_ns, self.runs = 0, latency_ns, 0
        monkeypatch.setattr(timing, "now_ns", lambda: self.now)

    def infer(self):
        self.runs += 1
        self.now += self.latency_ns


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def never():
    return False


SAMPLE = {"min_duration_s": 0.5, "min_runs": 100, "max_duration_s": 2.0, "period_s": 0}


def collect(clock, stopped=never, **changes):
    portions = []
    sampled = timing.sample(clock.infer, dict(SAMPLE, **changes), portions.append, stopped)
    return sampled.samples, portions


def test_sampling_goes_on_until_duration_and_runs_are_both_reached(clock):
    collect(clock)
    assert clock.now == 501_000_000  # and one millisecond before the clock was read first
    assert collect(clock, min_duration_s=0.01)[0] == 100


def test_sampling_stops_at_the_longest_duration(clock):
    collect(clock, min_runs=10**6)
    assert clock.now == 2_001_000_000


def test_one_run_longer_than_everything_is_still_a_sample(clock):
    clock.latency_ns = 10**10
    assert collect(clock)[0] == 1


def test_samples_are_delivered_every_tenth_of_a_second_and_none_is_lost(clock):
    total, portions = collect(clock)
    assert [len(portion) for portion in portions[:-1]] == [100] * 4
    assert total == sum(len(portion) for portion in portions)
    assert set(portions[0]) == {1_000_000}


def test_an_inference_after_each_delivery_is_thrown_away_while_that_is_cheap(clock):
    total, portions = collect(clock)
    assert clock.runs == total + len(portions)
    clock.latency_ns, clock.runs = 50_000_000, 0
    total, _ = collect(clock)
    assert clock.runs == total + 1


def test_runs_count_what_was_thrown_away_too(clock):
    sampled = timing.sample(clock.infer, SAMPLE, lambda portion: None, never)
    assert sampled.runs == clock.runs > sampled.samples


class Starts(Clock):
    """Notes when each inference begins; sleeping moves the clock, too."""

    def __init__(self, monkeypatch, latency_ns=1_000_000):
        super().__init__(monkeypatch, latency_ns)
        self.starts = []
        monkeypatch.setattr(timing.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += round(seconds * 1e9)

    def infer(self):
        self.starts.append(self.now)
        super().infer()


def test_at_a_rate_inferences_begin_that_far_apart_and_the_board_idles_between(monkeypatch):
    clock = Starts(monkeypatch)
    collect(clock, period_s=0.05, min_runs=5)
    steps = {end - start for start, end in itertools.pairwise(clock.starts[1:])}  # the first one warms the caches
    assert steps == {50_000_000}


def test_one_that_is_late_does_not_make_the_next_ones_hurry(monkeypatch):
    clock = Starts(monkeypatch, latency_ns=70_000_000)
    collect(clock, period_s=0.05, min_runs=3, min_duration_s=0.01)
    assert [end - start for start, end in itertools.pairwise(clock.starts[1:])] == [70_000_000] * 2
    clock.latency_ns = 10_000_000
    clock.starts.clear()
    collect(clock, period_s=0.05, min_runs=3, min_duration_s=0.01)
    assert [end - start for start, end in itertools.pairwise(clock.starts[1:])] == [50_000_000] * 2


def test_more_samples_than_the_buffer_holds_are_delivered_in_between(monkeypatch):
    clock = Clock(monkeypatch, latency_ns=1000)
    total, portions = collect(clock, min_duration_s=0.2)
    assert total == sum(map(len, portions)) >= 199_000
    assert max(map(len, portions)) == 1 << 16


def test_stopping_delivers_what_was_measured(clock):
    portions = []
    with pytest.raises(timing.Cancelled):
        timing.sample(clock.infer, SAMPLE, portions.append, lambda: clock.runs > 42)
    assert sum(map(len, portions)) == 42


def test_the_collector_is_off_while_sampling_and_on_after_it(clock):
    seen = set()

    def infer():
        seen.add(gc.isenabled())
        clock.infer()

    timing.sample(infer, SAMPLE, lambda portion: None, never)
    assert seen == {False}
    assert gc.isenabled()


WARM = {"warmup_s": 0.05, "warmup_runs": 5}


def test_warm_up_lasts_until_duration_runs_and_steadiness_are_reached(clock):
    assert timing.warm_up(clock.infer, WARM, never) == (50, True)
    assert timing.warm_up(clock.infer, dict(WARM, warmup_runs=70), never) == (70, True)
    assert timing.warm_up(clock.infer, dict(WARM, warmup_s=0.001), never).runs == 5


def test_warm_up_gives_up_after_four_times_its_duration(clock):
    def slower_each_time():
        clock.infer()
        clock.latency_ns = int(clock.latency_ns * 1.05)

    warmup = timing.warm_up(slower_each_time, WARM, never)
    assert warmup.steady is False
    assert 200_000_000 <= clock.now < 260_000_000


def test_no_warm_up_is_no_warm_up(clock):
    assert timing.warm_up(clock.infer, {"warmup_s": 0, "warmup_runs": 0}, never) == (0, False)


def test_warm_up_can_be_stopped(clock):
    with pytest.raises(timing.Cancelled):
        timing.warm_up(clock.infer, WARM, lambda: True)
    assert clock.runs == 0


def test_steady_means_ten_within_two_percent_of_the_ten_before():
    assert timing.is_steady([100] * 10 + [102] * 10)
    assert timing.is_steady([100] * 10 + [98] * 10)
    assert not timing.is_steady([100] * 10 + [103] * 10)
    assert not timing.is_steady([100] * 19)
    assert timing.is_steady([9999] * 50 + [100] * 20)


@given(st.lists(st.integers(1, 10**9), min_size=20, max_size=20))
def test_an_outlier_or_two_do_not_make_latency_unsteady(values):
    steady = [1000] * 20
    assert timing.is_steady(steady[:8] + values[:2] + steady[:8] + values[2:4])
