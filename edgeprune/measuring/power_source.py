"""Where a run's power readings come from: the board's own sensor, or a meter at the host. Both end as a PowerTrace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeprune.devices.board_check import fitting_board
from edgeprune.devices.profiles import board_type, board_types
from edgeprune.errors import MeterFailed
from edgeprune.measuring.clock_offset import Offset, measure_offset, offsets_at_edges, to_board_clock
from edgeprune.measuring.meters import Meter, MeterAddress, MeterReadings, open_meter, parse_meter
from edgeprune.measuring.meters.recorder import Recorder
from edgeprune.values.json import from_data
from edgeprune.values.power import MeterFacts, PowerTrace

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

_CURRENT_UNITS = ("uA", "mA")


@dataclass(slots=True)
class BoardReadings:
    """What the board's sensor told during a run, event by event.

    Attributes:
        facts: Its facts, as it said them.
        error: Why there are none.
        dropped: Failed readings.
        flags: Gates that it shut.
        times_ns: By the board's clock.
        values: nW, or nJ of a counter.
        marks: When the board set its line for the meter's input, and how far that may be off, ns.
    """

    facts: Mapping[str, Any] | None = None
    error: str = ""
    dropped: int = 0
    flags: tuple[str, ...] = ()
    times_ns: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("q"))
    marks: tuple[tuple[int, int], ...] = ()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take an event of kind "power", "readings" or "load"."""
        if event["kind"] == "power":
            self.facts, self.error = event["facts"], str(event["error"] or "")
            self.dropped, self.flags = int(event["dropped"]), tuple(str(flag) for flag in event["flags"])
        elif event["kind"] == "readings":
            self.times_ns.extend(event["t_ns"])
            self.values.extend(event["values"])
        elif event["kind"] == "load":
            self.marks = tuple((int(at), int(bound)) for at, bound in event["marks"])


class PowerSource(ABC):
    """What reads power during runs.

    Attributes:
        facts: What it states of itself.
        wanted: What the agent is asked to read; None for nothing.
        marker: Which line the agent is asked to set while the load lasts; None for none.
        align_s: How far its times will be from the board's clock, about.
    """

    facts: MeterFacts
    wanted: Mapping[str, Any] | None = None
    marker: Mapping[str, Any] | None = None
    align_s = 0.0

    @abstractmethod
    def begin(self) -> None:
        """Begin to read, before the run.

        Raises:
            MeterFailed: It does not work any more.
        """

    @abstractmethod
    def cancel(self) -> None:
        """End reading, whatever there is; after `end` it does nothing."""

    @abstractmethod
    def end(self, told: BoardReadings) -> PowerTrace:
        """End reading, after the run.

        Args:
            told: What the board said.

        Returns:
            The readings by the board's clock.

        Raises:
            MeterFailed: There are none.
        """


class OnboardPower(PowerSource):
    """The board's own sensor, read by its agent.

    Args:
        facts: As the agent said before.
        wanted: Which sensor.
        address: Whose options the user knows better.
    """

    def __init__(self, facts: MeterFacts, wanted: Mapping[str, Any], address: MeterAddress) -> None:
        self.facts, self.wanted, self._address = facts, wanted, address

    def begin(self) -> None:
        """Leave that to the agent."""

    def cancel(self) -> None:
        """Leave that to the agent."""

    def end(self, told: BoardReadings) -> PowerTrace:
        """Make a trace of what the board told.

        Args:
            told: Its readings.

        Returns:
            The trace.

        Raises:
            MeterFailed: The sensor was lost.
        """
        if told.facts is None:
            raise MeterFailed(f"The board's power sensor failed: {told.error or 'it said nothing'}.", "Measure again.")
        facts = self._address.adapt(read_facts(told.facts))
        return PowerTrace(facts, told.times_ns, told.values, told.dropped, told.flags)


