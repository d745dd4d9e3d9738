"""The link over a serial line: frames in COBS between zeros, selective repeat, probes in text, a speed that adapts.

Pure; the caller brings the clock, and sets the line to `rate`.
"""

import math
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

from edgeprune_agent.wire import cobs
from edgeprune_agent.wire.frames import Frame, decode_frame
from edgeprune_agent.wire.links import Link
from edgeprune_agent.wire.messages import Message
from edgeprune_agent.wire.protocol import (
    ACK,
    ACK_NOW,
    CONTROL,
    DATA,
    HELLO,
    MAX_FETCH_BYTES,
    PING,
    RESET,
    TUNE,
    WireError,
)  # fmt: skip
from edgeprune_agent.wire.repeat import MAX_PIECE, SHORT_COST, Receiver, Sender, decode_ack
from edgeprune_agent.wire.short import FEATURE, decode_short, encode_short, is_short
from edgeprune_agent.wire.tuning import SILENCE_S, Tuner

PROBE_TEXT = b"\r~EPL?\r"
"""Asks whether an agent is there. In print, since a shell or a login may be there instead."""
LEAVE_TEXT = b"\r~EPL.\r"
"""Between zeros: asks whatever agent is there to go and give the console back."""
GONE_TEXT = b"\r~EPL!\r"
"""Between zeros: says that the agent was killed."""
_SMALLEST_FETCH = 4096
_LONGEST_CHUNK = 2 * (MAX_PIECE + 32)
_QUIET_S = 0.5
_GREET_S, _PING_S = 0.3, 1.0
_WATCH_S, _WATCH_FRAMES, _WORST_LOSS = 5.0, 20, 0.05


