"""AgentClient: the requests of docs/wire.md, with deadlines, over one connection; refusals become our errors."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, BinaryIO, NamedTuple, TypeVar

from edgeprune_agent import wire
from edgeprune_agent.wire import Message, WireError

from edgeprune.devices.agent_file import second_part
from edgeprune.devices.connection import Connection, Exchange
from edgeprune.devices.refusals import refusal
from edgeprune.devices.replies import clean_text, integer, text
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import ConnectFailed, DeviceBusy, DeviceTimeout, ProtocolError, RemoteError, WrongDevice

CONNECT_S = 15.0
REQUEST_S = 30.0
STALLED_S = 30.0
"""An upload may take as long as it likes, but not stand still for longer."""
SECOND_PART = 0
"""Id of the CHUNK that brings an agent what was not typed of it."""
_PATIENCE_S = 20.0
"""How long something that the board itself is about to finish may keep us waiting."""
_Read = TypeVar("_Read")


class Asked(NamedTuple):
    """A request, and where its answer comes."""

    exchange: Exchange
    message: Message


class AgentClient:
    """Typed requests to one agent.

    Args:
        transport: Not yet opened.
        name: Of the device, for messages.

    Attributes:
        hello: What the agent said of itself.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        self.name, self._start_s = name, transport.start_s
        self._connection = Connection(transport, secrets.randbelow(0xFFFF) + 1)
        self.hello: Mapping[str, Any] = {}

    def open(self, expected_id: str = "", first: Asked | None = None) -> None:
        """Start the agent and shake hands.

        Args:
            expected_id: The board's device id; "" for any board.
            first: From `prepare`: goes out as early as the link allows.

        Raises:
            ConnectFailed: No agent answered.
            WrongDevice: The agent of another board did; it is left at once, and `first` is not heeded there.
        """
        early = first.message if first and self._connection.link.lossless else None
        deadline = Deadline(CONNECT_S + self._start_s)
        try:
            self.hello = self._connection.open(secrets.token_hex(8), deadline, expected_id if early else "", early)
        except DeviceTimeout as error:
            raise ConnectFailed(f"{self.name}: {error.message}", error.next_step) from error
        self._complete_agent()
        found = clean_text(self.hello.get("device_id"), 40)
        if expected_id and found != expected_id:
            self.close()
            raise WrongDevice(
                f"{self.name} is the board {found}, and {expected_id} was expected.",
                "See to the cable or the address; if the board was exchanged on purpose, give its new id.",
            )
        if first and not early:
            self._connection.post(first.message)

    def _complete_agent(self) -> None:
        # It travels in the bulk lane, so that requests that do not need it overtake it.
        try:
            part = second_part(str(self.hello.get("sha256")), self.hello.get("feat"))
        except ConnectFailed:
            self.close()
            raise
        if part is not None:
            self._connection.post(Message(wire.CHUNK, SECOND_PART, part, wire.RAW))

    def request(
        self, op: str, arguments: Mapping[str, Any] | None = None, deadline_s: float = REQUEST_S
    ) -> Mapping[str, Any]:
        """Ask, and wait for the answer.

        Args:
            op: Name of the request.
            arguments: Of it.
            deadline_s: How long it may take.

        Returns:
            The answer's JSON.
        """
        return self._read(self._ask(op, arguments or {}, Deadline(deadline_s)).data)

    def prepare(self, op: str, arguments: Mapping[str, Any]) -> Asked:
        """Return a request that `open` is to make; to be followed by `answer`.

        Args:
            op: Name of the request.
            arguments: Of it.

        Returns:
            The request.
        """
        return self._asked(self._connection.begin(), op, arguments)

    def answer(self, asked: Asked) -> Mapping[str, Any]:
        """Wait for the answer to a request that `open` made.

        Args:
            asked: From `prepare`.

        Returns:
            The answer's JSON.
        """
        with asked.exchange:
            return self._read(self._await(asked, Deadline(REQUEST_S)).data)

    @property
    def fetch_bytes(self) -> int:
        """How much of a file one `fetch` should ask for, so that it is answered in time."""
        return self._connection.link.fetch_bytes

    def fetch(self, arguments: Mapping[str, Any]) -> bytes:
        """Return a piece of a file on the board.

        Args:
            arguments: Of `store.fetch`.

        Returns:
            The bytes; fewer than asked for only at the end.
        """
        return self._read(self._ask("store.fetch", arguments, Deadline(REQUEST_S)).content)

    def fetch_next(self, arguments: Mapping[str, Any]) -> tuple[bytes, bool]:
        """Return as much of a file on the board as one answer should hold.

        Args:
            arguments: Of `store.fetch`, the length aside.

        Returns:
            The bytes, and whether the file ends with them.
        """
        asked = self.fetch_bytes
        piece = self.fetch({**arguments, "length": asked})
        return piece, len(piece) < asked

    @property
    def line_rate(self) -> int:
        """Bits per second of a serial line; 0 for a link of unknown speed."""
        return self._connection.link.rate

    def codec(self, file: BinaryIO, size: int) -> tuple[int, float]:
        """Find out how a file is best packed for this link.

        Args:
            file: Readable and seekable.
            size: Its length.

        Returns:
            The codec, and the share of the bytes that it leaves.
        """
        return _best_codec(file, size) if self._connection.link.packs else (wire.RAW, 1.0)

    def upload(
        self,
        file: BinaryIO,
        sha: str,
        size: int,
        epoch: int,
        progress: Callable[[int], None],
        begun: Callable[[int, float], None] = lambda missing, share: None,
    ) -> None:
        """Send a file, from where an earlier upload of it ended, and make it durable there; nothing if it is there.

        Args:
            file: Readable and seekable.
            sha: Its SHA-256.
            size: Its length.
            epoch: Of the lease.
            progress: Called with the number of bytes that are there.
            begun: Called first, with the number of bytes that are missing and the share that packing leaves of them.

        Raises:
            RemoteError: It does not fit, or is not what its digest says.
            DeviceTimeout: Nothing moved for `STALLED_S`.
        """
        with self._connection.begin() as exchange:
            arguments = {"sha": sha, "size": size, "epoch": epoch}
            answer = self._read(self._answer(exchange, "store.open", arguments, Deadline(REQUEST_S)).data)
            if answer.get("complete") is not True:
                there = integer(answer, "offset", size - 1)
                codec, share = self.codec(file, size)
                begun(size - there, share)
                for received in self._send(exchange, file, size, there, codec):
                    progress(received)
        progress(size)

    def _send(
        self, exchange: Exchange, file: BinaryIO, size: int, received: int, codec: int
    ) -> Generator[int, None, None]:
        # Yields how much has come, until all is there for good.
        link = self._connection.link
        sent = file.seek(received)
        while True:
            yield received
            while sent < size and sent - received < link.window_bytes:
                piece = file.read(min(link.chunk_bytes, size - sent))
                if not piece:
                    raise RemoteError("E_HASH", "The file became shorter while it was sent.", "Send it again.")
                self._connection.post(wire.chunk_message(exchange.number, sent, piece, codec))
                sent += len(piece)
            # At the end the board makes all of it durable, which takes a slow card its time.
            message = self._next(exchange, Deadline(STALLED_S if sent < size else 2 * STALLED_S))
            if message.type == wire.RES and sent == size:
                return
            received = self._credit(message, received, sent)

    def _credit(self, message: Message, received: int, sent: int) -> int:
        now, _ = self._read(lambda: wire.read_credit(message))
        if message.type != wire.CREDIT or not received <= now <= sent:
            raise ProtocolError(f"{self.name} acknowledged bytes that were not sent.", "Connect again.")
        return now

    def follow(self, run: str, first: int, deadline: Deadline) -> Generator[Mapping[str, Any], None, None]:
        """Yield a run's events up to its end.

        Args:
            run: Its id.
            first: Number of the first event wanted.
            deadline: Until when the run may take.

        Yields:
            Events, in order and without gaps.

        Raises:
            ProtocolError: The board left one out.
            DeviceTimeout: The end did not come in time.
        """
        with self._connection.begin() as exchange:
            self._read(self._answer(exchange, "run.attach", {"run": run, "from": first}, Deadline(REQUEST_S)).data)
            while True:
                event = self._event(exchange, deadline)
                if integer(event, "ev") != first:
                    raise ProtocolError(f"{self.name} left out event {first} of a run.", "Connect again.")
                first += 1
                yield event
                if event.get("kind") == "end":
                    return

    def _event(self, exchange: Exchange, deadline: Deadline) -> Mapping[str, Any]:
        return self._read(self._next(exchange, deadline).data)

    def _next(self, exchange: Exchange, deadline: Deadline) -> Message:
        message = exchange.receive(deadline)
        if message.type == wire.ERR:
            raise self._refused(message)
        return message

    def hold(self, epoch: int | None) -> None:
        """Renew a lease every few seconds from now on; None stops that."""
        if epoch is None:
            self._connection.heartbeat = None
        else:
            data = {"op": "lease.renew", "epoch": epoch}
            self._connection.heartbeat = lambda number: wire.json_message(wire.REQ, number, data)

    def release(self, epoch: int, deadline_s: float) -> None:
        """Give the lease back, and say goodbye in the same breath where the link allows it.

        Args:
            epoch: Of the lease.
            deadline_s: How long the answer may take.
        """
        deadline = Deadline(deadline_s)
        with self._connection.begin() as exchange:
            data = {"op": "lease.release", "epoch": epoch}
            self._connection.post(wire.json_message(wire.REQ, exchange.number, data))
            self._connection.part(deadline)
            self._next(exchange, deadline)

    def close(self) -> None:
        """End the connection and the agent's process, not what runs on the board."""
        self._connection.close()

    def _ask(self, op: str, arguments: Mapping[str, Any], deadline: Deadline) -> Message:
        with self._connection.begin() as exchange:
            return self._answer(exchange, op, arguments, deadline)

    def _answer(self, exchange: Exchange, op: str, arguments: Mapping[str, Any], deadline: Deadline) -> Message:
        asked = self._asked(exchange, op, arguments)
        self._connection.post(asked.message)
        return self._await(asked, deadline)

    def _asked(self, exchange: Exchange, op: str, arguments: Mapping[str, Any]) -> Asked:
        data = dict(arguments, op=op)
        if op in wire.IDEMPOTENT_OPS:
            data.setdefault("idem", secrets.token_hex(16))
        return Asked(exchange, self._read(lambda: wire.json_message(wire.REQ, exchange.number, data)))

    def _await(self, asked: Asked, deadline: Deadline) -> Message:
        patience = Deadline(min(_PATIENCE_S, deadline.remaining_s))
        while True:
            message = asked.exchange.receive(deadline)
            if message.type == wire.RES:
                return message
            if message.type != wire.ERR:
                raise ProtocolError(f"{self.name} answered a request with something else.", "Connect again.")
            error = self._refused(message)
            if not self._passing(error, message) or patience.expired:
                raise error
            time.sleep(0.05)
            self._connection.post(asked.message)

    def _passing(self, error: Exception, message: Message) -> bool:
        # What is in the way has no holder: the board itself is about to end it.
        data = message.data()
        detail = data.get("detail")
        return isinstance(error, DeviceBusy) and data.get("retry") is True and not detail

    def _refused(self, message: Message) -> Exception:
        data = self._read(message.data)
        detail = data.get("detail")
        return refusal(self.name, text(data, "code"), text(data, "msg"), detail if isinstance(detail, dict) else {})

    def _read(self, reader: Callable[[], _Read]) -> _Read:
        try:
            return reader()
        except WireError as error:
            raise ProtocolError(f"{self.name} broke the protocol: {error}.", "Connect again.") from error


def _best_codec(file: BinaryIO, size: int) -> tuple[int, float]:
    samples = []
    for start in (0, size // 2, size - wire.SAMPLE_BYTES):
        file.seek(max(0, start))
        samples.append(file.read(wire.SAMPLE_BYTES))
    return wire.best_codec(samples)
