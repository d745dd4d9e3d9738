"""Clocks that stay where they are while we measure, where we may set them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeprune.errors import DeviceError
from edgeprune.values.event import Event, Listener, ignore

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

_COMMANDS_S = 120.0
"""jetson_clocks and nvpmodel take seconds each."""


@contextlib.contextmanager
def pinned(session: Session, power_mode: int | None = None, listener: Listener = ignore) -> Iterator[None]:
    """Pin the board's clocks for a block: the governor performance, on a Jetson jetson_clocks, too.

    They are given back at the end of the block, and by a watchdog on the board when our lease ends in any other way.
    What may not be set, mostly for lack of root, is told and left as it is.

    Args:
        session: Of the board, with the lease.
        power_mode: Number of a mode of nvpmodel to measure in; None for the one that is set.
        listener: Hears of what could not be set.

    Yields:
        Nothing.
    """
    answer = session.request("board.pin", _COMMANDS_S, power_mode=power_mode)
    for refusal in answer.get("refused", []):
        listener(Event("measure", session.profile.name, message=f"{session.profile.name} does not pin its {refusal}."))
    try:
        yield
    finally:
        with contextlib.suppress(DeviceError):  # the watchdog does it then
            session.request("board.unpin", _COMMANDS_S)