class Pace:
    """How much of what was sent is still on its way through a line of a known speed.

    Args:
        rate: Bits per second.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._free_at = -math.inf

    def spend(self, size: int, now: float) -> None:
        """Note that so many bytes were handed over."""
        self._free_at = max(self._free_at, now) + size * 10 / self.rate

    def delay_s(self, slack_s: float, now: float) -> float:
        """Return how long to wait until the line is busy for no longer than `slack_s`."""
        return max(0.0, self._free_at - slack_s - now)


class SerialLink(Link):
    """One end of a serial line; see "Serial link" in docs/wire.md.

    Args:
        tuner: Decides on the speed: `Climber` at the host, `Follower` at the agent.
        session: The session's id; 0 until the host has said it.
        now: The time.

    Attributes:
        rate: Bits per second that the line shall have.
        heard_at: When the last valid frame came.
        probed: Whether a host asked in text whether anybody is there, and nothing else was going on.
        dismissed: Whether a host asked in text to be left alone.
    """

    chunk_bytes = 16 * 1024 - 64
    window_bytes = 256 * 1024
    packs = True
    lossless = False
    features = (FEATURE,)

    def __init__(self, tuner: Tuner, session: int = 0, now: float = 0.0) -> None:
        self.session, self.max_frame = session, MAX_PIECE
        self._tuner = tuner
        self._splitter = cobs.Splitter(_LONGEST_CHUNK)
        self._sender, self._receiver = Sender(tuner.rate), Receiver()
        self._packets = 0
        self._short = False
        self._idle = True
        self._signals: Deque[Tuple[int, bytes]] = deque()
        self._greeting: Optional[bytes] = None
        self._greet_at = self._ping_at = math.inf
        self._watch: Dict[str, float] = {"at": now, "resolved": 0, "lost": 0}
        self.heard_at = now
        self.probed = self.dismissed = False

    @property
    def fetch_bytes(self) -> int:  # type: ignore[override]
        """Two seconds of the line."""
        return max(_SMALLEST_FETCH, min(MAX_FETCH_BYTES, self.rate // 5))

    @property
    def rate(self) -> int:  # type: ignore[override]
        """Bits per second that the line shall have."""
        return self._tuner.rate

    @property
    def waiting_bytes(self) -> int:
        """How much was never sent."""
        return self._sender.waiting_bytes + sum(len(payload) + 1 for _, payload in self._signals)

    @property
    def busy(self) -> bool:
        """Whether anything is not yet sent or not yet acknowledged."""
        return self._sender.busy or bool(self._signals) or self._greeting is not None

    @property
    def sender(self) -> Sender:
        """What is sent, and its losses."""
        return self._sender

    @property
    def receiver(self) -> Receiver:
        """What comes, and its losses."""
        return self._receiver

    def agree(self, theirs: Any) -> None:
        """Send short frames from now on if the other side reads them."""
        if isinstance(theirs, list) and FEATURE in theirs:
            self._short, self._sender.frame_cost = True, SHORT_COST

    def post(self, message: Message) -> None:
        """Queue a message."""
        self._sender.post(message)

    def drop(self, request: int) -> None:
        """Forget the bulk messages of a request of which nothing was sent."""
        self._sender.drop(request)

    def signal(self, kind: int, payload: bytes = b"") -> None:
        """Queue a frame that is no DATA. A host's HELLO is sent until it is answered."""
        if kind == HELLO and self._tuner.leads:
            self._greeting, self._greet_at = payload, -math.inf
        else:
            self._signals.append((kind, payload))

    def feed(self, data: bytes, now: float) -> List[Frame]:
        """Take bytes that came and return the frames for the layer above, DATA in order.

        Args:
            data: From the line; what is no frame is ignored.
            now: The time.

        Returns:
            Frames.
        """
        frames: List[Frame] = []
        for chunk in self._splitter.feed(data):
            try:
                frames += self._accept(self._decode(cobs.decode(chunk)), now)
            except WireError:
                self.dismissed |= chunk == LEAVE_TEXT
                if chunk == GONE_TEXT and self._tuner.leads:
                    frames.append(Frame(RESET, 0, self.session, 0, 0, CONTROL, b""))
                self._listen(chunk, now)
        self._listen(self._splitter.rest, now)
        return frames

    def _listen(self, text: bytes, now: float) -> None:
        # A file may hold these very bytes: they count only while no frames come.
        if PROBE_TEXT in text and now - self.heard_at > _QUIET_S:
            self.probed = True
            self._splitter.rest = b""

    def _decode(self, raw: bytes) -> Frame:
        if not is_short(raw):
            return decode_frame(raw, MAX_PIECE)
        return self._receiver.complete(decode_short(raw, self.session))

    def _accept(self, frame: Frame, now: float) -> List[Frame]:
        if frame.kind == TUNE:
            self.heard_at = now
            if frame.session == self.session:
                self._receiver.note(frame, now)
            self._tuner.accept(frame.payload, now)
            return []
        if frame.kind == HELLO and not self._tuner.leads:
            self.heard_at = now
            if frame.session == self.session:
                self._receiver.note(frame, now)
            return [frame]
        if frame.session != self.session:
            if self.session == 0:
                self._signals.append((RESET, frame.session.to_bytes(2, "big")))
            return []
        self.heard_at = now
        self._ping_at = now + _PING_S
        return self._accept_own(frame, now)

    def _accept_own(self, frame: Frame, now: float) -> List[Frame]:
        self._receiver.note(frame, now)
        if frame.kind == DATA:
            return self._receiver.accept(frame, now)
        if frame.kind == ACK:
            self._sender.acknowledged(decode_ack(frame.payload), self._packets, now)
            return []
        if frame.kind == HELLO and self._greeting is not None and self._tuner.leads:
            self._greeting, self._greet_at = None, math.inf
            self._tuner.climb(now)
        elif frame.kind == HELLO:
            return []
        return [frame]

    def take(self, now: float) -> bytes:
        """Return the next frame to send; b"" when there is none now.

        Args:
            now: The time.

        Returns:
            Bytes for the line, at the speed `rate`.
        """
        self._watch_losses(now)
        if self._tuner.raised and now - self.heard_at > SILENCE_S:
            self._tuner.fall_back(now)
        step = self._tuner.take(now)
        self._sender.rate = self._tuner.rate
        if step is not None:
            return self._wrap(TUNE, 0, step)
        if self._tuner.active:
            self._idle = True
            return b""
        taken = self._take_signal(now) or self._take_ack(now) or self._take_data(now) or self._take_ping(now)
        self._idle = not taken
        return taken

    def _take_signal(self, now: float) -> bytes:
        if self._greeting is not None and now >= self._greet_at:
            self._greet_at = now + _GREET_S
            return self._wrap(HELLO, 0, self._greeting)
        if not self._signals:
            return b""
        kind, payload = self._signals.popleft()
        if kind == RESET:
            return self._wrap(RESET, 0, b"", int.from_bytes(payload, "big"))
        return self._wrap(kind, 0, payload)

    def _take_ack(self, now: float) -> bytes:
        ack = self._receiver.acknowledge(now)
        return b"" if ack is None else self._wrap(ACK, 0, ack.encode())

    def _take_data(self, now: float) -> bytes:
        if self._greeting is not None:
            return b""
        packet = self._sender.take(self._packets, now)
        if packet is None:
            return b""
        return self._wrap(DATA, packet.flags, packet.payload, self.session, packet.sequence, packet.lane)

    def _take_ping(self, now: float) -> bytes:
        # The host asks for a sign of life, and for credit while it has none.
        if now < self._ping_at or not self._tuner.leads:
            return b""
        self._ping_at = now + _PING_S
        return self._wrap(PING, ACK_NOW, b"")

    def _wrap(
        self, kind: int, flags: int, payload: bytes, session: int = 0, sequence: int = 0, lane: int = CONTROL
    ) -> bytes:
        number = self._packets & 0xFFFF
        frame = Frame(kind, flags, session or self.session or 1, number, sequence, lane, payload)
        self._packets += 1
        raw = encode_short(frame) if self._short and kind == DATA else frame.encode()
        # The zero before marks off what was said while the line was idle; behind another frame it says nothing.
        return (b"\0" if self._idle else b"") + cobs.encode(raw) + b"\0"

    def wake_at(self) -> float:
        """Return when `take` may have something although nothing was posted or fed."""
        if self._tuner.active or self._tuner.wake_at() < math.inf:
            return min(self._tuner.wake_at(), self.heard_at + SILENCE_S)
        times = (self._receiver.wake_at(), self._sender.wake_at(), self._greet_at)
        return min(*times, self._ping_at) if self._tuner.leads else min(times)

    def _watch_losses(self, now: float) -> None:
        """Go slower when more than 5 % of the frames were lost in the last seconds, either way."""
        watch = self._watch
        if now - watch["at"] < _WATCH_S:
            return
        resolved = self._sender.resolved + self._receiver.came + self._receiver.missed
        lost = self._sender.lost + self._receiver.missed
        frames, missed = resolved - watch["resolved"], lost - watch["lost"]
        self._watch = {"at": now, "resolved": resolved, "lost": lost}
        if self._tuner.leads and frames >= _WATCH_FRAMES and missed > frames * _WORST_LOSS:
            self._tuner.step_down(now)
