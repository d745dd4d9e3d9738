"""Fronts and choices worked by hand, then as laws over any measurements."""

from __future__ import annotations

import itertools
import random
from array import array
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeprune.choosing import pareto
from edgeprune.choosing.axes import ACCURACY, Axis, axes_of
from edgeprune.choosing.dominance import dominates, uncovered
from edgeprune.choosing.ties import decision
from edgeprune.errors import EXIT_INCONCLUSIVE, EXIT_MISSED, ChoiceError, Inconclusive, UsageError
from edgeprune.values.artifact import Artifact
from edgeprune.values.choice import Constraint
from edgeprune.values.measurement import EnergyStats, LatencyStats, Measurement
from edgeprune.values.plan import BenchPlan
from edgeprune.values.spec import ExportSpec, PruneSpec
from edgeprune.values.variant import Variant

MS, KIB = 1e-3, 1024


def measured(
    ratio: float | None = 0.5, *, ms: float = 1.0, ci: tuple[float, float] | None = None, kib: float = 100,
    accuracy: float | None = 0.9, energy: tuple[float, float] | None = None, boundary: str = "board",
    form: str = "onnx", precision: str = "fp32", threads: int = 1, verdict: str = "ok", why: str = "",
    p95_ms: float | None = None, memory: int | None = None, device: str = "d1", missing: dict | None = None,
) -> Measurement:  # fmt: skip
    """One measurement; latency in ms with its interval (5 % wide unless told), energy in mJ with its uncertainty."""
    low, high = ci or (ms * 0.975, ms * 1.025)
    sha = f"{hash((ratio, form, precision)) & (2**64 - 1):016x}" * 4
    artifact = Artifact(Path(f"{ratio}.{form}"), form, precision, sha, round(kib * KIB), (), ())
    prune = None if ratio is None else PruneSpec(criterion="taylor", ratio=ratio)
    variant = Variant(prune, ExportSpec(form, precision), artifact, 1, 1, accuracy)
    p95 = None if p95_ms is None else p95_ms * MS
    latency = LatencyStats(500, ms * MS, (low * MS, high * MS), None, p95, None, ms * MS, low * MS, high * MS,
                           0.1, 0.0, 0, 0.1, 0.1, array("q"))  # fmt: skip
    spent = energy and EnergyStats(energy[0] * MS, energy[0] * MS, "rail", boundary, "A", energy[1] * MS)
    plan = BenchPlan(threads=threads)
    return Measurement(artifact, device, device, plan, latency, memory, None, verdict, why, spent,
                       missing or {}, {}, variant)  # fmt: skip


DENSE = measured(None, ms=2.0, kib=400, accuracy=0.92)


# --- the front


def test_slower_bigger_and_less_accurate_is_dominated():
    good, bad = measured(0.5, ms=1.0, kib=100, accuracy=0.9), measured(0.25, ms=1.5, kib=200, accuracy=0.89)
    front = pareto([bad, good])
    assert front.front == (good,) and front.dominated == (bad,)


def test_each_that_is_best_at_something_stays_on_the_front():
    fast = measured(0.1, ms=1.0, kib=300, accuracy=0.8)
    small = measured(0.2, ms=2.0, kib=100, accuracy=0.8)
    accurate = measured(0.3, ms=2.0, kib=300, accuracy=0.9)
    assert pareto([accurate, small, fast]).front == (fast, small, accurate)


def test_accuracy_counts_as_an_axis_without_being_named():
    worse, better = measured(0.1, accuracy=0.9), measured(0.2, accuracy=0.9001)
    assert pareto([worse, better], minimize=["latency"]).front == (better,)


def test_overlapping_latency_is_a_tie_that_size_breaks():
    slower_but_smaller = measured(0.7, ms=1.02, ci=(0.99, 1.05), kib=50)
    faster = measured(0.5, ms=1.0, ci=(0.97, 1.01), kib=100)
    assert pareto([faster, slower_but_smaller]).front == (slower_but_smaller,)


def test_touching_intervals_tie_and_disjoint_ones_do_not():
    axis = Axis("latency")
    a, touching, beyond = (measured(ms=ci[1], ci=ci) for ci in [(0.9, 1.1), (1.1, 1.3), (1.1001, 1.3)])
    assert not axis.better(a, touching) and axis.no_worse(touching, a)
    assert axis.better(a, beyond) and not axis.no_worse(beyond, a)


