"""Waits for a board to cool down between repeats, so that the last variant does not pay for the first one's heat."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgeprune.values.board_state import BoardState

MARGIN_C = 2.0
POLL_S = 1.0


class CoolingGate:
    """Lets a repeat begin when the board is as cool as it was before the first one, or patience ends.

    Args:
        read: Gives the board's state now.
        clock: Seconds that only rise.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        read: Callable[[], BoardState],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read, self._clock, self._sleep = read, clock, sleep
        self._start_c: float | None = None

    def wait(self, patience_s: float) -> None:
        """Wait until the hottest sensor is within 2 °C of what it was at the first call.

        Args:
            patience_s: Wait at most this long; 0 does not even look.
        """
        if patience_s <= 0:
            return
        until = self._clock() + patience_s
        while (now_c := self._read().hottest_c) is not None:
            if self._start_c is None:
                self._start_c = now_c
            if now_c <= self._start_c + MARGIN_C or self._clock() >= until:
                return
            self._sleep(POLL_S)
