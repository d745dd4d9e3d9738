"""The agent's end of a link: two descriptors, the handshake, and signs of life."""

import math
import os
import select
import sys
import time
from typing import Any, Dict, List, Optional

from edgeprune_agent import rest, wire
from edgeprune_agent.wire import AgentError, Frame, Link, Message, StreamLink, WireError

_READ_BYTES = 256 * 1024
CROWDED_BYTES = 8 << 20
"""Hear no more while the host does not read what it was sent."""


class Channel:
    """Messages in, messages out, over a pair of pipes; one thread, and it never blocks on either.

    Args:
        source: Descriptor to read from.
        sink: Descriptor to write to; set to non-blocking.
        hello: What the agent says of itself in the handshake.
        link: What carries the frames; a stream unless another one is given.
        heard: What came before the pipe was ours.

    Attributes:
        over: Whether the link has ended, by whichever side.
        fault: Why, if that was no orderly end; else "".
    """

    def __init__(
        self, source: int, sink: int, hello: Dict[str, Any], link: Optional[Link] = None, heard: bytes = b""
    ) -> None:
        self._source, self._sink, self._hello = source, sink, hello
        os.set_blocking(sink, False)
        self._link, self._lanes = link or StreamLink(), wire.Lanes()
        self._unsent = memoryview(wire.PREAMBLE)
        self._heard_at = self._spoke_at = time.monotonic()
        self.over, self.fault = False, ""
        self._parted, self._heard = False, heard

    @property
    def waiting_bytes(self) -> int:
        """How much is waiting to be sent."""
        return self._link.waiting_bytes + len(self._unsent)

    def post(self, message: Message) -> None:
        """Queue a message."""
        self._link.post(message)

    def exchange(self, patience_s: float) -> List[Message]:
        """Send and receive for a while.

        Args:
            patience_s: How long to wait when nothing moves.

        Returns:
            The messages that came; none of it is more than the host said.
        """
        try:
            if self._parted:
                # Its last requests have been answered by now.
                self._send()
                self.over = True
                return []
            readable = self._heard or self._select(patience_s)
            messages = self._receive() if readable else []
            self._send()
            self._keep_alive()
            return messages
        except WireError as error:
            self._end(f"The host broke the protocol: {error}.")
        except OSError as error:
            self._end(f"The link failed: {error}.")
        return []

    def _select(self, patience_s: float) -> bool:
        waiting = self.waiting_bytes
        poller = select.poll()
        if waiting:
            poller.register(self._sink, select.POLLOUT)
        if waiting < CROWDED_BYTES:
            poller.register(self._source, select.POLLIN)
        return any(fd == self._source for fd, _ in poller.poll(math.ceil(patience_s * 1000)))

    def _receive(self) -> List[Message]:
        try:
            data = self._heard or os.read(self._source, _READ_BYTES)
        except BlockingIOError:
            return []
        self._heard = b""
        if not data:
            self.over = True
            return []
        frames = self._link.feed(data, time.monotonic())
        if frames:
            self._heard_at = time.monotonic()
        return [message for message in map(self._accept, frames) if message is not None]

    def _accept(self, frame: Frame) -> Optional[Message]:
        if self._link.session == 0:
            self._shake_hands(frame)
            return None
        if self._parted:
            return None
        if frame.session != self._link.session:
            raise WireError("a frame of another session")
        if frame.kind == wire.DATA:
            return self._lanes.accept(frame)
        if frame.kind == wire.PING:
            self._link.signal(wire.PONG)
        elif frame.kind == wire.BYE:
            self._parted = True
        elif frame.kind != wire.PONG:
            raise WireError(f"a frame of kind {frame.kind}")
        return None

    def _shake_hands(self, frame: Frame) -> None:
        if frame.kind != wire.HELLO:
            raise WireError("something before HELLO")
        theirs = wire.decode_json(frame.payload)
        self._link.session = frame.session
        if not _speaks_ours(theirs.get("epl")):
            refusal = AgentError("E_VERSION", "No common version.", detail={"epl": list(wire.PROTOCOL)})
            self._link.post(wire.json_message(wire.ERR, 0, refusal.to_data()))
            self._parted = True
            return
        max_frame = theirs.get("max_frame")
        if type(max_frame) is not int or not 64 <= max_frame <= 1 << 24:
            raise WireError("HELLO without a usable max_frame")
        agreed = min(max_frame, self._link.max_frame)
        answer = dict(self._hello, epl=list(wire.PROTOCOL), max_frame=agreed, nonce=str(theirs.get("nonce"))[:64])
        answer["feat"] = [*self._hello["feat"], *self._link.features, *rest.wanted()]
        self._link.signal(wire.HELLO, wire.encode_json(answer))
        self._link.max_frame = agreed
        self._link.agree(theirs.get("feat"))
        self._parted = theirs.get("device_id", answer["device_id"]) != answer["device_id"]

    def _send(self) -> None:
        while self.waiting_bytes and not self.over:
            if not self._unsent:
                self._unsent = memoryview(self._link.take(time.monotonic()))
                self._spoke_at = time.monotonic()
            try:
                self._unsent = self._unsent[os.write(self._sink, self._unsent) :]
            except BlockingIOError:
                return

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now - self._heard_at > wire.DEAD_S:
            self._end(f"Nothing was heard for {wire.DEAD_S:.0f} s.")
        elif self._link.session and now - max(self._heard_at, self._spoke_at) > wire.PING_S:
            self._link.signal(wire.PING)
            self._spoke_at = now

    def _end(self, fault: str) -> None:
        self.over, self.fault = True, fault
        sys.stderr.write(f"edgeprune agent: {fault}\n")


def _speaks_ours(versions: Any) -> bool:
    if not isinstance(versions, list) or len(versions) != 2 or not all(type(v) is int for v in versions):
        raise WireError("HELLO without versions")
    return bool(versions[0] <= wire.PROTOCOL[1] and versions[1] >= wire.PROTOCOL[0])
