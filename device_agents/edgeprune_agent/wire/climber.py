"""The host's part in a change of speed; see `tuning`. A board makes no use of it and gets none over a serial line."""

import math
from collections import deque
from typing import Deque, Optional, Set

from edgeprune_agent.wire.tuning import (
    AGREE,
    ASK,
    COMMIT,
    COMMITTED,
    ECHO,
    LADDER,
    PROBE,
    PROBES,
    REFUSE,
    REVERT_S,
    Tuner,
    encode_step,
    read_step,
)

_REPEAT_S, _ASK_S, _ANSWER_S, _SETTLE_S, _GRACE_S = 0.15, 0.6, 1.0, 0.08, 0.3


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
        self._send, self._next_at, self._until, self._reverts_at = ASK, math.inf, math.inf, math.inf
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
        self.active, self._goal, self._send = True, goal, ASK
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
        if self._send == PROBE and self._unsent:
            return encode_step(PROBE, self._token, self._goal, self._unsent.popleft())
        if self._send == PROBE:
            self._next_at = math.inf
            return None
        self._next_at = now + _REPEAT_S
        return encode_step(self._send, self._token, self._goal)

    def _give_up(self, now: float) -> None:
        if self._next_at == math.inf and self._send == REFUSE:
            self.active, self._until = False, math.inf
            return
        # The agent may have switched: wait where it will be when it has switched back.
        self.rate, self._send = self._settled, REFUSE
        self._ahead.clear()
        self._next_at, self._until = math.inf, min(self._reverts_at, now + REVERT_S + _GRACE_S)

    def accept(self, payload: bytes, now: float) -> None:
        """Take the agent's step; one that does not fit is ignored."""
        step, token, _, index = read_step(payload)
        if not self.active or token != self._token:
            return
        if step == REFUSE and self._send == ASK:
            self.active, self._next_at, self._until = False, math.inf, math.inf
            self.climb(now)
        elif step == AGREE and self._send == ASK:
            self.rate, self._send = self._goal, PROBE
            self._unsent, self._echoes = deque(range(PROBES)), set()
            self._next_at = now + _SETTLE_S
            self._until = now + _SETTLE_S + _ANSWER_S
            self._reverts_at = now + REVERT_S + _GRACE_S
        elif step == ECHO and self._send == PROBE:
            self._echoes.add(index)
            # A faster speed has to be faultless; a slower one is sought because this line is not.
            if len(self._echoes) == (PROBES if self._goal > self._settled else 1):
                self._send, self._next_at = COMMIT, now
        elif step == COMMITTED and self._send == COMMIT:
            self._settle(now)

    def _settle(self, now: float) -> None:
        self._settled = self._goal
        if self._goal in self._climbed:
            self._climbed.pop()
        else:
            self._climbed.append(self._goal)
        self.active, self._next_at, self._until = False, math.inf, math.inf
        self.climb(now)
