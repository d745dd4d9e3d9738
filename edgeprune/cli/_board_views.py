"""A board's state and profile -> what a person reads in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeprune import units

if TYPE_CHECKING:
    from edgeprune.flow import Reading
    from edgeprune.values.board_profile import BoardProfile, HeatPoint, Point

BAR, ROWS = 30, 12
HEADER = f"{'time':>8} {'hottest':>9} {'clock':>9} {'busy':>12} {'power':>8}  governor, mode, throttling"


def reading_line(reading: Reading) -> str:
    """Return a reading as one line under `HEADER`."""
    state = reading.state
    heat = "–" if state.hottest_c is None else f"{state.hottest_c:.1f} °C"
    clock = f"{max(state.clocks_hz.values()) / 1e9:.2f} GHz" if state.clocks_hz else "–"
    busy = "–" if reading.busy is None else f"{reading.busy:.2f} of {state.cpus}"
    power = "–" if reading.power_w is None else f"{reading.power_w:.2f} W"
    words = [*dict.fromkeys(state.governors.values()), state.power_mode or "", reading.throttling]
    return f"{reading.at_s:6.1f} s {heat:>9} {clock:>9} {busy:>12} {power:>8}  {', '.join(filter(None, words)) or '–'}"


def reasons_noted(readings: Iterable[Reading], note: Callable[[str], None]) -> Iterator[Reading]:
    """Say why there is no power, once for each reason.

    Args:
        readings: Of a board.
        note: Tells a person.

    Yields:
        The readings.
    """
    said = ""
    for reading in readings:
        if reading.power_missing and reading.power_missing != said:
            said = reading.power_missing
            note(f"power: {said}")
        yield reading


def profile_view(profile: BoardProfile) -> RenderableType:
    """Return a view of a board's profile: a series with bars for each question."""
    parts: list[RenderableType] = [Text(f"{profile.device}: {profile.model}", style="bold")]
    for title, points in (("threads", profile.threads), ("batch", profile.batch), ("width", profile.stairs)):
        if points:
            parts.append(_series(title, points))
    if profile.wasteful:
        parts.append(Text(f"slower than a larger width: {', '.join(map(str, profile.wasteful))}"))
    if any(point.temperature_c or point.clock_hz for point in profile.heat):
        parts.append(_heat(profile.heat))
    if profile.heat and "throttling" not in profile.missing:
        parts.append(Text(f"throttling: {profile.throttling or 'none'}"))
    if profile.minute_p50_s:
        parts.append(Text("minutes: " + " ".join(_time(median) for median in profile.minute_p50_s)))
    if profile.idle_power_w is not None:
        parts.append(Text(f"idle power: {profile.idle_power_w:.3g} W ({profile.power_source})"))
    parts += [Text(f"{name.replace('_', ' ')}: {why}", style="dim") for name, why in profile.missing.items()]
    return Group(*parts)


def _series(title: str, points: Sequence[Point]) -> Table:
    table = Table(title, "p50", "", "verdict", box=box.SIMPLE_HEAD)
    longest = max(point.p50_s for point in points)
    for point in points:
        bar = "█" * max(1, round(BAR * point.p50_s / longest))
        table.add_row(str(point.value), _time(point.p50_s), bar, point.verdict)
    return table


def _heat(points: Sequence[HeatPoint]) -> Table:
    table = Table("load for", "hottest", "clock", box=box.SIMPLE_HEAD)
    for point in points[:: -(-len(points) // ROWS)]:
        heat = "–" if point.temperature_c is None else f"{point.temperature_c:.1f} °C"
        clock = "–" if point.clock_hz is None else f"{point.clock_hz / 1e9:.2f} GHz"
        table.add_row(units.format_duration(point.at_s), heat, clock)
    return table


def _time(seconds: float) -> str:
    return units.format_quantity(seconds, "s")
