import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import board_models
import numpy as np
import pytest

from edgeprune.deploying import install, installation, releases, remove, rollback, status
from edgeprune.deploying.golden import make_golden
from edgeprune.deploying.names import new_release_id
from edgeprune.devices import connect
from edgeprune.errors import DataError, DeviceError, ModelError, ReleaseError, RemoteError, UnknownName, UsageError
from edgeprune.values.choice import Choice
from edgeprune.values.plan import BenchPlan

PLAN = BenchPlan.named("quick")


def installed(root, model="net"):
    """What `current` holds, read past the agent."""
    link = Path(root, "models", model, "current")
    return (link / "model.onnx").read_bytes() if link.is_symlink() else None


def content(measurement):
    return measurement.artifact.path.read_bytes()


def state(root, model="net"):
    """Links and releases of a model, as they lie on the disk."""
    folder = Path(root, "models", model)
    links = {name: str((folder / name).readlink()) for name in ("current", "previous") if (folder / name).is_symlink()}
    return links, sorted(path.name for path in (folder / "releases").glob("[0-9]*"))


def manifest(root, release):
    return json.loads(Path(release.path, "manifest.json").read_text())


def test_an_installed_model_is_current_whole_and_checked(session, root, models):
    winner, golden = models()
    events = []
    release = install(session, winner, model="net", golden=golden, manifest={"note": "hello"}, listener=events.append)
    assert (release.model, release.current, release.previous) == ("net", True, None)
    assert release.sha256 == winner.artifact.sha256
    assert release.id.endswith(winner.artifact.sha256[:8])
    assert release.checked_utc.endswith("Z")
    assert installed(root) == content(winner)
    facts = manifest(root, release)
    assert (facts["note"], facts["golden_source"], facts["runtime"]) == ("hello", "host", "onnxruntime")
    assert facts["label"] == release.label == "linear4.onnx"
    assert [event.message for event in events] == [
        "preflight", "push", "golden", "stage", "check", "switch", "health", "tidy",
    ]  # fmt: skip
    assert {event.stage for event in events} == {"install"}


def test_a_choice_installs_its_winner(session, root, models):
    winner, golden = models()
    install(session, Choice(winner, None, None, None, "because"), model="net", golden=golden)
    assert installed(root) == content(winner)


def test_installing_what_is_in_use_checks_it_and_changes_nothing(session, root, models):
    winner, golden = models()
    first = install(session, winner, model="net", golden=golden)
    before = state(root)
    again = install(session, winner, model="net", golden=golden)
    assert (again.id, state(root)) == (first.id, before)
    assert again.checked_utc >= first.checked_utc


def test_a_damaged_release_in_use_is_replaced(session, root, models, monkeypatch):
    monkeypatch.setattr(installation, "HEALTH_PAUSE_S", 0)
    winner, golden = models()
    first = install(session, winner, model="net", golden=golden)
    Path(first.path, "manifest.json").write_text(Path(first.path, "manifest.json").read_text() + " ")
    second = install(session, winner, model="net", golden=golden)
    assert second.id != first.id
    assert installed(root) == content(winner)


def test_without_golden_data_the_boards_own_outputs_are_kept(session, root, models, measured):
    winner, _ = models()
    release = install(session, winner, model="net")
    assert manifest(root, release)["golden_source"] == "device"
    assert status(session, "net").id == release.id
    tflite = measured(board_models.artifact(board_models.TFLITE))
    assert install(session, tflite, model="other").current


def test_a_model_that_gives_other_outputs_is_not_installed(session, root, models):
    old, golden = models()
    install(session, old, model="net", golden=golden)
    before = state(root)
    new, (inputs, outputs) = models(5)
    with pytest.raises(ReleaseError) as caught:
        install(session, new, model="net", golden=(inputs, [outputs[0] + 1]))
    assert "max |Δ| against the golden outputs is 1," in caught.value.message
    assert "is allowed" in caught.value.message
    assert caught.value.exit_code == 1
    assert state(root) == before


def test_a_first_model_that_fails_in_use_is_taken_away(session, root, models, monkeypatch):
    fail_in_use(monkeypatch)
    winner, golden = models()
    with pytest.raises(ReleaseError, match="when it was in use"):
        install(session, winner, model="net", golden=golden)
    assert state(root) == ({}, [])


def test_a_model_that_fails_in_use_is_rolled_back(session, root, models, monkeypatch):
    old, golden = models()
    install(session, old, model="net", golden=golden)
    middle, golden = models(5)
    install(session, middle, model="net", golden=golden)
    before = state(root)
    fail_in_use(monkeypatch)
    new, golden = models(6)
    with pytest.raises(ReleaseError, match="when it was in use"):
        install(session, new, model="net", golden=golden)
    assert state(root) == before
    assert installed(root) == content(middle)


