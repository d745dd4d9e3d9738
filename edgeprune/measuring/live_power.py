"""Power while a board is only watched, without a run: means of what its own sensor or a meter at the host reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edgeprune.errors import MeterFailed, NotCredible
from edgeprune.measuring.meters import Meter, MeterReadings, open_meter, parse_meter
from edgeprune.measuring.meters.recorder import Recorder
from edgeprune.measuring.power_gates import check_flags
from edgeprune.measuring.power_source import no_sensor, onboard_sensor, read_facts

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

NO_METER = "no meter is read"
_NO_READING = "the meter gave no reading in this time"
_LOOK_MS = 200
"""How long the board's own sensor is read at a look: each reading busies the board that is watched."""


class LivePower(ABC):
    """What reads power from the start of a `with` block to its end; once it fails it says why there is no power."""

    def __init__(self) -> None:
        self._missing = ""

    def look(self) -> tuple[float | None, str]:
        """Return the mean power of now.

        Returns:
            W, or None and the reason.
        """
        if self._missing:
            return None, self._missing
        try:
            power_w = self._mean()
        except NotCredible as error:  # for now: a battery is taken off its charger
            return None, f"{error.message} {error.next_step}"
        except MeterFailed as error:
            self._give_up(error)
            return None, self._missing
        return power_w, "" if power_w is not None else _NO_READING

    @abstractmethod
    def _mean(self) -> float | None:
        """Return the mean power in W; None where nothing was read."""

    def _give_up(self, error: MeterFailed) -> None:
        self._missing = f"{error.message} {error.next_step}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._missing = self._missing or "the meter is no longer read"


class NoPower(LivePower):
    """Nothing is read, since nobody asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self._missing = NO_METER

    def _mean(self) -> float | None:
        return None


class LiveMeter(LivePower):
    """A meter at the host, read all the time: a look gives the mean since the one before.

    Args:
        meter: Not started.
    """

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter, self._recorder = meter, Recorder(meter)
        self._last = MeterReadings()

    def _mean(self) -> float | None:
        found = self._recorder.take()
        check_flags(self._meter.facts.source, found.flags)
        before, self._last = self._last, found if found.values else self._last
        return mean_power(found, before if self._meter.facts.counter else None)

    def __enter__(self) -> Self:
        try:
            self._recorder.start()
        except MeterFailed as error:
            self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._recorder.cancel()


class LiveSensor(LivePower):
    """The board's own sensor, which its agent reads for a moment at each look.

    Args:
        session: Of the board.
        wanted: Which sensor.
    """

    def __init__(self, session: Session, wanted: Mapping[str, Any]) -> None:
        super().__init__()
        self._session, self._wanted = session, wanted

    def _mean(self) -> float | None:
        told = self._session.request("power.read", power=self._wanted, ms=_LOOK_MS)
        if told["facts"] is None:
            raise no_sensor(self._session, str(told["error"]))
        facts = read_facts(told["facts"])
        check_flags(facts.source, map(str, told["flags"]))
        found = MeterReadings(array("q", told["t_ns"]), array("q", told["values"]))
        return mean_power(found, MeterReadings() if facts.counter else None)


def live_power(session: Session, meter: str) -> LivePower:
    """Return what reads power while a board is watched.

    Args:
        session: Of the board.
        meter: Its address.

    Returns:
        Not started.

    Raises:
        MeterFailed: The address is wrong.
    """
    address = parse_meter(meter)
    if address.kind == "none":
        return NoPower()
    if address.kind == "onboard":
        return LiveSensor(session, onboard_sensor(session, address))
    return LiveMeter(open_meter(address))


def mean_power(found: MeterReadings, before: MeterReadings | None = None) -> float | None:
    """Return the mean power of some readings.

    Args:
        found: Powers in nW, or a counter's energies in nJ.
        before: Of a counter: what it gave before, of which the last reading counts; None for a meter of powers.

    Returns:
        W; None where there are too few.
    """
    if before is None:
        return sum(found.values) * 1e-9 / len(found.values) if found.values else None
    times, energies = [*before.times_ns[-1:], *found.times_ns], [*before.values[-1:], *found.values]
    return (energies[-1] - energies[0]) / (times[-1] - times[0]) if len(times) > 1 else None
