"""The lease: one holder at a time, and an epoch that never falls."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest
from edgeprune_agent import lease as leases
from edgeprune_agent.folders import Root
from edgeprune_agent.lease import Lease
from edgeprune_agent.wire import LEASE_TTL_S, AgentError


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def root(tmp_path):
    opened = Root(str(tmp_path / "root"))
    yield opened
    opened.close()


@pytest.fixture
def lease(root, clock):
    return Lease(root, lambda: None, clock, "boot-1")


def raises_refusal(code):
    return pytest.raises(AgentError, match=code)


def test_a_second_holder_is_told_who_has_it_and_since_when(lease):
    lease.acquire("ada", steal=False)
    with raises_refusal("E_BUSY") as caught:
        lease.acquire("bob", steal=False)
    assert caught.value.retry
    assert caught.value.detail["holder"] == "ada"
    assert caught.value.detail["since_utc"].endswith("Z")


def test_a_lease_that_was_given_back_is_free_and_the_old_epoch_is_none(lease):
    epoch = lease.acquire("ada", steal=False)["epoch"]
    lease.release(epoch)
    with raises_refusal("E_LEASE"):
        lease.check(epoch)
    assert lease.who()["holder"] is None
    assert lease.acquire("bob", steal=False)["epoch"] == epoch + 1


def test_a_lease_without_a_sign_of_life_expires_and_a_renewed_one_does_not(lease, clock):
    epoch = lease.acquire("ada", steal=False)["epoch"]
    clock.now += LEASE_TTL_S - 1
    lease.renew(epoch)
    clock.now += LEASE_TTL_S - 1
    with raises_refusal("E_BUSY"):
        lease.acquire("bob", steal=False)
    clock.now += 2
    assert lease.who()["holder"] is None
    assert lease.acquire("bob", steal=False)["epoch"] == epoch + 1


def test_a_late_holder_whom_nobody_replaced_goes_on(lease, clock):
    epoch = lease.acquire("ada", steal=False)["epoch"]
    clock.now += 10 * LEASE_TTL_S
    lease.renew(epoch)
    with raises_refusal("E_BUSY"):
        lease.acquire("bob", steal=False)


def test_a_thief_fences_the_former_holder_who_is_told_by_whom(lease):
    old = lease.acquire("ada", steal=False)["epoch"]
    lease.acquire("bob", steal=True)
    for action in (lease.check, lease.renew, lease.release):
        with raises_refusal("E_FENCED") as caught:
            action(old)
        assert caught.value.detail["holder"] == "bob"


def test_an_epoch_that_was_never_given_is_refused(lease):
    with raises_refusal("E_LEASE"):
        lease.check(1)
    with raises_refusal("E_LEASE"):
        lease.check(0)


def test_a_lease_cannot_expire_while_a_run_goes_on(lease, clock, root):
    lease.acquire("ada", steal=False)
    clock.now += 10 * LEASE_TTL_S
    lock = leases.take_run_lock(root.path)
    with raises_refusal("E_BUSY"):
        lease.acquire("bob", steal=False)
    os.close(lock)
    lease.acquire("bob", steal=False)


def test_a_reboot_ends_the_lease_but_not_the_count(root, clock):
    before = Lease(root, lambda: None, clock, "boot-1").acquire("ada", steal=False)["epoch"]
    clock.now = 5.0
    assert Lease(root, lambda: None, clock, "boot-2").acquire("bob", steal=False)["epoch"] == before + 1


@pytest.mark.parametrize("beat", [b"", b"{", b"[]", b'{"epoch": 1}', b"\xff"])
def test_a_torn_beat_is_an_expired_one(lease, root, beat):
    lease.acquire("ada", steal=False)
    Path(root.path, "lease.beat").write_bytes(beat)
    assert lease.acquire("bob", steal=False)["epoch"] == 2


def test_a_damaged_epoch_is_never_guessed(lease, root):
    Path(root.path, "lease.json").write_bytes(b"\0\0\0")
    with raises_refusal(r"E_IO.*lease\.json"):
        lease.acquire("ada", steal=False)


def test_a_clock_that_jumps_back_does_not_hold_the_lease_for_ever(lease, clock):
    lease.acquire("ada", steal=False)
    clock.now -= 500
    assert lease.who()["holder"] is None


def test_two_agents_see_one_lease(lease, root, clock):
    other = Root(root.path)
    epoch = lease.acquire("ada", steal=False)["epoch"]
    second = Lease(other, lambda: "run-1", clock, "boot-1")
    assert second.who() == {**lease.who(), "run": "run-1"}
    second.renew(epoch)
    other.close()


def _grab(path, queue):
    root = Root(path)
    try:
        queue.put(Lease(root, lambda: None).acquire("x", steal=False)["epoch"])
    except AgentError as error:
        queue.put(error.code)
    root.close()


def test_of_many_agents_at_the_same_instant_one_gets_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    racers = [context.Process(target=_grab, args=(str(tmp_path / "root"), queue)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)
        racer.close()
    assert sorted(str(queue.get()) for _ in racers) == ["1", "E_BUSY", "E_BUSY", "E_BUSY"]
    queue.close()


def test_the_epoch_is_durable_before_it_is_given(lease, root, monkeypatch):
    saved = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (saved.append(fd), real(fd)))
    epoch = lease.acquire("ada", steal=False)["epoch"]
    assert len(saved) == 2  # the file, and the folder that names it
    assert json.loads(Path(root.path, "lease.json").read_text())["epoch"] == epoch


def test_the_run_lock_is_held_by_whoever_inherits_it(root):
    lock = leases.take_run_lock(root.path)
    assert leases.run_is_active(root.path)
    with raises_refusal("E_BUSY"):
        leases.take_run_lock(root.path)
    inherited = os.dup(lock)
    os.close(lock)
    assert leases.run_is_active(root.path)
    os.close(inherited)
    assert not leases.run_is_active(root.path)
