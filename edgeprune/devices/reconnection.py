"""How often and for how long a lost link is opened again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from edgeprune.devices.transport import Deadline

DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0)
_PATIENCE_S = 60.0
"""A board that was restarted is back in half a minute, most of them; a console takes all this time for one attempt."""
NEWS = f"The link was lost. Connecting again, for up to {_PATIENCE_S:.0f} s; Ctrl-C ends it."


class Attempts:
    """Iterating waits before each attempt to connect.

    Args:
        tell: Called before the second attempt: a link that is back at once is nobody's concern.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._patience = tell, Deadline(_PATIENCE_S)
        self._left = len(DELAYS_S)

    def __iter__(self) -> Iterator[None]:
        for number, delay_s in enumerate(DELAYS_S):
            if number == 1:
                self._tell(NEWS)
            time.sleep(delay_s)
            self._left -= 1
            yield

    @property
    def over(self) -> bool:
        """Whether the attempt that was just made is the last one."""
        return not self._left or self._patience.expired
