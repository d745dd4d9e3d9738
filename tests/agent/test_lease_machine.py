"""The lease in any order of hosts, clocks, reboots and power cuts: one holder at a time, an epoch that never falls."""

from types import SimpleNamespace

from edgeprune_agent import folders
from edgeprune_agent.folders import Root
from edgeprune_agent.lease import Lease
from edgeprune_agent.wire import LEASE_TTL_S, AgentError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

HOSTS = st.sampled_from(["ada", "bob", "cyd"])


class LeaseMachine(RuleBasedStateMachine):
    """Each host speaks to an agent of its own; all agents share one root."""

    @initialize()
    def begin(self):
        type(self).count += 1
        self.root = Root(f"{self.base}/{self.count}")
        self.clock = SimpleNamespace(now=1000.0)
        self.boot, self.epochs, self.highest, self.seen_at = 1, {}, 0, 0.0
        self.holder = None

    def lease(self):
        return Lease(self.root, lambda: None, lambda: self.clock.now, f"boot-{self.boot}")

    def alive(self):
        return self.holder is not None and self.clock.now - self.seen_at < LEASE_TTL_S

    @rule(host=HOSTS, steal=st.booleans())
    def acquire(self, host, steal):
        try:
            epoch = self.lease().acquire(host, steal)["epoch"]
        except AgentError as error:
            assert error.code == "E_BUSY"
            assert self.alive()
            assert not steal
            assert error.detail["holder"] == self.holder
            return
        assert steal or not self.alive()
        assert epoch == self.highest + 1
        self.highest, self.epochs[host], self.holder, self.seen_at = epoch, epoch, host, self.clock.now

    @rule(host=HOSTS, end=st.booleans())
    def renew_or_release(self, host, end):
        epoch = self.epochs.get(host, 0)
        try:
            (self.lease().release if end else self.lease().renew)(epoch)
        except AgentError as error:
            assert (self.holder, self.highest) != (host, epoch)
            assert error.code == ("E_FENCED" if epoch < self.highest else "E_LEASE")
            return
        assert (self.holder, self.highest) == (host, epoch)
        self.holder, self.seen_at = (None if end else host), self.clock.now

    @rule(seconds=st.sampled_from([0.5, 5.0, 19.0, 21.0, 100.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule()
    def power_cut(self):
        self.boot, self.clock.now = self.boot + 1, 50.0
        self.seen_at = -LEASE_TTL_S

    @invariant()
    def everybody_sees_the_one_holder(self):
        who = self.lease().who()
        assert who["epoch"] == self.highest
        assert who["holder"] == (self.holder if self.alive() else None)

    def teardown(self):
        self.root.close()


def test_no_order_of_hosts_clocks_and_power_cuts_gives_the_board_to_two(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(LeaseMachine, "base", str(tmp_path_factory.mktemp("lease")), raising=False)
    monkeypatch.setattr(LeaseMachine, "count", 0, raising=False)
    monkeypatch.setattr(folders.os, "fsync", lambda fd: None)
    run_state_machine_as_test(LeaseMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