def fail_in_use(monkeypatch):
    sound = installation.check_release

    def check(session, model, release, facts):
        health = sound(session, model, release, facts)
        return health if release is not None else type(health)(False, 9.0, 0.1, 1)

    monkeypatch.setattr(installation, "check_release", check)
    monkeypatch.setattr(installation, "HEALTH_PAUSE_S", 0)


def test_a_release_gets_three_tries_in_use(session, models, monkeypatch):
    sound, answers = installation.check_release, iter([True, False, False, True])

    def check(session, model, release, facts):
        health = sound(session, model, release, facts)
        return health if next(answers) else type(health)(False, 9.0, 0.1, 1)

    monkeypatch.setattr(installation, "check_release", check)
    monkeypatch.setattr(installation, "HEALTH_PAUSE_S", 0)
    winner, golden = models()
    assert install(session, winner, model="net", golden=golden).current
    assert list(answers) == []


def test_five_releases_are_kept_and_never_the_current_or_previous_one_lost(session, root, models, quick):
    ids = []
    for size in range(3, 10):
        winner, golden = models(size)
        ids.append(install(session, winner, model="net", golden=golden).id)
    links, kept = state(root)
    assert kept == sorted(ids)[2:]
    assert links["current"].endswith(ids[-1])
    assert links["previous"].endswith(ids[-2])


def test_a_board_without_room_is_refused_before_anything_is_sent(session, root, models, monkeypatch):
    winner, golden = models()
    ask = session.request
    monkeypatch.setattr(
        session, "request", lambda op, **args: dict(ask(op, **args), **({"disk_free_bytes": 5} if op == "info" else {}))
    )
    with pytest.raises(DeviceError, match=r"5 B of disk left; installing takes"):
        install(session, winner, model="net", golden=golden)
    assert not list(Path(root, "objects").rglob("[0-9a-f]" * 64))


@pytest.mark.parametrize("name", ["../net", "Net", "", "a b", "x" * 65, ".net"])
def test_a_bad_model_name_is_a_usage_error(session, models, name):
    winner, golden = models()
    for call in (lambda: install(session, winner, model=name, golden=golden), lambda: status(session, name)):
        with pytest.raises(UsageError, match="model's name"):
            call()


def test_golden_data_that_does_not_fit_is_a_data_error(session, root, models):
    winner, (inputs, outputs) = models()
    with pytest.raises(DataError, match="2 golden outputs"):
        install(session, winner, model="net", golden=(inputs, outputs * 2))
    with pytest.raises(DataError, match="the model takes"):
        install(session, winner, model="net", golden=([inputs[0][:, :2]], outputs))
    with pytest.raises(ModelError, match="NaN"):
        install(session, winner, model="net", golden=(inputs, [outputs[0] * np.nan]))
    assert not Path(root, "models", "net").exists()


def test_tolerance_grows_with_outputs_and_coarser_precision(session, models):
    winner, (inputs, outputs) = models()
    largest = float(np.abs(outputs[0]).max())
    golden = make_golden(session, winner.artifact, "onnxruntime", PLAN, (inputs, outputs))
    assert golden.tolerance == pytest.approx(1e-3 * largest)
    coarse = board_models.artifact(winner.artifact.path, precision="int8")
    assert make_golden(session, coarse, "onnxruntime", PLAN, (inputs, outputs)).tolerance == pytest.approx(
        0.05 * largest
    )


def test_release_ids_are_unique_and_sort_by_time():
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = new_release_id("abcdef0123" * 6, (), now)
    assert first == "20260102T030405Z-abcdef01"
    assert new_release_id("abcdef0123" * 6, {first}, now) == first + "-2"
    assert new_release_id("abcdef0123" * 6, {first, first + "-2"}, now) == first + "-3"


def test_going_back_and_forth(session, root, models):
    old, golden = models()
    first = install(session, old, model="net", golden=golden)
    new, golden = models(5)
    second = install(session, new, model="net", golden=golden)
    assert second.previous == first.id
    back = rollback(session, "net")
    assert (back.id, back.current, back.previous) == (first.id, True, None)
    assert installed(root) == content(old)
    with pytest.raises(ReleaseError, match="no earlier release"):
        rollback(session, "net")
    assert rollback(session, "net", second.id).previous == first.id
    assert installed(root) == content(new)
    with pytest.raises(UnknownName, match="20200101T000000Z-00000000"):
        rollback(session, "net", "20200101T000000Z-00000000")


