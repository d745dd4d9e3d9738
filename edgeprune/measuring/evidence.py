"""Readings of the board's state -> what moved the latency: pure, and the same for the same readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edgeprune.values.board_state import BoardState
from edgeprune.values.measurement import Repeat

_NS = 1e-9
_FLAGS = {0: "under-voltage", 1: "capped clocks", 2: "throttling", 3: "the soft temperature limit"}
"""Bits of the Raspberry Pi's get_throttled; 16 above each is the one that stays.

Source:
    Raspberry Pi documentation, vcgencmd: get_throttled.
"""
_STICKY = 16


def timed(repeat: Repeat) -> Sequence[BoardState]:
    """Return the readings that were taken while inferences were timed."""
    return [state for state in repeat.board if state.at_ns >= repeat.timed_from_ns]


def _window(repeat: Repeat) -> Sequence[BoardState]:
    # Counters are compared with the last reading before the first sample.
    before = [state for state in repeat.board if state.at_ns < repeat.timed_from_ns]
    return [*before[-1:], *timed(repeat)]


def _growth(repeats: Iterable[Repeat], counter: Callable[[BoardState], float | None]) -> float | None:
    # Of a counter over the timed parts of all repeats; None where it was not readable.
    total, known = 0.0, False
    for repeat in repeats:
        values = [value for state in _window(repeat) if (value := counter(state)) is not None]
        if len(values) > 1:
            total, known = total + values[-1] - values[0], True
    return total if known else None


def waited_ratio(repeats: Sequence[Repeat]) -> float | None:
    """Return the share of its time for which the worker could have run and had no processor.

    Args:
        repeats: With their readings.

    Returns:
        Between 0 and 1; None where the kernel does not tell.
    """
    waited, ran = _growth(repeats, lambda state: state.waited_s), _growth(repeats, lambda state: state.ran_s)
    if waited is None or ran is None or waited + ran <= 0:
        return None
    return waited / (waited + ran)


def others_cores(repeats: Sequence[Repeat]) -> float | None:
    """Return how many processors others kept busy on average while inferences were timed.

    Args:
        repeats: With their readings.

    Returns:
        Processors, of a hypervisor's other guests included; None where the kernel does not tell.
    """
    busy, own = _growth(repeats, lambda state: state.busy_s), _growth(repeats, lambda state: state.own_s)
    elapsed = _growth(repeats, lambda state: state.at_ns * _NS)
    if busy is None or own is None or not elapsed:
        return None
    stolen = _growth(repeats, lambda state: state.stolen_s) or 0.0
    return max(0.0, busy + stolen - own) / elapsed


def throttling(repeats: Sequence[Repeat]) -> str:
    """Say what lowered the clocks while inferences were timed, or "" if nothing did.

    Flags that stay set since the boot count only if they were set meanwhile.

    Args:
        repeats: With their readings.

    Returns:
        Such as "under-voltage, 3 events of oc1"; "" for nothing.
    """
    found = [words for repeat in repeats for words in _throttling_of(_window(repeat))]
    return ", ".join(dict.fromkeys(found))


def throttling_between(states: Sequence[BoardState]) -> str:
    """Return in words what lowered the clocks from the first to the last of some readings; "" if nothing did."""
    return ", ".join(_throttling_of(states))


def _throttling_of(states: Sequence[BoardState]) -> Iterable[str]:
    if not states:
        return
    first, last = states[0].throttle, states[-1].throttle
    for name in last:
        kind, _, subject = name.partition(":")
        values = [state.throttle[name] for state in states if name in state.throttle]
        if kind == "raspberry_pi":
            yield from _flags(values)
        elif kind == "event" and values[-1] > first.get(name, values[-1]):
            yield f"{values[-1] - first[name]} events of {subject}"
        elif kind == "cooling" and max(values):
            yield f"cooling by {subject}"


def _flags(values: Sequence[int]) -> Iterable[str]:
    # The first reading tells what was set before; one that is set now counts in any.
    for bit, words in _FLAGS.items():
        now = any(value >> bit & 1 for value in values)
        came = any(value >> (bit + _STICKY) & 1 for value in values[1:]) and not values[0] >> (bit + _STICKY) & 1
        if now or came:
            yield words


def clocks_hz(repeats: Iterable[Repeat]) -> tuple[float, float] | None:
    """Return the lowest and the highest clock at which inferences were timed.

    Args:
        repeats: With their readings.

    Returns:
        Of the processor on which the worker ran, or the fastest one where that is not known; None where clocks were
        not readable.
    """
    clocks = [clock for repeat in repeats for state in timed(repeat) if (clock := clock_hz(state))]
    return (min(clocks), max(clocks)) if clocks else None


def clock_hz(state: BoardState) -> float | None:
    """Return the clock of the processor on which the worker ran, or the fastest one; None where none was readable."""
    return state.clocks_hz.get(state.policy or "") or max(state.clocks_hz.values(), default=None)


def temperatures_c(repeats: Iterable[Repeat]) -> tuple[float, float] | None:
    """Return the lowest and the highest reading of the hottest sensor; None where there is none."""
    values = [value for repeat in repeats for state in repeat.board if (value := state.hottest_c) is not None]
    return (min(values), max(values)) if values else None


def in_words(repeats: Sequence[Repeat]) -> dict[str, str]:
    """Return the evidence for people, by name; what was not readable is "unknown".

    Args:
        repeats: With their readings.

    Returns:
        `governor` and `power_mode` of boards that have one, `clock`, `temperature`, `throttling`, `load_by_others` and
        `waited`.
    """
    states = [state for repeat in repeats for state in repeat.board]
    others, waited = others_cores(repeats), waited_ratio(repeats)
    clocks, heat = clocks_hz(repeats), temperatures_c(repeats)
    watched = any(state.throttle for state in states)
    known = {
        "governor": _each(governor for state in states for governor in state.governors.values()),
        "power_mode": _each(state.power_mode for state in states if state.power_mode),
    }
    return {
        **{name: words for name, words in known.items() if words},
        "clock": f"{clocks[0] / 1e9:.2f} to {clocks[1] / 1e9:.2f} GHz" if clocks else "unknown",
        "temperature": f"{heat[0]:.1f} to {heat[1]:.1f} °C" if heat else "unknown",
        "throttling": (throttling(repeats) or "none") if watched else "unknown",
        "load_by_others": "unknown" if others is None else f"{others:.2f} processors",
        "waited": "unknown" if waited is None else f"{100 * waited:.1f} %",
    }


def _each(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
