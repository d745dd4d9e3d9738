"""What a call wants, on top of what the file wants; what cannot be is refused before anything is done."""

import pytest

from edgeprune import config
from edgeprune.errors import UsageError
from edgeprune.flow import Goal, candidates
from edgeprune.flow.goal import check_measurable
from edgeprune.values.device import DeviceProfile


@pytest.fixture
def loaded(project):
    return config.load(project / "edgeprune.toml")


def test_a_callers_bound_replaces_the_files_on_the_same_side(loaded):
    goal = Goal.of(loaded, constraints=["accuracy_drop <= 1pt", "latency <= 5ms"])
    assert [str(c) for c in goal.constraints] == ["accuracy_drop <= 1 pt", "latency <= 5 ms"]


def test_without_flags_the_file_decides(loaded):
    goal = Goal.of(loaded)
    assert goal.minimize == ("latency", "size")
    assert [str(c) for c in goal.constraints] == ["accuracy_drop <= 20 pt"]
    assert goal.plan == "quick"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"minimize": ["speed"]}, "Cannot minimise 'speed'"),
        ({"constraints": ["latency <= 5mss"]}, "5mss"),
        ({"constraints": ["latnecy <= 5ms"]}, "latnecy"),
        ({"device_time": "0s"}, "no time"),
        ({"device_time": "soon"}, "soon"),
    ],
)
def test_a_malformed_wish_is_refused_at_once(loaded, flags, words):
    with pytest.raises(UsageError, match=words) as caught:
        Goal.of(loaded, **flags)
    assert caught.value.next_step


def test_energy_is_not_bounded_on_a_board_without_a_meter(loaded):
    goal = Goal.of(loaded, constraints=["energy <= 5mJ"])
    with pytest.raises(UsageError, match="no meter"):
        check_measurable(goal, DeviceProfile("bare", "local://"))
    check_measurable(goal, DeviceProfile("metered", "local://", meter="onboard"))


def test_the_dense_network_comes_first_and_survives_every_budget(loaded):
    listed = candidates(loaded, Goal.of(loaded))
    assert listed[0].prune is None
    assert len(listed) == 2
    for budget in ({"trials": 1}, {"device_time": "1s"}):
        assert candidates(loaded, Goal.of(loaded, **budget)) == listed[:1]


def test_candidates_are_every_method_ratio_format_precision_and_thread_count(project):
    toml = project / "edgeprune.toml"
    text = toml.read_text("utf-8").replace("ratios = [0.5]", "ratios = [0.3, 0.5]\nthreads = [1, 2]")
    toml.write_text(text.replace('["fp32"]', '["fp32", "int8"]'), "utf-8")
    loaded = config.load(toml)
    listed = candidates(loaded, Goal.of(loaded))
    assert len(listed) == len(set(listed)) == 3 * 1 * 2 * 2
    assert {c.plan.threads for c in listed} == {1, 2}
