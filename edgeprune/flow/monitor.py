"""A board's state, again and again, while anybody works on it: no lease is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edgeprune.config import Config
from edgeprune.devices import connect, resolve
from edgeprune.measuring import evidence
from edgeprune.measuring.live_power import live_power
from edgeprune.values.board_state import BoardState
from edgeprune.values.device import DeviceProfile


@dataclass(frozen=True, slots=True)
class Reading:
    """What a board was like for a moment.

    Attributes:
        at_s: Since the first reading.
        state: As the board told it.
        busy: Processors that were busy since the reading before; None where the kernel does not tell.
        throttling: What lowered the clocks since then, in words; "" for nothing.
        power_w: Mean since the reading before, of a meter at the host; over 0.2 s, of the board's own sensor; None
            where nothing tells,
        power_missing: and why.
    """

    at_s: float
    state: BoardState
    busy: float | None
    throttling: str
    power_w: float | None = None
    power_missing: str = ""


def watch_board(
    device: str | DeviceProfile,
    interval_s: float = 1.0,
    count: int | None = None,
    *,
    meter: str = "",
    config: Config | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Reading]:
    """Read a board's state at intervals.

    Args:
        device: Name, tag or address of the board, or its profile.
        interval_s: Between two readings.
        count: How many; None for no end.
        meter: Address of what reads power; "" for the device's own.
        config: Whose devices are known by name, too.
        sleep: Waits for so many seconds.

    Yields:
        Readings, the first one an interval after the call: load is what happened between two.
    """
    profile = resolve(device, config.devices if config else None)
    with connect(profile, exclusive=False) as session, live_power(session, meter or profile.meter) as power:
        first = before = session.state()
        done = 0
        while count is None or done < count:
            sleep(interval_s)
            state = session.state()
            power_w, missing = power.look()
            yield replace(read_between(first, before, state), power_w=power_w, power_missing=missing)
            before, done = state, done + 1


def read_between(first: BoardState, before: BoardState, now: BoardState) -> Reading:
    """Return what two states of a board say of the time between them.

    Args:
        first: From which time is counted.
        before: The earlier one.
        now: The later one.

    Returns:
        The reading.
    """
    elapsed_s = (now.at_ns - before.at_ns) * 1e-9
    known = now.busy_s is not None and before.busy_s is not None and elapsed_s > 0
    busy = ((now.busy_s or 0.0) - (before.busy_s or 0.0)) / elapsed_s if known else None
    return Reading((now.at_ns - first.at_ns) * 1e-9, now, busy, evidence.throttling_between((before, now)))
