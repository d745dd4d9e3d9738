"""Who has a board: to look, to hold it for work by hand, and to set it free."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgeprune.devices.replies import optional_text
from edgeprune.devices.session import Session, connect
from edgeprune.errors import DeviceBusy
from edgeprune.values.device import DeviceProfile

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a board.

    Attributes:
        name: What the holder calls itself; None if the board is free.
        since_utc: Since when.
        run: Id of the run that goes on there; None if there is none.
    """

    name: str | None
    since_utc: str | None
    run: str | None


def who(profile: DeviceProfile) -> Holder:
    """Return who has a board; asks without taking it.

    Args:
        profile: Of the board.

    Returns:
        The holder.
    """
    with connect(profile, exclusive=False) as session:
        return _holder(session)


def wait_while_held(session: Session, seconds: float | None) -> None:
    """Wait, and see to it that the board is still ours.

    Args:
        session: That holds the board.
        seconds: For how long; None for ever. Raises when another holder takes the board over.
    """
    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        session.request("lease.renew")
        time.sleep(_LOOK_S if until is None else max(0.0, min(_LOOK_S, until - time.monotonic())))


def unlock(profile: DeviceProfile, *, end_run: bool) -> Holder:
    """Set a board free, whoever has it.

    Args:
        profile: Of the board.
        end_run: Whether a run that goes on there may be ended.

    Returns:
        Who had it.

    Raises:
        DeviceBusy: A run goes on there.
    """
    before = who(profile)
    if before.run is not None and not end_run:
        raise DeviceBusy(
            f"{profile.name} runs {before.run} for {before.name or 'nobody'}.", "Wait for its end, or say --end-run."
        )
    if before.name is not None:
        connect(profile, steal=True).close()
    return before


def _holder(session: Session) -> Holder:
    answer = session.request("lease.who")
    return Holder(*(optional_text(answer, key) for key in ("holder", "since_utc", "run")))
