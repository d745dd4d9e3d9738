"""An agent of which only the first part was typed: it serves what it can, waits for the second part, and keeps it."""

import contextlib
import hashlib
import io
import os
import zipfile

import pytest
from edgeprune_agent import wire
from edgeprune_agent.wire import Message
from raw_agent import RawAgent

from edgeprune.devices import agent_file
from edgeprune.devices.agent_file import pack_second_part, pack_slim_agent, second_part
from edgeprune.errors import ConnectFailed

RUN = "import runpy, sys; sys.argv[0] = {!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
WITHOUT_BZ2 = "import sys; sys.modules['bz2'] = None; "
EPOCH = {"holder": "ada", "steal": False, "idem": "a" * 32}


@pytest.fixture
def start(tmp_path):
    """Starts the agent and shakes hands; gives it and what it wants."""
    path = tmp_path / "agent" / "first.pyz"
    path.parent.mkdir()
    path.write_bytes(pack_slim_agent())
    with contextlib.ExitStack() as stack:

        def start(before=""):
            agent = RawAgent(tmp_path / "root", before + RUN.format(str(path)))
            stack.callback(agent.close)
            return agent, wire.decode_json(agent.hello().payload)

        yield start


def bring(agent, part):
    agent.writer.post(Message(wire.CHUNK, 0, part, wire.RAW))
    agent.flush()


def names(packed):
    return zipfile.ZipFile(io.BytesIO(packed)).namelist()


@pytest.mark.parametrize("whole", [False, True])
def test_both_parts_are_the_whole_agent_and_nothing_twice(whole):
    left_out = agent_file._TYPED if whole else agent_file._TYPED | agent_file._INSTALLERS
    parts = [*names(pack_slim_agent(whole)), *names(pack_second_part())]
    assert sorted(parts) == sorted(set(agent_file._all_sources()) - left_out)


def test_an_agent_that_came_whole_wants_nothing():
    assert second_part("a" * 64, ["venv"]) is None
    assert second_part("a" * 64, None) is None


def test_the_second_part_of_another_version_is_not_ours_to_send():
    with pytest.raises(ConnectFailed, match="another version"):
        second_part("a" * 64, ["rest", "rest.bz2"])


def test_files_come_and_go_before_the_second_part_is_there(start):
    agent, hello = start()
    assert hello["feat"] == ["unpack", "rest", "rest.bz2"]
    epoch = agent.answer("lease.acquire", **EPOCH)["epoch"]
    data = os.urandom(50_000)
    sha = hashlib.sha256(data).hexdigest()
    number = agent.number + 1
    agent.answer("store.open", sha=sha, size=len(data), epoch=epoch)
    agent.writer.post(wire.chunk_message(number, 0, data))
    agent.flush()
    assert agent.message()[:2] == (wire.RES, number)
    assert agent.answer("store.fetch", sha=sha, offset=0, length=10) == data[:10]
    assert agent.answer("lease.who")["run"] is None
    assert agent.refusal("nonsense")["code"] == "E_UNKNOWN"


@pytest.mark.parametrize("before", ["", WITHOUT_BZ2])
def test_what_needs_the_second_part_waits_for_it(start, before):
    agent, hello = start(before)
    waiting = agent.ask("release.list", model=None)
    agent.answer("lease.who")
    bring(agent, second_part(hello["sha256"], hello["feat"]))
    message = agent.message()
    assert (message.type, message.request) == (wire.RES, waiting)
    assert agent.answer("info")["agent"]


def test_a_request_that_waits_can_be_cancelled(start):
    agent, _ = start()
    waiting = agent.ask("info")
    agent.writer.post(Message(wire.CANCEL, waiting, b"{}"))
    agent.flush()
    assert agent.message().data()["code"] == "E_CANCELLED"


@pytest.mark.parametrize("other", [b"", b"BZh9 no such thing", b"nothing", "bz2 of something else"])
def test_another_second_part_is_refused_and_the_agent_lives_on(start, other):
    agent, hello = start()
    part = other if isinstance(other, bytes) else agent_file.bz2.compress(b"something else")
    bring(agent, part)
    assert agent.refusal("info")["code"] == "E_IO"
    bring(agent, second_part(hello["sha256"], hello["feat"]))
    assert agent.answer("info")["agent"]


def test_the_second_part_is_kept_and_checked_before_it_is_used_again(start, tmp_path):
    agent, hello = start()
    bring(agent, second_part(hello["sha256"], hello["feat"]))
    agent.answer("info")
    agent, hello = start()
    assert hello["feat"] == ["unpack"]
    kept = tmp_path / "agent" / f"{hashlib.sha256(pack_second_part()).hexdigest()}.pyz"
    kept.write_bytes(kept.read_bytes()[:-1])
    _, hello = start()
    assert "rest" in hello["feat"]