def test_nobody_goes_back_to_a_release_that_is_not_well(session, root, models):
    old, golden = models()
    first = install(session, old, model="net", golden=golden)
    new, golden = models(5)
    install(session, new, model="net", golden=golden)
    Path(first.path, "golden.safetensors").unlink()
    with pytest.raises(ReleaseError):
        rollback(session, "net")
    assert installed(root) == content(new)


def test_status_checks_again_and_tells_what_is_wrong(session, root, models):
    assert status(session, "net") is None
    winner, golden = models()
    release = install(session, winner, model="net", golden=golden)
    assert status(session, "net").id == release.id
    Path(release.path, "model.onnx").unlink()
    with pytest.raises(ReleaseError, match=r"model\.onnx"):
        status(session, "net")


def test_releases_of_all_models_are_listed_and_others_removed(session, models, quick):
    old, golden = models()
    first = install(session, old, model="net", golden=golden)
    install(session, old, model="other", golden=golden)
    new, golden = models(5)
    second = install(session, new, model="net", golden=golden)
    listed = releases(session)
    assert [(r.model, r.id, r.current) for r in listed] == [
        ("net", first.id, False), ("net", second.id, True), ("other", listed[2].id, True),
    ]  # fmt: skip
    assert releases(session, "nothing") == []
    with pytest.raises(ReleaseError, match="in use"):
        remove(session, "net", second.id)
    remove(session, "net", first.id)
    assert [r.id for r in releases(session, "net")] == [second.id]
    with pytest.raises(UnknownName):
        remove(session, "net", first.id)


@pytest.fixture
def quick(session, monkeypatch):
    """Lets every check pass without a process on the board, for tests of what happens around it."""

    def run(spec, on_event, deadline_s):
        end = {"kind": "end", "state": "done", "error": None}
        for event in ({"kind": "checked", "ok": True, "max_abs": 0.0, "tolerance": 1.0, "n": 1}, end):
            on_event(event)
        return end

    monkeypatch.setattr(session, "run", run)


class Steps:
    """Does something before the n-th thing that is asked of a board."""

    ASKED = ("request", "push", "push_bytes", "run")

    def __init__(self, session, monkeypatch):
        self.count, self.at, self.action = 0, None, None
        for name in self.ASKED:
            monkeypatch.setattr(session, name, self.wired(getattr(session, name)))

    def wired(self, method):
        def call(*arguments, **options):
            self.count += 1
            if self.count == self.at:
                self.action()
            return method(*arguments, **options)

        return call

    def arm(self, at, action):
        self.count, self.at, self.action = 0, at, action


@pytest.fixture
def steps(session, monkeypatch):
    return Steps(session, monkeypatch)


def interrupt():
    raise KeyboardInterrupt


def test_ctrl_c_at_any_step_leaves_a_whole_release_in_use(session, root, models, quick, steps):
    old, golden = models()
    install(session, old, model="net", golden=golden)
    before = state(root)
    new, golden = models(5)
    at, finished = 0, False
    while not finished:
        at += 1
        steps.arm(at, interrupt)
        try:
            install(session, new, model="net", golden=golden)
            finished = True
        except KeyboardInterrupt:
            assert installed(root) in (content(old), content(new))
            if installed(root) == content(old):
                assert state(root) == before
            else:  # committed: only the tidying was cut short
                rollback_by_hand(session, root, before)
    assert at > 8
    assert installed(root) == content(new)


def rollback_by_hand(session, root, before):
    links, known = before
    session.request("release.rollback", model="net", release=links["current"].rpartition("/")[2])
    for release in set(state(root)[1]) - set(known):
        session.request("release.remove", model="net", release=release)
    assert state(root) == before


def test_an_agent_that_is_killed_at_any_step_is_started_again_and_the_installation_completes(
    session, root, models, quick, steps
):
    old, golden = models()
    install(session, old, model="net", golden=golden)
    before = state(root)
    new, golden = models(5)
    at = 0
    while True:
        at += 1
        steps.arm(at, lambda: os.kill(session.client._connection._transport.process_id, signal.SIGKILL))
        release = install(session, new, model="net", golden=golden)
        if steps.count < at:
            break
        assert release.current
        assert installed(root) == content(new)
        rollback_by_hand(session, root, before)
    assert at > 8


def test_a_session_without_the_lease_installs_nothing(root, models, session):
    winner, golden = models()
    with connect(f"local://?root={root}", exclusive=False) as reader, pytest.raises(RemoteError, match="E_LEASE"):
        install(reader, winner, model="net", golden=golden)
    assert installed(root) is None