def test_sizes_within_one_percent_tie():
    axis = Axis("size")
    a, tied, bigger = measured(kib=1000), measured(kib=1009), measured(kib=1011)
    assert not axis.better(a, tied) and axis.no_worse(tied, a)
    assert axis.better(a, bigger) and not axis.no_worse(bigger, a)


def test_equal_measurements_all_stay():
    twins = [measured(ratio) for ratio in (0.1, 0.2, 0.3)]
    assert len(pareto(twins).front) == 3


def test_inconclusive_measurement_pushes_nothing_off_the_front():
    noisy = measured(0.7, ms=0.5, kib=50, verdict="inconclusive")
    solid = measured(0.5)
    assert solid in pareto([noisy, solid]).front


def test_clearly_fastest_stays_when_ties_chain():
    # f ~ w ~ v in latency, f clearly faster than v; sizes fall from f to v: w beats f, v beats w, v does not beat f.
    f = measured(0.1, ms=1.1, ci=(1.0, 1.2), kib=300)
    w = measured(0.2, ms=1.25, ci=(1.1, 1.4), kib=200)
    v = measured(0.3, ms=1.45, ci=(1.3, 1.6), kib=100)
    front = pareto([f, w, v])
    assert front.front == (f, v) and front.dominated == (w,)
    assert front.choose().winner is f


def test_front_is_not_empty_when_dominance_runs_in_a_circle():
    # Each one dominates the next: two uncertain axes can do that.
    wide = 9.0
    circle = [
        measured(0.1, ms=1, ci=(0.9, 1.1), energy=(9, 0.1)),
        measured(0.2, ms=2, ci=(1.9, 2.1), energy=(5, 4.5)),
        measured(0.3, ms=3, ci=(2.9, 3.1), energy=(1, 0.1)),
        measured(0.4, ms=2, ci=(1.0, wide), energy=(5, 0.1)),
    ]
    axes = axes_of(circle, ["latency", "energy"]).all
    assert all(dominates(a, b, axes) for a, b in itertools.pairwise([*circle, circle[0]]))
    assert len(pareto(circle, minimize=["latency", "energy"]).front) == 4


# --- what is missing


def test_objective_that_nobody_measured_is_skipped_with_its_reason():
    blind = measured(missing={"energy": "no meter on this board"})
    front = pareto([blind])
    assert front.objectives == ("latency", "size")
    assert front.skipped == {"energy": "not measured by any: no meter on this board"}
    assert "energy was not ranked: not measured by any: no meter on this board" in front.choose().reason


def energies(*parts, source="rail", fidelity="onboard"):
    """Measurements whose energy is (mJ, uncertainty, repeatability)."""
    made = [measured(0.1 * (number + 1), energy=part[:2]) for number, part in enumerate(parts)]
    return [
        replace(m, energy=replace(m.energy, source=source, fidelity=fidelity, repeatability_j=part[2] * MS))
        for m, part in zip(made, parts, strict=True)
    ]


def test_energies_of_one_meter_are_told_apart_by_what_repeats():
    better, worse = energies((1.0, 0.1, 0.005), (1.05, 0.1, 0.005))
    front = pareto([better, worse], minimize=["energy"])
    assert front.choose().winner is better
    assert front.dominated == (worse,)


def test_energies_of_two_meters_carry_the_scale_and_zero_of_both():
    better, worse = energies((1.0, 0.1, 0.005), (1.05, 0.1, 0.005))
    other = replace(worse, energy=replace(worse.energy, source="other"))
    assert pareto([better, other], minimize=["energy"]).dominated == ()


def test_energies_of_different_tiers_are_not_ranked():
    ours = [*energies((1.0, 0.1, 0.005)), *energies((2.0, 0.1, 0.005), fidelity="external")]
    assert pareto(ours).skipped["energy"] == "measured by meters of different tiers: external, onboard"


def test_energy_at_different_boundaries_is_not_ranked():
    front = pareto([measured(0.1, energy=(1, 0.1)), measured(0.2, energy=(2, 0.1), boundary="cpu rail")])
    assert "different boundaries: board, cpu rail" in front.skipped["energy"]
    assert len(front.front) == 2


