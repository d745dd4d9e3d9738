"""local://: a true agent process, started where it was told and gone when it is done."""

import os
import signal
import time
import zipfile
from pathlib import Path

import pytest

from edgeprune.devices import agent_file, local, process
from edgeprune.devices.address import LocalAddress
from edgeprune.devices.agent_file import cached_agent, pack_agent
from edgeprune.devices.client import AgentClient
from edgeprune.devices.local import LocalTransport
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed, DeviceTimeout, LinkClosed, StorageError


def is_gone(pid):
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture
def transport(tmp_path):
    made = LocalTransport(LocalAddress(str(tmp_path / "root")))
    yield made
    made.close()


def test_the_same_sources_pack_to_the_same_bytes(tmp_path, monkeypatch):
    first = pack_agent()
    monkeypatch.setattr(time, "localtime", lambda *at: time.gmtime(0))
    assert pack_agent() == first


def test_the_packed_agent_holds_sources_alone(tmp_path):
    (tmp_path / "agent.pyz").write_bytes(pack_agent())
    with zipfile.ZipFile(tmp_path / "agent.pyz") as archive:
        names = archive.namelist()
    assert {"__main__.py", "edgeprune_agent/server.py", "edgeprune_agent/wire/frames.py"} <= set(names)
    assert all(name.endswith(".py") for name in names)
    assert names == sorted(names)


def test_the_packed_agent_is_kept_by_its_hash_and_repaired_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cached_agent()
    assert path.parent == tmp_path / "edgeprune" / "agent"
    path.write_bytes(b"damaged")
    assert cached_agent() == path
    assert path.read_bytes() == pack_agent()
    assert list(path.parent.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path, monkeypatch):
    (tmp_path / "edgeprune").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(StorageError, match="XDG_CACHE_HOME"):
        cached_agent()


def test_a_cache_on_a_full_disk_keeps_no_half_agent(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(agent_file.Path, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        cached_agent()
    assert list((tmp_path / "edgeprune" / "agent").iterdir()) == []


def test_the_agent_says_the_hash_of_the_file_that_runs(transport):
    client = AgentClient(transport, "board")
    client.open()
    client.close()
    assert client.hello["sha256"] == cached_agent().stem


def test_the_root_is_told_by_the_address_then_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(local.ROOT_VARIABLE, str(tmp_path / "from-env"))
    for root in ("", str(tmp_path / "from-address")):
        client = AgentClient(LocalTransport(LocalAddress(root)), "board")
        client.open()
        client.close()
    assert (tmp_path / "from-env" / "objects").is_dir()
    assert (tmp_path / "from-address" / "objects").is_dir()


def test_a_root_that_is_refused_is_the_reason_given(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    client = AgentClient(LocalTransport(LocalAddress(str(tmp_path / "link"))), "board")
    with pytest.raises(ConnectFailed, match="symbolic link"):
        client.open()


def test_a_python_that_cannot_start_is_said_so(transport, monkeypatch):
    monkeypatch.setattr(local.sys, "executable", "/nonexistent/python")
    with pytest.raises(ConnectFailed, match="No such file"):
        transport.open(Deadline(5))


def test_something_else_than_an_agent_is_quoted_without_control_characters(transport, tmp_path, monkeypatch):
    program = tmp_path / "agent"
    program.write_text("print('\\x1b[31mWelcome to the board\\x07', flush=True); import time; time.sleep(60)")
    monkeypatch.setattr(local, "cached_agent", lambda: program)
    monkeypatch.setattr("edgeprune.devices.client.CONNECT_S", 0.5)
    monkeypatch.setattr(process, "_GRACE_S", 0.1)
    with pytest.raises(ConnectFailed, match="Welcome to the board") as caught:
        AgentClient(transport, "board").open()
    assert "\x1b" not in str(caught.value)
    assert "\x07" not in str(caught.value)


def test_a_greeting_before_the_preamble_is_skipped(transport, tmp_path, monkeypatch):
    program = tmp_path / "agent"
    start = f"import sys; sys.path.insert(0, {str(cached_agent())!r}); print('Last login: today')"
    program.write_text(
        f"{start}; sys.stdout.flush(); import runpy; runpy.run_module('edgeprune_agent', run_name='__main__')"
    )
    monkeypatch.setattr(local, "cached_agent", lambda: program)
    client = AgentClient(transport, "board")
    client.open()
    assert client.request("lease.who")["holder"] is None
    client.close()


def test_endless_noise_is_not_waited_for(transport, tmp_path, monkeypatch):
    program = tmp_path / "agent"
    program.write_text("while True: print('y' * 100)")
    monkeypatch.setattr(local, "cached_agent", lambda: program)
    with pytest.raises(ConnectFailed, match="no agent but 'y"):
        AgentClient(transport, "board").open()


def test_a_frozen_agent_does_not_hold_up_send_or_close(transport):
    transport.open(Deadline(5))
    transport.receive(Deadline(15))
    pid = transport.process_id
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(DeviceTimeout):
        transport.send(bytes(1 << 22), Deadline(0.3))
    transport.close()
    assert time.monotonic() - started < 5.0
    assert is_gone(pid)


def test_the_last_words_of_a_killed_agent_are_kept_and_bounded(transport, tmp_path, monkeypatch):
    program = tmp_path / "agent"
    program.write_text("import sys; sys.stderr.write('x' * 300000 + '\\nthe end\\n')")
    monkeypatch.setattr(local, "cached_agent", lambda: program)
    transport.open(Deadline(5))
    with pytest.raises(LinkClosed, match="the end"):
        while True:
            transport.receive(Deadline(5))
    assert len(transport._last_words) <= 64 * 1024
