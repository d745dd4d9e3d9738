"""The board's clock against ours: pings over the open link, and a bound that holds however unequal its two ways are.

A ping leaves at t0 and is back at t3, and the board reads its clock somewhere in between. So its clock is ahead of ours
by that reading less the middle of t0 and t3, give or take half of what the ping took. Before and after a run the
quickest of some pings counts; in between the offset changes linearly.

A line of the board that is wired to an input of the meter needs none of that: an edge is one moment on both clocks.

Source:
    RFC 5905 (NTPv4), sec. 8, of which this is the half that needs no second time stamp.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeprune.errors import MeterFailed

PINGS = 16
_BETWEEN_S = 0.005
"""So that not all of them meet the same busy moment."""


class Pinged(Protocol):
    """What can be asked for its clock: a session."""

    def request(self, op: str, deadline_s: float = ..., **arguments: Any) -> Mapping[str, Any]:
        """Answer a request."""


@dataclass(frozen=True, slots=True)
class Offset:
    """How far the board's clock was ahead.

    Attributes:
        at_ns: When, by our CLOCK_MONOTONIC.
        offset_ns: Board less ours.
        bound_ns: By how much that may be wrong.
    """

    at_ns: int
    offset_ns: int
    bound_ns: int


def measure_offset(board: Pinged, pings: int = PINGS) -> Offset:
    """Ask a board for its clock some times.

    Args:
        board: An open session.
        pings: How often.

    Returns:
        What the quickest ping said.
    """
    return min((_ping(board) for _ in range(pings)), key=lambda offset: offset.bound_ns)


def _ping(board: Pinged) -> Offset:
    time.sleep(_BETWEEN_S)
    sent = time.monotonic_ns()
    theirs = board.request("clock")["now_ns"]
    back = time.monotonic_ns()
    middle = (sent + back) // 2
    return Offset(middle, int(theirs) - middle, (back - sent + 1) // 2)


def offsets_at_edges(edges: Sequence[tuple[int, int]], marks: Sequence[tuple[int, int]]) -> tuple[Offset, Offset]:
    """Compare what a meter's input saw with when the board set its line.

    Args:
        edges: When the input changed, by our clock, and to what.
        marks: When the line was set to 1 and to 0, by the board's clock, and how far that may be off, ns.

    Returns:
        The offsets at the two edges.

    Raises:
        MeterFailed: The input saw something else than one rise and one fall.
    """
    if [level for _, level in edges] != [1, 0] or len(marks) != 2:
        seen = ", ".join("a rise" if level else "a fall" for _, level in edges) or "nothing"
        step = "See to the wire from the board's line to the meter's input, and to their common ground."
        raise MeterFailed(f"The meter's input saw {seen}, and the board set its line up and down once.", step)
    rise, fall = (Offset(at, theirs - at, bound) for (at, _), (theirs, bound) in zip(edges, marks, strict=True))
    return rise, fall


def to_board_clock(times_ns: array[int], before: Offset, after: Offset) -> tuple[array[int], float]:
    """Translate times of ours into the board's.

    Args:
        times_ns: By our CLOCK_MONOTONIC.
        before: Measured before them,
        after: and after.

    Returns:
        The same moments by the board's clock, and how far they may be off, s.
    """
    ours = np.asarray(times_ns, dtype=np.int64)
    span = max(after.at_ns - before.at_ns, 1)
    share = (ours - before.at_ns) / span
    offsets = before.offset_ns + np.rint(share * (after.offset_ns - before.offset_ns)).astype(np.int64)
    return array("q", (ours + offsets).tolist()), max(before.bound_ns, after.bound_ns) * 1e-9