def test_the_unmeasured_lose_ties_and_are_told_of():
    blind, metered = measured(0.1, kib=10), measured(0.2, energy=(5, 0.1), kib=20)
    front = pareto([blind, metered], minimize=["latency", "energy", "size"])
    assert front.partial == {"energy": "energy was not measured for 1 of 2, which lose ties on it"}
    assert set(map(id, front.front)) == {id(blind), id(metered)}
    choice = front.choose()
    assert choice.winner is metered
    assert "so energy decided, energy was not measured for it" in choice.reason
    assert "lose ties on it" in choice.reason


def test_nothing_to_rank_by_is_inconclusive():
    with pytest.raises(Inconclusive, match="energy not measured by any"):
        pareto([measured()], minimize=["energy"]).choose()


@pytest.mark.parametrize(
    ("given_measurements", "options", "said"),
    [
        ([], {}, "no measurements"),
        ([measured()], {"minimize": []}, "nothing to minimize"),
        ([measured()], {"minimize": ["speed"]}, "speed"),
        ([measured()], {"constraints": ["latency < 3"]}, "not a constraint"),
        ([measured()], {"constraints": [Constraint("speed", "<=", 1)]}, "speed"),
        ([measured(), measured(device="d2")], {}, "several devices"),
    ],
)
def test_bad_use_is_refused(given_measurements, options, said):
    with pytest.raises(UsageError, match=said):
        pareto(given_measurements, **options)


# --- the baseline


def test_baseline_is_the_dense_fp32_onnx_else_the_next_plainest():
    onnx = measured(None, ms=3)
    lite = measured(None, ms=1, form="tflite")
    int8 = measured(None, ms=0.5, precision="int8")
    pruned = measured(0.5)
    assert pareto([int8, pruned, lite, onnx]).baseline is onnx
    assert pareto([int8, pruned, lite]).baseline is lite
    assert pareto([int8, pruned]).baseline is int8
    assert pareto([pruned]).baseline is None
    assert pareto([pruned, onnx], baseline=lite).baseline is lite


def test_baseline_is_the_faster_of_two_equals():
    slow, fast = measured(None, ms=3), measured(None, ms=2, threads=2)
    assert pareto([slow, fast]).baseline is fast


def test_among_files_that_are_no_variants_the_first_is_the_baseline():
    first, second = (replace(m, variant=None) for m in (measured(0.1, ms=1), measured(0.2, ms=2)))
    assert pareto([first, second]).baseline is first
    assert pareto([second, first]).baseline is second


# --- the choice


def test_fastest_that_keeps_the_constraints_wins_and_the_reason_gives_the_figures():
    winner = measured(0.5, ms=1.0, kib=100, accuracy=0.917)
    too_lossy = measured(0.7, ms=0.5, kib=50, accuracy=0.908)
    second = measured(0.25, ms=1.5, kib=200, accuracy=0.919)
    choice = pareto([DENSE, second, too_lossy, winner], constraints=["accuracy_drop <= 0.5pt"]).choose()
    assert choice.winner is winner and choice.runner_up is second and choice.baseline is DENSE
    assert choice.deciding == Constraint.parse("accuracy_drop <= 0.5pt")
    assert choice.reason == (
        "channel-taylor 50 % onnx fp32 wins: p50 1 ms, 2.00 times as fast as dense onnx fp32 (2 ms), "
        "size 100 KiB instead of 400 KiB, accuracy 91.70 %, 0.30 points less. "
        "accuracy_drop <= 0.5 pt kept channel-taylor 70 % onnx fp32 out (p50 500 µs): "
        "its accuracy_drop is 1.20 pt, 0.70 pt too much. "
        "The runner-up is channel-taylor 25 % onnx fp32 (p50 1.5 ms): "
        "1 ms against 1.5 ms, a difference beyond the uncertainty. "
        "Note: energy was not ranked: not measured by any."
    )


def test_drop_of_exactly_the_bound_is_admitted():
    edge = measured(0.5, accuracy=0.92 - 0.005)
    assert pareto([DENSE, edge], constraints=["accuracy_drop <= 0.5pt"]).choose().winner is edge


def test_no_constraint_decides_when_the_best_keeps_them_all():
    choice = pareto([DENSE, measured(0.5)], constraints=["accuracy >= 50%"]).choose()
    assert choice.deciding is None and "kept" not in choice.reason


