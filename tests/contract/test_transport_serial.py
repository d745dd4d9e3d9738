"""The contract over a serial line: a pseudo terminal, a relay and a true shell."""

import pytest
from serial_board import SerialBoard
from test_transport import TransportContract

from edgeprune.devices.address import parse_address
from edgeprune.devices.client import AgentClient
from edgeprune.devices.transport import Deadline
from edgeprune.errors import LinkClosed


class TestSerialTransport(TransportContract):
    payload_bytes = 400_000

    @pytest.fixture
    def board(self, tmp_path):
        made = SerialBoard(tmp_path, baud=3_000_000, rate=400_000)
        yield made
        made.close()

    @pytest.fixture
    def address(self, board):
        return parse_address(board.address())

    def test_the_end_of_the_agent_is_told(self, transport):
        client = AgentClient(transport, "board")
        client.open()
        transport.send(b"\xff" * 64, Deadline(5))  # no frame is noise here, and not the end
        assert client.request("lease.who")["holder"] is None
        client.close()

    def test_the_end_of_the_line_is_told(self, opened, board):
        self.preamble(opened)
        board.close()
        with pytest.raises(LinkClosed, match="gone"):
            for _ in range(20):
                opened.receive(Deadline(1))
