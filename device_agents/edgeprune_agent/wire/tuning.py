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
from typing import Deque, Optional, Sequence, Set, Tuple

from edgeprune_agent.wire.protocol import WireError

LADDER = (115200, 230400, 460800, 921600, 1500000, 3000000)
"""Bits per second that are tried, in this order."""
SILENCE_S = 4.0
"""Both ends go back to the console's speed when nothing was heard for this long."""
PROBES, PROBE_BYTES = 8, 512
_STEP = struct.Struct(">BIIB")
_ASK, _AGREE, _REFUSE, _PROBE, _ECHO, _COMMIT, _COMMITTED = range(7)
_REPEAT_S, _ASK_S, _ANSWER_S, _SETTLE_S, _REVERT_S = 0.15, 0.6, 1.0, 0.08, 2.0
_GRACE_S = 0.3


def _step(step: int, token: int, rate: int = 0, index: int = 0) -> bytes:
    head = _STEP.pack(step, token, rate, index)
    return head + (_pattern(token, index) if step in (_PROBE, _ECHO) else b"")


def _pattern(token: int, index: int) -> bytes:
    # Every bit pattern that a line may stumble over, another one in each probe.
    words = (zlib.crc32(b"%d %d %d" % (token, index, word)) for word in range(PROBE_BYTES // 4))
    return b"".join(word.to_bytes(4, "big") for word in words)


def _read(payload: bytes) -> Tuple[int, int, int, int]:
    if len(payload) < _STEP.size:
        raise WireError(f"a step of {len(payload)} bytes")
    step, token, rate, index = _STEP.unpack_from(payload)
    if payload != _step(step, token, rate, index) or step > _COMMITTED:
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


class Climber(Tuner):
    """The host's part.

    Args:
        rate: The console's speed.
        fastest: The highest speed to try; `rate` for none.
    """

    leads = True

    def __init__(self, rate: int, fastest: int) -> None:
        super().__init__(rate)
        self._ahead = deque(step for step in LADDER if rate < step <= fastest)
        self._climbed = [rate]
        self._token = self._goal = 0
        self._send, self._next_at, self._until, self._reverts_at = _ASK, math.inf, math.inf, math.inf
        self._unsent: Deque[int] = deque()
        self._echoes: Set[int] = set()

    def climb(self, now: float) -> None:
        """Try the next higher speed, if one is left."""
        if self._ahead:
            self._begin(self._ahead.popleft(), now)

    def step_down(self, now: float) -> bool:
        """Go back to the last lower speed.

        Args:
            now: The time.

        Returns:
            Whether there is one.
        """
        if self.active or len(self._climbed) < 2:
            return False
        self._ahead.clear()
        self._begin(self._climbed[-2], now)
        return True

    def fall_back(self, now: float) -> None:
        """Go back to the console's speed at once, where the other side will be as well."""
        self._ahead.clear()
        self._climbed = [self._base]
        self.rate = self._settled = self._base
        self.active, self._next_at, self._until = False, math.inf, math.inf

    def _begin(self, goal: int, now: float) -> None:
        self.active, self._goal, self._send = True, goal, _ASK
        self._token += 1
        self._next_at, self._until = now, now + _ASK_S
        self._reverts_at = math.inf

    def wake_at(self) -> float:
        """Return when `take` has something to do."""
        return min(self._next_at, self._until)

    def take(self, now: float) -> Optional[bytes]:
        """Return the next step to send, or None."""
        if self.active and now >= self._until:
            self._give_up(now)
        if not self.active or now < self._next_at:
            return None
        if self._send == _PROBE and self._unsent:
            return _step(_PROBE, self._token, self._goal, self._unsent.popleft())
        if self._send == _PROBE:
            self._next_at = math.inf
            return None
        self._next_at = now + _REPEAT_S
        return _step(self._send, self._token, self._goal)

    def _give_up(self, now: float) -> None:
        if self._next_at == math.inf and self._send == _REFUSE:
            self.active, self._until = False, math.inf
            return
        # The agent may have switched: wait where it will be when it has switched back.
        self.rate, self._send = self._settled, _REFUSE
        self._ahead.clear()
        self._next_at, self._until = math.inf, min(self._reverts_at, now + _REVERT_S + _GRACE_S)

    def accept(self, payload: bytes, now: float) -> None:
        """Take the agent's step; one that does not fit is ignored."""
        step, token, _, index = _read(payload)
        if not self.active or token != self._token:
            return
        if step == _REFUSE and self._send == _ASK:
            self.active, self._next_at, self._until = False, math.inf, math.inf
            self.climb(now)
        elif step == _AGREE and self._send == _ASK:
            self.rate, self._send = self._goal, _PROBE
            self._unsent, self._echoes = deque(range(PROBES)), set()
            self._next_at = now + _SETTLE_S
            self._until = now + _SETTLE_S + _ANSWER_S
            self._reverts_at = now + _REVERT_S + _GRACE_S
        elif step == _ECHO and self._send == _PROBE:
            self._echoes.add(index)
            # A faster speed has to be faultless; a slower one is sought because this line is not.
            if len(self._echoes) == (PROBES if self._goal > self._settled else 1):
                self._send, self._next_at = _COMMIT, now
        elif step == _COMMITTED and self._send == _COMMIT:
            self._settle(now)

    def _settle(self, now: float) -> None:
        self._settled = self._goal
        if self._goal in self._climbed:
            self._climbed.pop()
        else:
            self._climbed.append(self._goal)
        self.active, self._next_at, self._until = False, math.inf, math.inf
        self.climb(now)


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
        step, token, rate, index = _read(payload)
        if step == _ASK and not self.active and rate in self._supported:
            self.active, self._revert_at = True, now + _REVERT_S
            self._answers.append((_step(_AGREE, token, rate), rate))
        elif step == _ASK and not self.active:
            self._answers.append((_step(_REFUSE, token, rate), self.rate))
        elif step == _PROBE and self.active and rate == self.rate:
            self._answers.append((_step(_ECHO, token, rate, index), self.rate))
        elif step == _COMMIT and rate == self.rate:
            self._settled, self.active, self._revert_at = rate, False, math.inf
            self._answers.append((_step(_COMMITTED, token, rate), self.rate))