def test_tie_in_latency_passes_to_size():
    big, small = measured(0.5, ms=1.0, kib=100, accuracy=0.91), measured(0.7, ms=1.01, kib=60, accuracy=0.9)
    choice = pareto([big, small]).choose()
    assert choice.winner is small and choice.runner_up is big
    assert "the two tie on p50 within the uncertainty, so size decided, 60 KiB against 100 KiB" in choice.reason


def test_tie_in_everything_else_passes_to_accuracy():
    low, high = measured(0.5, accuracy=0.90), measured(0.7, accuracy=0.91)
    choice = pareto([low, high]).choose()
    assert choice.winner is high
    assert "so accuracy decided, 91.00 % against 90.00 %" in choice.reason


def twin(ratio=0.5, *, size_bytes=102400, params=1, sha="0", **options):
    """A measurement that ties with every other twin."""
    m = measured(ratio, **options)
    artifact = replace(m.artifact, size_bytes=size_bytes, sha256=sha * 64)
    return replace(m, artifact=artifact, variant=replace(m.variant, artifact=artifact, params=params))


@pytest.mark.parametrize(
    ("better", "worse", "words"),
    [
        ({"size_bytes": 102300, "params": 9}, {}, "so the smaller file decided, 102300 against 102400 bytes."),
        ({"params": 38}, {"params": 40}, "so the fewer parameters decided, 38 against 40."),
        ({"params": 38}, {"params": None}, "so the fewer parameters decided, 38 against unknown."),
        ({"ratio": 0.2}, {"ratio": 0.3}, "so the order of their names decided."),
        ({"precision": "fp16"}, {"precision": "int8"}, "so the order of their names decided."),
        ({"threads": 1}, {"threads": 2}, "so the order of their names decided."),
    ],
)
def test_perfect_tie_falls_to_what_a_user_can_look_up_and_not_to_a_hash(better, worse, words):
    for shas in itertools.permutations("0123456789abcdef", 2):
        pair = [twin(**options, sha=sha) for options, sha in zip((better, worse), shas, strict=True)]
        choice = pareto(pair).choose()
        assert choice.winner is pair[0]
        assert words in choice.reason


def test_of_measurements_with_one_name_the_same_is_chosen_in_any_order():
    twins = [twin(sha=sha) for sha in "abc"]
    winners = {pareto(order).choose().winner.id for order in itertools.permutations(twins)}
    assert len(winners) == 1
    assert "order of their ids decided" in pareto(twins).choose().reason


def test_runner_up_that_would_be_preferred_is_not_said_to_have_lost_by_that():
    assert decision(twin(0.3), twin(0.2)) == ", but another one is clearly better than it"


def test_order_of_the_objectives_is_the_order_of_their_weight():
    fast, small = measured(0.5, ms=1.0, kib=100), measured(0.7, ms=2.0, kib=50)
    assert pareto([fast, small], minimize=["latency", "size"]).choose().winner is fast
    assert pareto([fast, small], minimize=["size", "latency"]).choose().winner is small


def test_lower_energy_breaks_a_tie_beyond_its_uncertainty():
    thrifty = measured(0.5, energy=(4.0, 0.2), kib=200)
    hungry = measured(0.7, energy=(5.0, 0.2), kib=100)
    assert pareto([hungry, thrifty]).choose().winner is thrifty
    unsure = measured(0.7, energy=(4.3, 0.2), kib=100)
    assert pareto([unsure, thrifty]).choose().winner is unsure


def test_winner_slower_than_the_baseline_is_said_to_be_so():
    slow = measured(0.5, ms=2.5, kib=10, accuracy=0.93)
    assert "slower than dense onnx fp32 by 25.0 %" in pareto([DENSE, slow], minimize=["size"]).choose().reason


def test_dense_network_may_win():
    choice = pareto([DENSE, measured(0.5, ms=3, kib=500)]).choose()
    assert choice.winner is DENSE and "the baseline itself" in choice.reason


def test_bound_on_what_was_not_measured_is_not_kept():
    tail_known, fast = measured(0.5, ms=1.0, p95_ms=1.2), measured(0.7, ms=0.5)
    choice = pareto([tail_known, fast], constraints=["p95_latency <= 2ms"]).choose()
    assert choice.winner is tail_known
    assert "its p95_latency was not measured" in choice.reason


