"""What every transport promises. A way to boards is one when its class here passes."""

import hashlib
import os
import time
from pathlib import Path

import pytest
from edgeprune_agent import wire

from edgeprune.devices.address import LocalAddress
from edgeprune.devices.client import AgentClient
from edgeprune.devices.transport import Deadline, make_transport
from edgeprune.errors import DeviceError, LinkClosed


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def child_processes():
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


class TransportContract:
    """Inherit, and give `address`: of an agent whose root is empty; a slow way may move fewer bytes."""

    payload_bytes = 3_000_000

    @pytest.fixture
    def address(self, tmp_path):
        raise NotImplementedError

    @pytest.fixture
    def transport(self, address):
        made = make_transport(address)
        yield made
        made.close()

    @pytest.fixture
    def opened(self, transport):
        transport.open(Deadline(15))
        return transport

    def preamble(self, opened):
        heard = b""
        while wire.PREAMBLE not in heard:
            piece = opened.receive(Deadline(15))
            assert piece, heard
            heard += piece
        return heard

    def test_the_agents_preamble_is_the_first_thing_heard(self, opened):
        assert self.preamble(opened).endswith(wire.PREAMBLE)

    def test_receive_returns_nothing_when_the_deadline_passes(self, opened):
        self.preamble(opened)
        started = time.monotonic()
        assert opened.receive(Deadline(0.2)) == b""
        assert 0.15 < time.monotonic() - started < 2.0

    def test_a_deadline_that_has_passed_does_not_wait(self, opened):
        self.preamble(opened)
        started = time.monotonic()
        assert opened.receive(Deadline(-1)) == b""
        assert time.monotonic() - started < 0.1

    def test_bytes_arrive_whole_and_in_order_in_both_directions(self, transport, tmp_path):
        client = AgentClient(transport, "board")
        client.open()
        try:
            holder = {"holder": "contract", "steal": False}
            epoch = client.request("lease.acquire", holder)["epoch"]
            data = os.urandom(self.payload_bytes)
            path = tmp_path / "data"
            path.write_bytes(data)
            sha = hashlib.sha256(data).hexdigest()
            with path.open("rb") as file:
                client.upload(file, sha, len(data), epoch, lambda done: None)
            most = client.fetch_bytes
            pieces = [
                client.fetch({"sha": sha, "offset": start, "length": most}) for start in range(0, len(data), most)
            ]
            assert b"".join(pieces) == data
        finally:
            client.close()

    def test_the_end_of_the_agent_is_told(self, opened):
        self.preamble(opened)
        opened.send(b"\xff" * 64, Deadline(5))  # no frame: the agent hangs up
        with pytest.raises(LinkClosed, match="broke the protocol"):
            for _ in range(20):
                opened.receive(Deadline(1))

    def test_a_closed_transport_is_of_no_use_and_closes_again(self, opened):
        opened.close()
        with pytest.raises(LinkClosed):
            opened.send(b"x", Deadline(1))
        with pytest.raises(LinkClosed):
            opened.receive(Deadline(1))
        opened.close()

    def test_one_that_was_never_opened_closes(self, transport):
        transport.close()
        with pytest.raises(DeviceError):
            transport.send(b"after", Deadline(1))

    def test_close_leaves_no_process_and_no_descriptor(self, address):
        before = (open_descriptors(), child_processes())
        for _ in range(3):
            transport = make_transport(address)
            transport.open(Deadline(15))
            transport.receive(Deadline(15))
            transport.close()
        assert (open_descriptors(), child_processes()) == before


class TestLocalTransport(TransportContract):
    @pytest.fixture
    def address(self, tmp_path):
        return LocalAddress(str(tmp_path / "root"))
