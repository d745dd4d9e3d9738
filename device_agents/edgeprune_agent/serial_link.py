"""Serves hosts on a terminal: the one that a host has started the agent on, or a line that is ours alone."""

import math
import os
import select
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from edgeprune_agent import console, identity, wire
from edgeprune_agent.channel import CROWDED_BYTES, Channel
from edgeprune_agent.tty_port import TtyPort, supported
from edgeprune_agent.wire import Frame, Message

_SLACK_S = 0.1
"""How much may wait in the terminal: an urgent frame waits behind it, and without it the line idles when we do."""
_LINGER_S, _DRAIN_S = 0.1, 0.02
_READ_BYTES = 64 * 1024
_UNMET_S = 60.0
"""How long an agent that was started on a console waits for a host."""


class SerialChannel(Channel):
    """Messages in, messages out, over a terminal.

    Args:
        port: The terminal.
        hello: What the agent says of itself in the handshake.
        first: What began the session, if it began while the one before was going on.
        stays: Whether the terminal is ours, so that nobody waits for us to leave.

    Attributes:
        successor: The HELLO of a new session that ended this one.
        hung_up: Whether the terminal is of no use any more.
    """

    def __init__(self, port: TtyPort, hello: Dict[str, Any], first: Optional[Frame], stays: bool) -> None:
        follower = wire.Follower(port.rate, supported(list(wire.LADDER)))
        self._line = wire.SerialLink(follower, now=time.monotonic())
        super().__init__(port.fd, port.fd, hello, self._line)
        self._port, self._stays = port, stays
        self._pace = wire.Pace(port.rate)
        self._unsent = memoryview(b"" if first else wire.PREAMBLE)
        self.successor: Optional[Frame] = None
        self.hung_up = False
        if first is not None:
            self._accept(first)

    @property
    def wanted(self) -> bool:
        """Whether it ended because a host wants a new session."""
        return self.successor is not None or (self._line.probed and not self._line.dismissed)

    @property
    def waiting_bytes(self) -> int:
        """How much is waiting to be sent."""
        return self._line.waiting_bytes + len(self._unsent)

    def _select(self, patience_s: float) -> bool:
        now = time.monotonic()
        crowded = self.waiting_bytes >= CROWDED_BYTES
        self._line.receiver.grant(0 if crowded else wire.SPAN, now)
        self._fill(now)
        delay_s = self._pace.delay_s(_SLACK_S, now)
        wake_s = max(self._line.wake_at() - now, delay_s)
        if self._line.waiting_bytes and delay_s > 0:
            wake_s = min(wake_s, delay_s)
        patience_s = max(0.0, min(patience_s, wake_s))
        poller = select.poll()
        poller.register(self._source, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        return any(events & ~select.POLLOUT for _, events in poller.poll(math.ceil(patience_s * 1000)))

    def _fill(self, now: float) -> None:
        """Have the next frame ready if the line is about to be idle."""
        if not self._unsent and self._pace.delay_s(_SLACK_S, now) == 0.0:
            data = self._line.take(now)
            self._pace.spend(len(data), now)
            self._unsent = memoryview(data)

    def _receive(self) -> List[Message]:
        try:
            data = os.read(self._source, _READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            self.hung_up = True
            self._end("The terminal was hung up.")
            return []
        messages = [self._accept(frame) for frame in self._line.feed(data, time.monotonic())]
        if self._line.dismissed or (self._line.probed and self._line.session):
            self.over = True
        elif self._line.probed:
            self._line.probed = False
            self._unsent = memoryview(bytes(self._unsent) + wire.PREAMBLE)
        return [message for message in messages if message is not None]

    def _accept(self, frame: Frame) -> Optional[Message]:
        if self.successor is not None:
            return None
        if frame.kind == wire.HELLO and self._line.session not in (0, frame.session):
            self.over, self.successor = True, frame
            return None
        if frame.kind == wire.HELLO:
            self._shake_hands(frame)
            return None
        return super()._accept(frame)

    def _send(self) -> None:
        now = time.monotonic()
        while not self.over:
            self._fill(now)
            if not self._unsent:
                break
            try:
                self._unsent = self._unsent[os.write(self._sink, self._unsent) :]
            except BlockingIOError:
                return
        if self._line.rate != self._port.rate and not self._unsent:
            # Not every terminal knows when the last byte has left.
            time.sleep(self._pace.delay_s(0.0, time.monotonic()) + _DRAIN_S)
            self._port.set_rate(self._line.rate)
            self._pace = wire.Pace(self._line.rate)

    def _keep_alive(self) -> None:
        silent_s = time.monotonic() - self._line.heard_at
        if self._line.session and silent_s > wire.DEAD_S:
            self._end(f"Nothing was heard for {wire.DEAD_S:.0f} s.")
        elif not self._line.session and silent_s > _UNMET_S and not self._stays:
            self._end(f"No host was met for {_UNMET_S:.0f} s.")


def serve(path: str, rate: int, hello: Dict[str, Any], run: Callable[[Channel], None]) -> None:
    """Serve hosts on a terminal, one after another.

    Args:
        path: Of the terminal; "-" for the one that standard input is, which is left when a host is done.
        rate: Bits per second; 0 for what it is set to.
        hello: What the agent says of itself in the handshake.
        run: Serves one session over a channel.
    """
    stays = path != "-"
    if not stays:
        console.forget_old_agents(identity.agent_file())
        console.stand_guard(0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with TtyPort(path, rate) as port:
        base, first = port.rate, None
        while True:
            channel = SerialChannel(port, hello, first, stays)
            run(channel)
            first = channel.successor
            if port.rate != base:
                port.set_rate(base)
            if channel.hung_up:
                return
            if not stays and not channel.wanted:
                # What the host still says is for us and would be gibberish to the shell.
                time.sleep(_LINGER_S)
                return


def _leave(number: int, frame: Any) -> None:
    sys.exit(0)
