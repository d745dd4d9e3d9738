"""The agent under every Python that a board may have, as far as it is installed here, without site-packages."""

import contextlib
import hashlib
import shutil
from pathlib import Path

import pytest
from edgeprune_agent import wire
from raw_agent import RawAgent

from edgeprune.devices.agent_file import pack_agent, pack_slim_agent, second_part


def python(minor):
    found = shutil.which(f"python3.{minor}")
    with contextlib.suppress(StopIteration):
        return str(next(Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python3")))
    return found or pytest.skip(f"no Python 3.{minor} here")


@pytest.mark.parametrize("minor", [6, *(pytest.param(minor, marks=pytest.mark.slow) for minor in range(7, 15))])
@pytest.mark.parametrize("pack", [pack_agent, pack_slim_agent])
def test_the_agent_serves_and_serves_again_from_its_compiled_code(tmp_path, minor, pack):
    path = tmp_path / "agent" / "agent.pyz"
    path.parent.mkdir()
    path.write_bytes(pack())
    for again in range(2):
        data = bytes(range(256)) * (100 + again)
        sha = hashlib.sha256(data).hexdigest()
        agent = RawAgent(tmp_path / "root", command=[python(minor), "-I", "-S", path])
        with contextlib.closing(agent):
            hello = wire.decode_json(agent.hello().payload)
            assert hello["py"].startswith(f"3.{minor}.")
            part = second_part(hello["sha256"], hello["feat"])
            assert (part is None) == (pack is pack_agent or bool(again))
            if part is not None:
                agent.writer.post(wire.Message(wire.CHUNK, 0, part, wire.RAW))
            epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem="ab"[again] * 32)["epoch"]
            number = agent.number + 1
            agent.answer("store.open", sha=sha, size=len(data), epoch=epoch)
            agent.writer.post(wire.chunk_message(number, 0, data))
            agent.flush()
            assert agent.message()[:2] == (wire.RES, number)
            assert agent.answer("release.list", model=None) == {"releases": []}
            assert agent.answer("lease.release", epoch=epoch) == {}
        assert agent.process.returncode == 0
    (kept,) = (tmp_path / "compiled").iterdir()
    assert kept.name == f"agent.cpython-3{minor}"