def test_drop_without_a_baseline_is_not_measured():
    with pytest.raises(ChoiceError, match="accuracy_drop was not measured"):
        pareto([measured(0.5)], constraints=["accuracy_drop <= 1pt"]).choose()


def test_nothing_admitted_names_the_constraint_and_the_nearest_miss():
    near, far = measured(0.5, ms=1.2), measured(0.25, ms=1.5)
    with pytest.raises(ChoiceError) as caught:
        pareto([far, near], constraints=["latency <= 1ms", "size <= 1MiB"]).choose()
    assert caught.value.exit_code == EXIT_MISSED
    assert caught.value.message == (
        "None of 2 variants keeps latency <= 1 ms. Nearest: channel-taylor 50 % onnx fp32, "
        "whose latency is 1.2 ms, 200 µs too much."
    )
    assert "Relax latency <= 1 ms" in caught.value.next_step


def test_constraints_that_only_clash_together_are_all_named():
    fast, small = measured(0.5, ms=0.5, kib=200), measured(0.25, ms=2.0, kib=50)
    with pytest.raises(ChoiceError, match="keeps latency <= 1 ms and size <= 100 KiB"):
        pareto([fast, small], constraints=["latency <= 1ms", "size <= 100KiB"]).choose()


def test_inconclusive_measurement_cannot_win():
    noisy, solid = measured(0.7, ms=0.5, verdict="inconclusive"), measured(0.5)
    choice = pareto([noisy, solid]).choose()
    assert choice.winner is solid and choice.runner_up is None
    assert "No other conclusive measurement" in choice.reason


def test_only_inconclusive_measurements_carry_no_choice():
    noisy = measured(verdict="inconclusive", why="41 of 130 runs")
    with pytest.raises(Inconclusive, match="41 of 130 runs") as caught:
        pareto([noisy]).choose()
    assert caught.value.exit_code == EXIT_INCONCLUSIVE


def test_unstable_measurement_may_win_but_says_so():
    choice = pareto([measured(0.7, ms=0.5, verdict="unstable", why="two modes"), measured(0.5)]).choose()
    assert choice.winner.verdict == "unstable"
    assert "the winner's measurement is unstable (two modes)" in choice.reason


def test_variants_that_differ_only_in_threads_are_told_apart():
    one, two = measured(0.5, ms=2.0), measured(0.5, ms=1.0, threads=2)
    choice = pareto([one, two]).choose()
    assert choice.winner is two and "channel-taylor 50 % onnx fp32 (2 threads) wins" in choice.reason


# --- laws

