"""What carries frames, apart from the messages in them: a pipe that loses nothing, here, and a serial line."""

import math
from typing import Any, List, Tuple

from edgeprune_agent.wire.frames import Frame, StreamReader, StreamWriter
from edgeprune_agent.wire.messages import CHUNK_BYTES, Message
from edgeprune_agent.wire.protocol import MAX_FETCH_BYTES, MAX_FRAME_BYTES, WINDOW_BYTES


class Link:
    """One end of a link: bytes in and frames out, messages in and bytes out. Pure; the caller brings the clock.

    Attributes:
        session: The session's id; 0 until the host has said it.
        max_frame: The longest payload that both sides take.
        chunk_bytes: How much of a file one CHUNK should hold,
        window_bytes: and how far an upload may run ahead of the last CREDIT.
        fetch_bytes: How much of a file one request should fetch.
        heard_at: When the last valid frame came.
        packs: Whether it is worth while to compress what is sent.
        lossless: Whether all that is sent arrives, in order within its lane.
        rate: Bits per second of a line; 0 where nobody knows them.
        features: What this end's HELLO says of the link in its `feat`.
    """

    session = 0
    max_frame = MAX_FRAME_BYTES
    chunk_bytes = CHUNK_BYTES
    window_bytes = WINDOW_BYTES
    fetch_bytes = MAX_FETCH_BYTES
    heard_at = 0.0
    packs = False
    lossless = True
    rate = 0
    features: Tuple[str, ...] = ()

    def agree(self, theirs: Any) -> None:
        """Learn the `feat` of the other side's HELLO, before anything else is posted."""

    @property
    def waiting_bytes(self) -> int:
        """How much is queued."""
        raise NotImplementedError

    def post(self, message: Message) -> None:
        """Queue a message."""
        raise NotImplementedError

    def signal(self, kind: int, payload: bytes = b"") -> None:
        """Queue a frame that is no DATA: it overtakes every message."""
        raise NotImplementedError

    def feed(self, data: bytes, now: float) -> List[Frame]:
        """Take bytes that came and return the frames for the layer above, DATA in order.

        Raises:
            WireError: The link cannot be read any further.
        """
        raise NotImplementedError

    def take(self, now: float) -> bytes:
        """Return the next bytes to send; b"" when there are none now."""
        raise NotImplementedError

    def wake_at(self) -> float:
        """Return when `take` may have something although nothing was posted or fed."""
        return math.inf

    def drop(self, request: int) -> None:
        """Forget the bulk messages of a request of which nothing was sent."""


class StreamLink(Link):
    """A pipe or a channel that loses nothing; see "Stream link" in docs/wire.md.

    Args:
        session: The session's id; 0 until the host has said it.
    """

    def __init__(self, session: int = 0) -> None:
        self._reader, self._writer = StreamReader(), StreamWriter(session)

    @property
    def session(self) -> int:
        """The session's id."""
        return self._writer.session

    @session.setter
    def session(self, session: int) -> None:
        self._writer.session = session

    @property
    def max_frame(self) -> int:
        """The longest payload that both sides take."""
        return self._writer.max_frame

    @max_frame.setter
    def max_frame(self, size: int) -> None:
        self._writer.max_frame = self._reader.max_frame = size

    @property
    def chunk_bytes(self) -> int:  # type: ignore[override]
        """How much of a file fits into one frame."""
        return self.max_frame - (MAX_FRAME_BYTES - CHUNK_BYTES)

    @property
    def waiting_bytes(self) -> int:
        """How much is queued."""
        return self._writer.waiting_bytes

    def post(self, message: Message) -> None:
        """Queue a message."""
        self._writer.post(message)

    def signal(self, kind: int, payload: bytes = b"") -> None:
        """Queue a frame that is no DATA."""
        self._writer.signal(kind, payload)

    def feed(self, data: bytes, now: float) -> List[Frame]:
        """Take bytes that came.

        Args:
            data: From the other side.
            now: The time.

        Returns:
            The frames that they complete.
        """
        frames = self._reader.feed(data)
        if frames:
            self.heard_at = now
        return frames

    def take(self, now: float) -> bytes:
        """Return the bytes of the next frame; b"" when nothing waits."""
        return self._writer.take()
