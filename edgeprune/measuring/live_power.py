"""Power while a board is only watched, without a run: means over the time between two looks at a meter of the host."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from edgeprune.errors import MeterFailed
from edgeprune.measuring.meters import Meter, MeterReadings, open_meter, parse_meter
from edgeprune.measuring.meters.recorder import Recorder

NO_METER = "no meter is read"
ONLY_IN_RUNS = "the board's own sensor is read while a model runs only: `edgeprune bench` and `profile` show it"


class LivePower:
    """Reads a meter from the start of a `with` block to its end; without one it says why there is no power.

    Args:
        meter: Not started; None for none.
        missing: Why there is none.
    """

    def __init__(self, meter: Meter | None, missing: str = "") -> None:
        self._meter, self._missing = meter, missing
        self._recorder = None if meter is None else Recorder(meter)
        self._last = MeterReadings()

    def look(self) -> tuple[float | None, str]:
        """Return the mean power since the last look.

        Returns:
            W, or None and the reason.
        """
        if self._recorder is None or self._meter is None or self._missing:
            return None, self._missing
        try:
            found = self._recorder.take()
        except MeterFailed as error:
            self._missing = f"{error.message} {error.next_step}"
            return None, self._missing
        before, self._last = self._last, found if found.values else self._last
        power = mean_power(found, before if self._meter.facts.counter else None)
        return power, "" if power is not None else "the meter gave no reading in this time"

    def __enter__(self) -> Self:
        if self._recorder is not None:
            try:
                self._recorder.start()
            except MeterFailed as error:
                self._missing = f"{error.message} {error.next_step}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder is not None:
            self._recorder.cancel()


def live_power(meter: str) -> LivePower:
    """Return what reads a meter while a board is watched.

    Args:
        meter: Its address.

    Returns:
        Not started.
    """
    address = parse_meter(meter)
    if address.kind in ("none", "onboard"):
        return LivePower(None, NO_METER if address.kind == "none" else ONLY_IN_RUNS)
    return LivePower(open_meter(address))


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
