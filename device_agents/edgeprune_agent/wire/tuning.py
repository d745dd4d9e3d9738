"""How both ends of a serial line come to a faster speed, and back if that fails. Pure; the caller brings the clock.

    host                                agent
    ASK faster       ── old speed ──▶   (or REFUSE)
                     ◀─ old speed ──   AGREE, then it switches, and switches back unless COMMIT comes within 2 s
    PROBE 0 … 7      ── new speed ──▶
                     ◀─ new speed ──   ECHO 0 … 7
    COMMIT           ── new speed ──▶
                     ◀─ new speed ──   COMMITTED

Whatever is lost in between, both are back at the old speed, or after 4 s of silence at the console's.
"""

import math
import struct
import zlib
from collections import deque
from typing import Deque, Optional, Sequence, Tuple

from edgeprune_agent.wire.protocol import WireError

LADDER = (115200, 230400, 460800, 921600, 1500000, 3000000)
"""Bits per second that are tried, in this order."""
SILENCE_S = 4.0
"""Both ends go back to the console's speed when nothing was heard for this long."""
PROBES, PROBE_BYTES = 8, 512
_STEP = struct.Struct(">BIIB")
ASK, AGREE, REFUSE, PROBE, ECHO, COMMIT, COMMITTED = range(7)
REVERT_S = 2.0
"""The agent switches back this long after it has agreed, unless the change was made for good."""


def encode_step(step: int, token: int, rate: int = 0, index: int = 0) -> bytes:
    """Return the payload of a TUNE frame."""
    head = _STEP.pack(step, token, rate, index)
    return head + (_pattern(token, index) if step in (PROBE, ECHO) else b"")


def _pattern(token: int, index: int) -> bytes:
    # Every bit pattern that a line may stumble over, another one in each probe.
    words = (zlib.crc32(b"%d %d %d" % (token, index, word)) for word in range(PROBE_BYTES // 4))
    return b"".join(word.to_bytes(4, "big") for word in words)


def read_step(payload: bytes) -> Tuple[int, int, int, int]:
    """Return step, token, speed and index of the payload of a TUNE frame.

    Raises:
        WireError: It is none.
    """
    if len(payload) < _STEP.size:
        raise WireError(f"a step of {len(payload)} bytes")
    step, token, rate, index = _STEP.unpack_from(payload)
    if payload != encode_step(step, token, rate, index) or step > COMMITTED:
        raise WireError("a step that was altered")
    return step, token, rate, index


class Tuner:
    """One end's part in a change of speed.

    Args:
        rate: The console's speed.

    Attributes:
        leads: Whether this end decides.
        rate: The speed that the line shall have, once all that `take` gave is sent.
        active: Whether a change is under way, during which nothing else may be sent.
    """

    leads = False

    def __init__(self, rate: int) -> None:
        self.rate = self._base = self._settled = rate
        self.active = False

    @property
    def raised(self) -> bool:
        """Whether the speed is another one than the console's."""
        return self.rate != self._base

    def climb(self, now: float) -> None:
        """Try the next higher speed, if this end decides and one is left."""

    def step_down(self, now: float) -> bool:
        """Go back to the last lower speed, if this end decides.

        Args:
            now: The time.

        Returns:
            Whether there is one.
        """
        return False

    def fall_back(self, now: float) -> None:
        """Go back to the console's speed at once, where the other side will be as well."""
        raise NotImplementedError

    def wake_at(self) -> float:
        """Return when `take` has something to do."""
        raise NotImplementedError

    def take(self, now: float) -> Optional[bytes]:
        """Return the next step to send, or None."""
        raise NotImplementedError

    def accept(self, payload: bytes, now: float) -> None:
        """Take a step of the other side; one that does not fit is ignored.

        Raises:
            WireError: It is no step.
        """
        raise NotImplementedError


class Follower(Tuner):
    """The agent's part.

    Args:
        rate: The console's speed.
        supported: Speeds that the terminal can be set to.
    """

    def __init__(self, rate: int, supported: Sequence[int]) -> None:
        super().__init__(rate)
        self._supported = supported
        self._answers: Deque[Tuple[bytes, int]] = deque()
        self._revert_at = math.inf

    def fall_back(self, now: float) -> None:
        """Go back to the console's speed at once."""
        self._answers.clear()
        self.rate = self._settled = self._base
        self.active, self._revert_at = False, math.inf

    def wake_at(self) -> float:
        """Return when `take` has something to do."""
        return -math.inf if self._answers else self._revert_at

    def take(self, now: float) -> Optional[bytes]:
        """Return the next step to send, or None."""
        if now >= self._revert_at:
            self.rate, self.active, self._revert_at = self._settled, False, math.inf
            self._answers.clear()
        if not self._answers:
            return None
        payload, self.rate = self._answers.popleft()
        return payload

    def accept(self, payload: bytes, now: float) -> None:
        """Take the host's step."""
        step, token, rate, index = read_step(payload)
        if step == ASK and not self.active and rate in self._supported:
            self.active, self._revert_at = True, now + REVERT_S
            self._answers.append((encode_step(AGREE, token, rate), rate))
        elif step == ASK and not self.active:
            self._answers.append((encode_step(REFUSE, token, rate), self.rate))
        elif step == PROBE and self.active and rate == self.rate:
            self._answers.append((encode_step(ECHO, token, rate, index), self.rate))
        elif step == COMMIT and rate == self.rate:
            self._settled, self.active, self._revert_at = rate, False, math.inf
            self._answers.append((encode_step(COMMITTED, token, rate), self.rate))
