"""The power side of one repeat: what the run is asked for besides, who reads meanwhile, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edgeprune.errors import MeterFailed
from edgeprune.measuring.power_source import BoardReadings, PowerSource, open_power
from edgeprune.values.event import Event, Listener
from edgeprune.values.measurement import Repeat
from edgeprune.values.power import LoadWindow

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

_ALIGN_FACTOR = 150
"""A load of a hundred times what the clocks may be apart is credible; the next estimate of that may be worse."""
_LONGEST_RATIO = 1.5
"""How much longer than the meter needs a load may take."""


@dataclass(frozen=True, slots=True)
class Power:
    """What reads power, or why nothing does.

    Attributes:
        source: None where nothing does.
        missing: Why not; "" where no meter was named.
    """

    source: PowerSource | None = None
    missing: str = ""


NO_POWER = Power()


def power_for(session: Session, meter: str, listener: Listener, *, needed: bool = False) -> Power:
    """Open a board's meter; one that does not work is told of and goes down as the reason.

    Args:
        session: Of the board.
        meter: Its address.
        listener: Hears of a meter that does not work.
        needed: Whether nothing is worth measuring without it.

    Returns:
        What reads power.

    Raises:
        MeterFailed: It does not work, and is needed.
    """
    try:
        return Power(open_power(session, meter))
    except MeterFailed as error:
        if needed:
            raise
        listener(Event("measure", meter, message=f"No energy: {error.message} {error.next_step}"))
        return Power(None, f"{error.message} {error.next_step}")


class Metering:
    """One repeat with a meter, or without one.

    Enter it, run the worker, then `complete` the repeat; leaving it ends what still reads.

    Args:
        power: What reads.
        spec: Of the run; it gets what the meter needs.

    Attributes:
        spec: The changed one.
    """

    def __init__(self, power: Power, spec: Mapping[str, Any]) -> None:
        self._source, self._missing = power.source, power.missing
        self._told, self._load = BoardReadings(), {}  # type: BoardReadings, Mapping[str, Any]
        self.spec = self._extended(spec)

    def _extended(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        if self._source is None:
            return {**spec, "idle_s": 0.0, "power": None, "marker": None}
        facts = self._source.facts
        least = max(spec["min_duration_s"], facts.shortest_window_s, _ALIGN_FACTOR * self._source.align_s)
        most = max(spec["max_duration_s"], _LONGEST_RATIO * least)
        asked = {"idle_s": facts.idle_s, "power": self._source.wanted, "marker": self._source.marker}
        return {**spec, **asked, "min_duration_s": least, "max_duration_s": most}

    @property
    def idle_s(self) -> float:
        """How long the board lies idle in all."""
        return 2 * float(self.spec["idle_s"])

    def tap(self, listener: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
        """Return a listener to a run's events that keeps those about power to itself.

        Args:
            listener: Hears the others.
        """

        def hear(event: Mapping[str, Any]) -> None:
            if event["kind"] in ("power", "readings"):
                self._told.hear(event)
            elif event["kind"] == "load":
                self._load = event
                self._told.hear(event)
            else:
                listener(event)

        return hear

    def complete(self, repeat: Repeat) -> Repeat:
        """Add what was read.

        Args:
            repeat: With its latencies.

        Returns:
            The repeat with load and power, or the reason why there is none.
        """
        if self._source is None or self._missing:
            return replace(repeat, power_missing=self._missing)
        load = LoadWindow(
            int(self._load["begin_ns"]), int(self._load["end_ns"]), int(self._load["runs"]),
            self.spec["idle_s"], self.spec["idle_s"],
        )  # fmt: skip
        try:
            trace = self._source.end(self._told)
        except MeterFailed as error:
            return replace(repeat, load=load, power_missing=f"{error.message} {error.next_step}")
        return replace(repeat, load=load, power=trace)

    def __enter__(self) -> Self:
        if self._source is not None:
            try:
                self._source.begin()
            except MeterFailed as error:
                self._missing = f"{error.message} {error.next_step}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.cancel()