class HostPower(PowerSource):
    """A meter at the host, put on the board's clock by pings before and after, or by a line of the board at its input.

    Args:
        meter: Not started.
        facts: Of it, once it was started.
        session: Of the board.
    """

    def __init__(self, meter: Meter, facts: MeterFacts, session: Session) -> None:
        self.facts, self._meter, self._session = facts, meter, session
        self.marker = meter.address.marker
        self.align_s = meter.stamp_bound_s + measure_offset(session).bound_ns * 1e-9
        if meter.edge_bound_s is not None:
            self.align_s = meter.edge_bound_s
        self._recorder: Recorder | None = None
        self._before: Offset | None = None

    def begin(self) -> None:
        """Ping, and start to record."""
        self._before = measure_offset(self._session)
        self._recorder = Recorder(self._meter)
        self._recorder.start()

    def end(self, told: BoardReadings) -> PowerTrace:
        """Stop, and put the readings on the board's clock.

        Args:
            told: When the board set its line.

        Returns:
            The trace.

        Raises:
            MeterFailed: It failed, or its input saw something else than the board's line.
        """
        assert self._recorder is not None
        recorder, self._recorder = self._recorder, None
        readings: MeterReadings = recorder.stop()
        before, after, stamp_bound_s = self._offsets(readings, told)
        times, bound_s = to_board_clock(readings.times_ns, before, after)
        return PowerTrace(
            self._meter.facts, times, readings.values, readings.dropped, tuple(sorted(readings.flags)),
            bound_s + stamp_bound_s,
        )  # fmt: skip

    def _offsets(self, readings: MeterReadings, told: BoardReadings) -> tuple[Offset, Offset, float]:
        assert self._before is not None
        if self._meter.edge_bound_s is None:
            return self._before, measure_offset(self._session), self._meter.stamp_bound_s
        return *offsets_at_edges(readings.edges or (), told.marks), self._meter.edge_bound_s

    def cancel(self) -> None:
        """Stop recording."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.cancel()


def open_power(session: Session, meter: str) -> PowerSource | None:
    """Return a meter for a board, tried once.

    Args:
        session: Of the board.
        meter: Its address.

    Returns:
        The source; None for the address "none".
    """
    address = parse_meter(meter)
    if address.kind == "none":
        return None
    if address.kind == "onboard":
        return _open_onboard(session, address)
    driver = open_meter(address)
    with driver:
        facts = driver.facts
    return HostPower(driver, facts, session)


def _open_onboard(session: Session, address: MeterAddress) -> OnboardPower:
    wanted = onboard_sensor(session, address)
    answer = session.request("power.show", power=wanted)
    if answer["facts"] is None:
        raise no_sensor(session, str(answer["error"]))
    return OnboardPower(address.adapt(read_facts(answer["facts"])), wanted, address)


def onboard_sensor(session: Session, address: MeterAddress) -> dict[str, Any]:
    """Return which sensor of a board an agent is asked to read.

    Args:
        session: Of the board.
        address: Of kind "onboard".

    Returns:
        The `power` of a run's spec.

    Raises:
        MeterFailed: The address has a wrong option.
    """
    address.known("current_unit")
    unit = address.options.get("current_unit", "uA")
    if unit not in _CURRENT_UNITS:
        raise MeterFailed(f"current_unit={unit} is no unit of a battery's current.", "Write uA or mA.")
    return {"sensor": address.place or None, "rails": list(total_rails(session)), "current_unit": unit}


def no_sensor(session: Session, reason: str) -> MeterFailed:
    """Return the error that a board without a sensor that works is told by.

    Args:
        session: Of the board.
        reason: As its agent says it.
    """
    return MeterFailed(
        f"{session.profile.name} has no power sensor that works: {reason}.",
        'Name an external meter, or meter = "none"; docs/devices/meters.md lists all.',
    )


def total_rails(session: Session) -> Sequence[str]:
    """Return which rails make a board's total by its profile; none where that does not say.

    Args:
        session: Of the board.

    Returns:
        Names of rails.
    """
    listed = session.profile.board
    board = board_type(listed) if listed else fitting_board(session.info, board_types())
    fact = board.facts.get("total_power_rail")
    return [] if fact is None else [rail.strip() for rail in str(fact.value).split("+")]


def read_facts(data: Mapping[str, Any]) -> MeterFacts:
    """Read a sensor's facts.

    Args:
        data: As the agent wrote them.

    Returns:
        The facts.

    Raises:
        MeterFailed: They are none.
    """
    try:
        return from_data(MeterFacts, dict(data))
    except ValueError as error:
        raise MeterFailed(f"The board's power sensor is not understood: {error}.", "Update the agent.") from error
