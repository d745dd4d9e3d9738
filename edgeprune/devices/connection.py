"""Messages over a transport: one thread reads, one writes and keeps the link alive, and callers wait on neither's I/O.

So Ctrl-C in the middle of a call never leaves half a frame on the link, and the board hears of us while the host
computes for minutes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from edgeprune_agent import wire
from edgeprune_agent.wire import Frame, Message, WireError

from edgeprune.devices.handshake import Handshake
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import ConnectFailed, DeviceError, DeviceTimeout, LinkClosed, ProtocolError

_SLICE_S = 1.0
_INBOX_MESSAGES = 256
_AGAIN = "Connect again."


class Exchange:
    """One request under way: what comes back for it, in order.

    Attributes:
        number: The request's id.
    """

    def __init__(self, number: int, connection: Connection) -> None:
        self.number, self._connection = number, connection
        self._inbox: queue.Queue[Message | None] = queue.Queue(_INBOX_MESSAGES)
        self._refused = False

    def receive(self, deadline: Deadline) -> Message:
        """Wait for the next message.

        Args:
            deadline: Until when.

        Returns:
            The message.

        Raises:
            DeviceTimeout: None came in time.
            LinkClosed: None will come any more; or another `DeviceError` that says why.
        """
        try:
            message = self._inbox.get(timeout=deadline.remaining_s)
        except queue.Empty:
            self._connection.check()
            raise DeviceTimeout("The board did not answer in time.", "See whether it is overloaded.") from None
        if message is None:
            self._connection.check()
            raise LinkClosed("The link was closed.", _AGAIN)
        self._refused = message.type == wire.ERR
        return message

    def deliver(self, message: Message | None) -> None:
        """Hand over a message, or None for the end of the link; waits while the caller does not keep up."""
        while self._connection.wants(self.number):
            try:
                self._inbox.put(message, timeout=_SLICE_S)
            except queue.Full:
                continue
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.forget(self.number)
        if error is not None and not self._refused:
            self._connection.post(Message(wire.CANCEL, self.number, b"{}"), strict=False)


class Connection:
    """An agent at the other end of a transport.

    Args:
        transport: Not yet opened.
        session: The session's id, 1 to 65535.

    Attributes:
        closing: Whether this end has had enough.
        heartbeat: Makes a request that is sent every 5 s under the given number, or None.
    """

    def __init__(self, transport: Transport, session: int) -> None:
        self._transport = transport
        self._link, self._lanes = transport.link(session), wire.Lanes()
        self._exchanges: dict[int, Exchange] = {}
        self._last_number = 0
        self._wake = threading.Condition()
        self._failure: DeviceError | None = LinkClosed("The link is not open.", _AGAIN)
        self._threads: list[threading.Thread] = []
        self._parted = self.closing = False
        self.heartbeat: Callable[[int], Message] | None = None

    @property
    def link(self) -> wire.Link:
        """What makes frames of the messages; it knows how much should be sent at a time."""
        return self._link

    def open(
        self, nonce: str, deadline: Deadline, device_id: str = "", ahead: Message | None = None
    ) -> Mapping[str, Any]:
        """Start the agent and shake hands.

        Args:
            nonce: Comes back in the agent's answer.
            deadline: Until when.
            device_id: Of the one board that is meant; "" for any.
            ahead: A request of an exchange begun before, for a link that loses nothing.

        Returns:
            What the agent says of itself.

        Raises:
            ConnectFailed: No agent answered, or not in our version; the transport is closed.
            ProtocolError: What answered is no agent of ours.
        """
        try:
            handshake = Handshake(self._transport, self._link, deadline)
            self._transport.open(deadline, handshake.greeting(nonce, device_id, ahead))
            hello, frames = handshake.shake(nonce)
            for frame in frames:
                self._accept(frame)
        except LinkClosed as error:
            self._transport.close()
            raise ConnectFailed(error.message, "Correct that and connect again.") from error
        except WireError as error:
            self._transport.close()
            raise ProtocolError(f"The agent broke the protocol: {error}.", _AGAIN) from error
        except BaseException:
            self._transport.close()
            raise
        self._failure, self._link.heard_at = None, time.monotonic()
        for work in (self._read, self._write):
            thread = threading.Thread(target=work, name=f"edgeprune{work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return hello

    def begin(self) -> Exchange:
        """Return a new exchange, to be used in a `with` block; leaving it by an error cancels the request."""
        with self._wake:
            self._last_number += 1
            exchange = Exchange(self._last_number, self)
            self._exchanges[exchange.number] = exchange
        return exchange

    def wants(self, number: int) -> bool:
        """Return whether anybody still waits for what comes for an exchange."""
        return not self.closing and number in self._exchanges

    def forget(self, number: int) -> None:
        """Let go of an exchange: what still comes for it is dropped, and what was to be sent of a file for it."""
        with self._wake:
            self._exchanges.pop(number, None)
            self._link.drop(number)

    def post(self, message: Message, *, strict: bool = True) -> None:
        """Queue a message.

        Args:
            message: What to send.
            strict: Raise when the link has ended; else say nothing.
        """
        if strict:
            self.check()
        with self._wake:
            self._link.post(message)
            self._wake.notify_all()

    def check(self) -> None:
        """Do nothing while the link is well.

        Raises:
            DeviceError: Why it has ended.
        """
        if self._failure is not None:
            raise type(self._failure)(self._failure.message, self._failure.next_step) from self._failure

    def _read(self) -> None:
        try:
            while not self.closing:
                data = self._transport.receive(Deadline(_SLICE_S))
                for frame in self._feed(data):
                    self._accept(frame)
                if time.monotonic() - self._link.heard_at > wire.DEAD_S:
                    raise LinkClosed(f"Nothing was heard from the board for {wire.DEAD_S:.0f} s.", _AGAIN)
        except WireError as error:
            self._fail(ProtocolError(f"The agent broke the protocol: {error}.", _AGAIN))
        except DeviceError as error:
            self._fail(error)
        finally:
            self._fail(LinkClosed("The link was closed.", _AGAIN))

    def _feed(self, data: bytes) -> list[Frame]:
        with self._wake:
            frames = self._link.feed(data, time.monotonic())
            self._wake.notify_all()  # receipts may be due, or make room for more
        return frames

    def _accept(self, frame: Frame) -> None:
        if frame.session != self._link.session:
            raise WireError("a frame of another session")
        if frame.kind == wire.PING:
            with self._wake:
                self._link.signal(wire.PONG)
                self._wake.notify_all()
        elif frame.kind in (wire.BYE, wire.RESET):
            raise LinkClosed("The agent said goodbye.", _AGAIN)
        elif frame.kind == wire.DATA:
            message = self._lanes.accept(frame)
            exchange = self._exchanges.get(message.request) if message else None
            if exchange is not None:
                exchange.deliver(message)
        elif frame.kind != wire.PONG:
            raise WireError(f"a frame of kind {frame.kind}")

    def _write(self) -> None:
        beat_at = time.monotonic() + wire.PING_S
        try:
            while True:
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + wire.PING_S
                    self._beat()
                with self._wake:
                    data = self._link.take(time.monotonic())
                    self._wake.notify_all()  # `part` waits until all is on its way
                    if not data and (self.closing or self._failure is not None):
                        return
                    if not data:
                        wake_at = min(beat_at, self._link.wake_at())
                        self._wake.wait(max(0.0, wake_at - time.monotonic()))
                if data:
                    self._transport.send(data, Deadline(wire.DEAD_S))
        except DeviceError as error:
            self._fail(error)

    def _beat(self) -> None:
        with self._wake:
            self._last_number += 1
            if self.heartbeat is not None:
                self._link.post(self.heartbeat(self._last_number))
            else:
                self._link.signal(wire.PING)

    def _fail(self, error: DeviceError) -> None:
        with self._wake:
            if self._failure is None:
                self._failure = error
            self._wake.notify_all()
        for exchange in list(self._exchanges.values()):
            exchange.deliver(None)

    def part(self, deadline: Deadline) -> None:
        """Say goodbye right behind what was posted, which is still answered; on a link that loses frames, not yet.

        Args:
            deadline: Until when to wait for what was posted to be on its way.
        """
        with self._wake:
            on_its_way = lambda: not self._link.waiting_bytes or self._failure is not None  # noqa: E731
            if self._link.lossless and self._wake.wait_for(on_its_way, deadline.remaining_s):
                self._say_goodbye()

    def _say_goodbye(self) -> None:
        if not self._parted:
            self._link.signal(wire.BYE)
        self._parted = True
        self._wake.notify_all()

    def close(self) -> None:
        """Say goodbye, wait for both threads, and close the transport."""
        with self._wake:
            self.closing = True
            self._say_goodbye()
        for thread in reversed(self._threads):
            thread.join(wire.DEAD_S + 2 * _SLICE_S)
        self._transport.close()