FEW = st.sampled_from([1.0, 1.1, 1.2, 1.5, 2.0, 3.0])
MEASUREMENTS = st.lists(
    st.builds(
        lambda ratio, ms, left, right, kib, accuracy, energy, verdict: measured(
            ratio, ms=ms, ci=(ms - left, ms + right), kib=kib, accuracy=accuracy, energy=energy, verdict=verdict
        ),
        st.integers(1, 99).map(lambda percent: percent / 100) | st.none(),
        FEW,
        st.sampled_from([0.01, 0.1, 0.3]),
        st.sampled_from([0.01, 0.1, 1.0]),
        st.sampled_from([100.0, 100.5, 101.5, 200.0]),
        st.sampled_from([None, 0.9, 0.91, 0.95]),
        st.none() | st.tuples(FEW, st.sampled_from([0.01, 0.2, 1.0])),
        st.sampled_from(["ok", "ok", "ok", "unstable", "inconclusive"]),
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda measurement: measurement.id,  # a run measures a variant by a plan once
)
GOALS = st.sampled_from([("latency", "energy", "size"), ("latency",), ("size", "latency"), ("energy", "latency")])


def covers(a: Measurement, b: Measurement, among: list[Measurement], axes: tuple[Axis, ...]) -> bool:
    return dominates(a, b, axes) and all(dominates(c, b, axes) for c in among if dominates(c, a, axes))


@given(MEASUREMENTS, GOALS)
def test_dominance_is_irreflexive_and_asymmetric(some, minimize):
    axes = axes_of(some, minimize).all
    for a, b in itertools.product(some, repeat=2):
        assert not (dominates(a, b, axes) and dominates(b, a, axes))


@given(MEASUREMENTS, GOALS)
def test_covering_is_a_strict_partial_order(some, minimize):
    axes = axes_of(some, minimize).all
    pairs = {(i, j) for i, a in enumerate(some) for j, b in enumerate(some) if covers(a, b, some, axes)}
    assert all((j, i) not in pairs for i, j in pairs)
    assert all((i, m) in pairs for i, j in pairs for k, m in pairs if j == k)


@given(MEASUREMENTS, GOALS)
def test_front_is_never_empty_and_everything_off_it_is_covered_from_it(some, minimize):
    axes = axes_of(some, minimize).all
    front, rest = uncovered(some, axes)
    assert front and len(front) + len(rest) == len(some)
    assert not any(covers(a, b, some, axes) for a in some for b in front)
    assert all(any(covers(a, b, some, axes) for a in front) for b in rest)


@given(MEASUREMENTS, GOALS)
def test_front_is_exactly_the_undominated_wherever_dominance_chains(some, minimize):
    axes = axes_of(some, minimize).all
    beats = {(i, j) for i, a in enumerate(some) for j, b in enumerate(some) if dominates(a, b, axes)}
    undominated = [b for j, b in enumerate(some) if not any((i, j) in beats for i in range(len(some)))]
    front, _ = uncovered(some, axes)
    assert all(any(b is member for member in front) for b in undominated)
    if all((i, m) in beats for i, j in beats for k, m in beats if j == k):
        assert len(front) == len(undominated)


@given(MEASUREMENTS, GOALS, st.randoms())
def test_order_of_the_input_does_not_matter(some, minimize, rng: random.Random):
    shuffled = rng.sample(some, len(some))
    first, second = pareto(some, minimize=minimize), pareto(shuffled, minimize=minimize)

    def ids(members):
        return sorted(map(id, members))

    assert ids(first.front) == ids(second.front)
    assert (first.baseline is second.baseline) or first.baseline == second.baseline
    assert outcome(first) == outcome(second)


def outcome(front) -> object:
    try:
        choice = front.choose()
    except (ChoiceError, Inconclusive) as error:
        return str(error)
    return choice.winner, choice.runner_up, choice.reason


@given(MEASUREMENTS, GOALS)
def test_winner_ties_with_the_best_of_the_first_objective_and_is_on_the_front(some, minimize):
    front = pareto([m for m in some if m.verdict != "inconclusive"] or [measured()], minimize=minimize)
    assume(front.objectives)
    winner, axis = front.choose().winner, Axis(front.objectives[0])
    assert any(winner is member for member in front.front)
    intervals = [interval for m in (*front.front, *front.dominated) if (interval := axis.interval(m))]
    best = min(intervals, key=lambda interval: interval.point)
    assert axis.interval(winner).low <= best.high


@settings(max_examples=200)
@given(MEASUREMENTS, GOALS, st.sampled_from(["latency <= 1.2ms", "accuracy_drop <= 1pt", "size <= 100.7KiB"]))
def test_winner_keeps_the_constraints_or_the_refusal_is_right(some, minimize, text):
    bound = Constraint.parse(text)
    front = pareto(some, minimize=minimize, constraints=[bound])
    base = front.baseline.accuracy if front.baseline else None

    def keeps(m: Measurement) -> bool:
        drop = None if base is None or m.accuracy is None else base - m.accuracy
        value = drop if bound.quantity == "accuracy_drop" else m.quantity(bound.quantity)
        return value is not None and bound.admits(value)

    try:
        choice = front.choose()
    except ChoiceError:
        assert not any(keeps(m) for m in some)
    except Inconclusive:
        assert not front.objectives or all(m.verdict == "inconclusive" for m in some if keeps(m))
    else:
        assert keeps(choice.winner) and choice.winner.verdict != "inconclusive"
        assert choice.runner_up is None or keeps(choice.runner_up)
        assert 2 <= choice.reason.count(". ") + 1 <= 4


def test_accuracy_compares_to_a_trillionth():
    a, b = measured(accuracy=0.9), measured(accuracy=0.9 + 5e-13)
    assert not ACCURACY.better(b, a) and not ACCURACY.better(a, b)
    assert ACCURACY.better(measured(accuracy=0.9 + 1e-11), a)
