"""Verdicts of made-up evidence; tests/measuring/test_bench.py has those of the true agent."""

import dataclasses

import numpy as np
import pytest

from edgeprune.measuring import evidence
from edgeprune.measuring.verdict import judge
from edgeprune.values.board_state import BoardState
from edgeprune.values.plan import BenchPlan

PLAN = BenchPlan(min_runs=12, repeats=2)
QUIET = BoardState(
    at_ns=0, temperatures_c={"cpu-thermal": 50.0}, governors={"0": "performance"}, clocks_hz={"0": 1.5e9}, throttle={},
    power_mode=None, cpus=4, busy_s=100.0, stolen_s=0.0, own_s=1.0, ran_s=1.0, waited_s=0.0, policy="0",
)  # fmt: skip


def steady(seed=0, centre=1e6, n=50):
    return np.random.default_rng(seed).normal(centre, centre / 50, n)


def test_repeats_that_agree_are_ok(repeat):
    assert judge(PLAN, [repeat(steady(0)), repeat(steady(1), 1)]).name == "ok"


def test_medians_over_ten_percent_apart_are_unstable(repeat):
    for centre, name in ((1.08e6, "ok"), (1.13e6, "unstable"), (0.87e6, "unstable")):
        verdict = judge(PLAN, [repeat(steady(0)), repeat(steady(1, centre), 1)])
        assert verdict.name == name
        assert (name == "ok") == (verdict.reason == "")
    assert "apart" in verdict.reason


def test_latencies_that_spread_too_far_are_unstable(repeat):
    two_speeds = np.where(np.arange(50) % 2, 1e6, 1.5e6)
    verdict = judge(PLAN, [repeat(two_speeds), repeat(two_speeds, 1)])
    assert verdict.name == "unstable"
    assert "Half of the samples" in verdict.reason


def test_a_few_spikes_do_not_make_latency_unstable(repeat):
    spiky = steady()
    spiky[:5] *= 40
    assert judge(PLAN, [repeat(spiky), repeat(steady(1), 1)]).name == "ok"


def test_repeats_of_two_boots_are_not_put_together(repeat):
    verdict = judge(PLAN, [repeat(steady()), repeat(steady(1), 1, boot_id="other")])
    assert verdict.name == "inconclusive"
    assert "2 boots" in verdict.reason


@pytest.mark.parametrize(
    ("plan", "counts", "said"),
    [
        (BenchPlan(repeats=2, min_runs=120), (50, 50), "Only 100 of at least 120 runs"),
        (BenchPlan(repeats=3, min_runs=12), (50, 50), "Only 2 of 3 repeats"),
        (BenchPlan(repeats=2, min_runs=2), (5, 5), "too few for a median"),
    ],
)
def test_missing_evidence_is_inconclusive_and_says_what(repeat, plan, counts, said):
    verdict = judge(plan, [repeat(steady(n=count), index) for index, count in enumerate(counts)])
    assert verdict.name == "inconclusive"
    assert said in verdict.reason


def watched(repeat, index=0, **last):
    """A repeat of one second with a reading before, one in the middle and one after; `last` is what changed then."""
    after = {"at_ns": 10**9, "busy_s": 101.0, "own_s": 2.0, "ran_s": 2.0} | last
    states = QUIET, dataclasses.replace(QUIET, at_ns=5 * 10**8), dataclasses.replace(QUIET, **after)
    return repeat(steady(index), index, board=states, timed_from_ns=10**8)


def both(repeat, **last):
    return [watched(repeat, index, **last) for index in range(2)]


def test_a_quiet_board_is_ok(repeat):
    assert judge(PLAN, both(repeat)).name == "ok"
    assert evidence.others_cores(both(repeat)) == 0.0
    assert evidence.waited_ratio(both(repeat)) == 0.0


def test_a_worker_that_waited_for_a_processor_is_inconclusive(repeat):
    verdict = judge(PLAN, both(repeat, ran_s=1.6, waited_s=0.4))
    assert verdict.name == "inconclusive"
    assert "waited for a processor for 40 %" in verdict.reason


def test_a_worker_that_waited_a_little_is_unstable(repeat):
    assert judge(PLAN, both(repeat, ran_s=1.9, waited_s=0.1)).name == "unstable"
    assert judge(PLAN, both(repeat, ran_s=1.97, waited_s=0.03)).name == "ok"


def test_a_plan_may_take_any_load_and_says_so(repeat):
    verdict = judge(dataclasses.replace(PLAN, max_wait_ratio=1.0), both(repeat, ran_s=1.4, waited_s=0.6))
    assert verdict.name == "unstable"
    assert "60 %" in verdict.reason


