"""Text with a unit <-> a number in the base unit of its quantity.

Inside EdgePrune every quantity is in its base unit and its name says so: `_s`, `_ns`, `_j`, `_w`, `_hz`,
`_bytes`, `_c`, `_ratio` (0 to 1) and counts `n_…`. Milliseconds, mebibytes and percent exist only in text, and
this is the only place that knows their factors. A percentage point ("0.5pt") is a difference of two ratios.
"""

from __future__ import annotations

import re

from edgeprune.errors import UsageError, nearest

FACTORS: dict[str, dict[str, float]] = {
    "s": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0},
    "j": {"uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0, "Wh": 3600.0},
    "bytes": {
        "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
    },
    "ratio": {"": 1.0, "%": 0.01, "pt": 0.01},
}  # fmt: skip
"""Base unit to the factors of its other spellings."""

QUANTITIES: dict[str, str] = {
    "latency": "s",
    "p95_latency": "s",
    "energy": "j",
    "size": "bytes",
    "memory": "bytes",
    "accuracy": "ratio",
    "accuracy_drop": "ratio",
}
"""What can be minimised or bounded, and in which base unit it is kept."""

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d]*)\s*")
_COMPARISON = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=)\s*(.+?)\s*")


def parse_quantity(text: str, unit: str) -> float:
    """Read a number with a unit.

    Args:
        text: Such as "20ms", "2MiB", "0.5pt" or "0.5%".
        unit: The base unit wanted: "s", "j", "bytes" or "ratio".

    Returns:
        The number in the base unit.

    Raises:
        UsageError: The text is no number, or its unit is not one of this quantity's.
    """
    match = _NUMBER.fullmatch(text)
    spellings = FACTORS[unit]
    if match is None:
        raise UsageError(f"{text!r} is not a number with a unit.", f"Write it like {_example(unit)!r}.")
    number, suffix = match.groups()
    if suffix not in spellings:
        named = [spelling for spelling in spellings if spelling]
        other_case = {spelling.lower(): spelling for spelling in named}
        guess = other_case.get(suffix.lower()) or nearest(suffix, named)
        hint = f"Did you mean {number + guess!r}? " if guess else ""
        known = ", ".join(named)
        raise UsageError(f"{text!r} has no unit that fits.", f"{hint}Known units here: {known}.")
    return float(number) * spellings[suffix]


def _example(unit: str) -> str:
    return {"s": "20ms", "j": "50mJ", "bytes": "2MiB", "ratio": "0.5pt"}[unit]


def parse_comparison(text: str) -> tuple[str, str, float]:
    """Read a bound such as "p95_latency <= 20ms".

    Args:
        text: A quantity of `QUANTITIES`, "<=" or ">=", and a number with a unit.

    Returns:
        Quantity, operator and bound in the quantity's base unit.

    Raises:
        UsageError: The text has another form, or names an unknown quantity or unit.
    """
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a constraint.", "Write it like 'p95_latency <= 20ms'.")
    quantity, operator, bound = match.groups()
    return quantity, operator, parse_quantity(bound, quantity_unit(quantity))


def quantity_unit(quantity: str) -> str:
    """Return the base unit of a quantity.

    Args:
        quantity: A name of `QUANTITIES`.

    Returns:
        Its base unit.

    Raises:
        UsageError: There is no such quantity.
    """
    if quantity not in QUANTITIES:
        guess = nearest(quantity, QUANTITIES)
        hint = f"Did you mean {guess!r}? " if guess else ""
        raise UsageError(f"Unknown quantity {quantity!r}.", f"{hint}Known: {', '.join(QUANTITIES)}.")
    return QUANTITIES[quantity]


def format_quantity(value: float, unit: str) -> str:
    """Write a number in the spelling a person would use, three significant digits.

    Args:
        value: In the base unit.
        unit: The base unit: "s", "j", "bytes" or "ratio".

    Returns:
        Such as "1.24 ms", "1.9 MiB" or "91.2 %".
    """
    if unit == "ratio":
        return f"{100 * value:.2f} %"
    ladders = {"s": ["ns", "µs", "ms", "s"], "j": ["µJ", "mJ", "J"], "bytes": ["B", "KiB", "MiB", "GiB"]}
    ladder = ladders[unit]
    fitting = [name for name in ladder if abs(value) >= FACTORS[unit][name]] or ladder[:1]
    return f"{value / FACTORS[unit][fitting[-1]]:.3g} {fitting[-1]}"


def format_duration(seconds: float) -> str:
    """Write a waiting time: "42 s", "3 min 05 s".

    Args:
        seconds: Any non-negative number.

    Returns:
        The text.
    """
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
