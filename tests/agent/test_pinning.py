"""Pinned clocks on a copy of a board's /sys, with an nvpmodel and a jetson_clocks that note what they were asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgeprune_agent import pinning
from edgeprune_agent.folders import Root
from edgeprune_agent.lease import Lease
from edgeprune_agent.pinning import Pinning

GOVERNOR = "sys/devices/system/cpu/cpufreq/policy{}/scaling_governor"
JETSON_CLOCKS = """#!/bin/sh
echo "jetson_clocks $*" >> "{log}"
if [ "$1" = --store ]; then echo stored > "$2"; fi
"""
NVPMODEL = """#!/bin/sh
echo "nvpmodel $*" >> "{log}"
printf 'pmode:%04d\\n' "$2" > "{status}"
"""
HOLDER = """
import sys, time
from edgeprune_agent.folders import Root
from edgeprune_agent.lease import Lease
from edgeprune_agent.pinning import Pinning

root, seconds = Root(sys.argv[1]), float(sys.argv[3])
lease = Lease(root, lambda: None, clock=lambda: time.monotonic() - 20 + seconds)
print(Pinning(root, sys.argv[2]).pin(lease.acquire("test", False)["epoch"], None), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def board(tmp_path):
    """The /sys of a board with two clusters under ondemand."""
    for policy in ("0", "4"):
        path = tmp_path / "fs" / GOVERNOR.format(policy)
        path.parent.mkdir(parents=True)
        path.write_text("ondemand\n")
    return tmp_path / "fs"


@pytest.fixture
def root(tmp_path):
    opened = Root(str(tmp_path / "root"))
    yield opened
    opened.close()


@pytest.fixture
def no_watchdog(monkeypatch):
    monkeypatch.setattr(pinning, "watch", lambda root, filesystem: None)


def governors(board):
    return [(board / GOVERNOR.format(policy)).read_text().strip() for policy in ("0", "4")]


def add_program(board, name, text):
    log, status = board / "log", board / "var/lib/nvpmodel/status"
    status.parent.mkdir(parents=True, exist_ok=True)
    path = board / "usr/bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(log=log, status=status))
    path.chmod(0o755)
    return log, status


def wait_for(condition):
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_governors_are_pinned_and_given_back(board, root, no_watchdog):
    pins = Pinning(root, str(board))
    assert pins.pin(1, None) == {"pinned": ["governor of policy 0", "governor of policy 4"], "refused": []}
    assert governors(board) == ["performance", "performance"]
    pins.pin(2, None)
    assert pins.epoch() == 2
    pins.unpin()
    assert governors(board) == ["ondemand", "ondemand"]
    assert pins.epoch() is None
    pins.unpin()


def test_what_was_there_is_on_the_disk_before_anything_changes(board, root, no_watchdog, monkeypatch):
    def refuse(self, path, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pinning, "_write", refuse)
    with pytest.raises(KeyboardInterrupt):
        Pinning(root, str(board)).pin(1, None)
    assert '"ondemand"' in Path(root.path, "pinned.json").read_text()


def test_a_governor_that_we_may_not_set_is_told(board, root, no_watchdog):
    path = board / GOVERNOR.format(4)
    path.unlink()
    path.mkdir()  # root may write to any file, but not to a folder
    (board / "sys/devices/system/cpu/cpufreq/policy4/related_cpus").write_text("4\n")
    found = Pinning(root, str(board)).pin(1, None)
    assert found["pinned"] == ["governor of policy 0"]
    found = Pinning(root, str(board)).pin(1, 2)
    assert found["refused"] == ["power mode 2: the board has no nvpmodel"]


def test_a_jetson_gets_its_mode_and_its_clocks_back(board, root, no_watchdog):
    log, status = add_program(board, "nvpmodel", NVPMODEL)
    add_program(board, "jetson_clocks", JETSON_CLOCKS)
    status.write_text("pmode:0002\n")
    pins = Pinning(root, str(board))
    assert pins.pin(1, 0)["pinned"][-2:] == ["power mode 0", "jetson_clocks"]
    assert status.read_text() == "pmode:0000\n"
    pins.unpin()
    assert status.read_text() == "pmode:0002\n"
    stored = root.path + "/jetson_clocks.before"
    assert log.read_text().splitlines() == [
        "nvpmodel -m 0", f"jetson_clocks --store {stored}", "jetson_clocks ", f"jetson_clocks --restore {stored}",
        "nvpmodel -m 2",
    ]  # fmt: skip


def test_a_program_that_fails_is_told_with_its_words(board, root, no_watchdog):
    add_program(board, "nvpmodel", "#!/bin/sh\necho 'must be root' >&2\nexit 1\n")
    assert Pinning(root, str(board)).pin(1, 0)["refused"] == ["power mode 0: must be root"]


@pytest.fixture
def holder(board, root):
    """Starts an agent that pins and holds the lease for so many seconds more."""
    started = []

    def start(seconds):
        arguments = [sys.executable, "-c", HOLDER, root.path, str(board), str(seconds)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert "policy 4" in process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_watchdog_gives_clocks_back_when_the_agent_is_killed_and_the_lease_runs_out(board, root, holder):
    process = holder(4.0)
    assert governors(board) == ["performance", "performance"]
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not Path(root.path, "pinned.json").exists())
    assert governors(board) == ["ondemand", "ondemand"]


def test_the_watchdog_leaves_clocks_alone_while_the_lease_lasts_and_ends_when_they_are_given_back(board, root, holder):
    holder(20.0)
    assert Lease(root, lambda: None).who()["holder"] == "test"
    assert governors(board) == ["performance", "performance"]
    Pinning(root, str(board)).unpin()
    assert governors(board) == ["ondemand", "ondemand"]


def test_after_the_watchdog_was_killed_too_the_next_one_gives_clocks_back(board, root, no_watchdog):
    Pinning(root, str(board)).pin(1, None)
    assert pinning.main([root.path, str(board)]) == 0
    assert governors(board) == ["ondemand", "ondemand"]