def test_where_waiting_cannot_be_read_others_that_leave_no_processor_are_a_load(repeat):
    for others, name in ((2.0, "ok"), (3.8, "inconclusive")):
        last = {"waited_s": None, "ran_s": None, "busy_s": 101.0 + others}
        assert judge(PLAN, both(repeat, **last)).name == name


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"raspberry_pi": 0}, {"raspberry_pi": 0x50005}, "under-voltage, throttling"),
        ({"raspberry_pi": 0x50000}, {"raspberry_pi": 0x50000}, ""),
        ({"raspberry_pi": 0x50000}, {"raspberry_pi": 0xD0000}, "soft temperature limit"),
        ({"event:oc3": 7}, {"event:oc3": 10}, "3 events of oc3"),
        ({"event:oc3": 7}, {"event:oc3": 7}, ""),
        ({"cooling:cpufreq-cpu0": 0}, {"cooling:cpufreq-cpu0": 2}, "cooling by cpufreq-cpu0"),
        ({}, {}, ""),
    ],
)
def test_throttling_counts_if_it_came_while_inferences_were_timed(repeat, before, after, said):
    states = dataclasses.replace(QUIET, throttle=before), dataclasses.replace(QUIET, at_ns=10**9, throttle=after)
    repeats = [repeat(steady(index), index, board=states, timed_from_ns=10**8) for index in range(2)]
    verdict = judge(PLAN, repeats)
    assert said in verdict.reason
    assert verdict.name == ("throttled" if said else "ok")


def test_throttling_before_the_first_sample_does_not_count(repeat):
    states = [dataclasses.replace(QUIET, at_ns=t, throttle={"event:oc1": n}) for t, n in ((0, 0), (5, 4), (20, 4))]
    assert not evidence.throttling([repeat(steady(), board=tuple(states), timed_from_ns=10)])


def test_clocks_that_moved_are_not_pinned(repeat):
    verdict = judge(PLAN, both(repeat, clocks_hz={"0": 1.2e9}))
    assert verdict.name == "clocks_unpinned"
    assert "between 1.20 and 1.50 GHz" in verdict.reason
    assert judge(PLAN, both(repeat, clocks_hz={"0": 1.46e9})).name == "ok"


def test_the_clock_that_counts_is_that_of_the_workers_processor(repeat):
    clocks = {"clocks_hz": {"0": 1.5e9, "4": 0.6e9}}
    assert judge(PLAN, both(repeat, **clocks)).name == "ok"
    assert judge(PLAN, both(repeat, **clocks, policy="4")).name == "clocks_unpinned"
    assert judge(PLAN, both(repeat, **clocks, policy=None)).name == "ok"


def test_the_gravest_verdict_counts_and_every_reason_is_told(repeat):
    last = {"clocks_hz": {"0": 1.2e9}, "throttle": {"cooling:cpufreq-cpu0": 1}, "ran_s": 1.5, "waited_s": 0.5}
    verdict = judge(PLAN, both(repeat, **last))
    assert verdict.name == "inconclusive"
    assert all(word in verdict.reason for word in ("waited", "cooling", "GHz"))
    last.update(ran_s=2.0, waited_s=0.0)
    assert judge(PLAN, both(repeat, **last)).name == "throttled"


def test_without_readings_the_samples_alone_decide_and_the_evidence_is_unknown(repeat):
    repeats = [repeat(steady(index), index) for index in range(2)]
    assert judge(PLAN, repeats).name == "ok"
    words = evidence.in_words(repeats)
    assert set(words) == {"clock", "temperature", "throttling", "load_by_others", "waited"}
    assert set(words.values()) == {"unknown"}


def test_evidence_in_words(repeat):
    last = {"temperatures_c": {"cpu-thermal": 61.25}, "throttle": {"event:oc1": 0}, "busy_s": 101.5}
    assert evidence.in_words(both(repeat, **last)) == {
        "governor": "performance", "clock": "1.50 to 1.50 GHz", "temperature": "50.0 to 61.2 °C", "throttling": "none",
        "load_by_others": "0.50 processors", "waited": "0.0 %",
    }  # fmt: skip


def test_a_latency_that_drifts_from_minute_to_minute_is_unstable(repeat):
    plan = BenchPlan(min_runs=12, repeats=1)
    slower = [1.0e9] * 70 + [1.15e9] * 60
    verdict = judge(plan, [repeat(slower)])
    assert verdict.name == "unstable"
    assert "minutes" in verdict.reason
    assert judge(plan, [repeat([1.0e9] * 70 + [1.05e9] * 60)]).name == "ok"


def test_a_rate_that_the_board_cannot_keep_is_inconclusive(repeat):
    plan = dataclasses.replace(PLAN, rate_hz=1000.0)
    verdict = judge(plan, [repeat(steady(index, 1.1e6), index) for index in range(2)])
    assert verdict.name == "inconclusive"
    assert "cannot keep 1000 inferences a second" in verdict.reason
    assert judge(plan, [repeat(steady(index, 0.5e6), index) for index in range(2)]).name == "ok"


def test_clocks_may_fall_while_a_board_idles_between_inferences(repeat):
    idle = both(repeat, clocks_hz={"0": 0.6e9})
    assert judge(dataclasses.replace(PLAN, rate_hz=10.0), idle).name == "ok"
