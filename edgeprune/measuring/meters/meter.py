"""Meter: a power source at the host. Drivers decode bytes by pure functions; what moves the bytes is kept apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.registry import Registry
from edgeprune.values.power import MeterFacts

METERS = Registry(
    "meter",
    {
        "ppk2": "edgeprune.measuring.meters.ppk2:Ppk2",
        "um25c": "edgeprune.measuring.meters.um25c:Um25c",
        "fnb58": "edgeprune.measuring.meters.fnb58:Fnb58",
        "scpi": "edgeprune.measuring.meters.scpi:Scpi",
        "korad": "edgeprune.measuring.meters.korad:Korad",
        "joulescope": "edgeprune.measuring.meters.joulescope:Joulescope",
        "replay": "edgeprune.measuring.meters.replay:Replay",
    },
    extra="joulescope",
)


@dataclass(frozen=True, slots=True)
class MeterReadings:
    """What a meter gave since it was asked last.

    Attributes:
        times_ns: On this machine's CLOCK_MONOTONIC, rising.
        values: nW, or nJ of a counter.
        dropped: Readings known to be lost.
        flags: Gates that the meter shuts itself.
        edges: When the meter's input changed, on the same clock, and to what: 0 or 1. None where none was asked for.
    """

    times_ns: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("q"))
    dropped: int = 0
    flags: frozenset[str] = frozenset()
    edges: tuple[tuple[int, int], ...] | None = None


class Meter(ABC):
    """An instrument that is read while a board works.

    Lifecycle: `start`, any number of `read`, `stop`; then it may be started again. `stop` may be called at any time and
    more than once. One thread at a time.

    Args:
        address: Where it is, and its options.

    Attributes:
        address: As given.
        stamp_bound_s: How far a reading's time may be from when it was taken.
        edge_bound_s: How far a reading's time may be from that of an edge of its input; None for a meter without one.
    """

    stamp_bound_s = 0.002
    edge_bound_s: float | None = None

    def __init__(self, address: MeterAddress) -> None:
        self.address = address

    @property
    @abstractmethod
    def facts(self) -> MeterFacts:
        """What it states of itself: source, boundary, rate, resolution; whole once it was started."""

    @abstractmethod
    def start(self) -> None:
        """Connect and begin to measure.

        Raises:
            MeterFailed: It is not there, or does not answer as such an instrument does.
        """

    @abstractmethod
    def read(self) -> MeterReadings:
        """Wait for about one period, at most a second or so, and return what has come.

        Returns:
            The readings since the last call; possibly none.

        Raises:
            MeterFailed: It is gone, or answers with something else.
        """

    @abstractmethod
    def stop(self) -> None:
        """End the measurement and let others have the instrument."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def open_meter(address: MeterAddress) -> Meter:
    """Return the driver for an address, not yet started.

    Args:
        address: Of an instrument.

    Returns:
        The meter.
    """
    meter: Meter = METERS.load(address.kind)(address)
    return meter
