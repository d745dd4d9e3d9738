"""The text that names a power source -> its parts.

none, onboard, onboard:ina?boundary=board, onboard:power_supply?current_unit=mA, replay:trace.csv,
ppk2:///dev/ttyACM1?mode=source&millivolt=3300, um25c:///dev/rfcomm0, fnb58:///dev/hidraw0,
scpi:///dev/ttyUSB0?baud=9600, scpi://bench-supply:5555?channel=2, korad:///dev/ttyACM0, joulescope://
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from edgeprune.errors import UnknownName, UsageError
from edgeprune.values.power import BOUNDARIES, MeterFacts

_LINE = re.compile(r"(gpiochip\d{1,3}):(\d{1,4})")
_COMMON = ("boundary", "gain_ratio", "offset_w")
"""What every meter takes: what it feeds, and standard uncertainties that are known better than the driver's."""


@dataclass(frozen=True, slots=True)
class MeterAddress:
    """A power source.

    Attributes:
        kind: "none", "onboard", or the name of a driver.
        place: Device file, "host:port", file, or sensor; "" for the driver's own choice.
        options: What was given after the question mark.
    """

    kind: str
    place: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def known(self, *names: str) -> None:
        """Refuse options that nobody reads.

        Args:
            names: Those that the driver does.

        Raises:
            UnknownName: There is another one.
        """
        for name in self.options:
            if name not in (*names, *_COMMON):
                raise UnknownName(f"option of the meter {self.kind}", name, (*names, *_COMMON))

    def number(self, name: str, default: float, low: float = 0.0, high: float = math.inf) -> float:
        """Return an option that is a number.

        Args:
            name: Of the option.
            default: Where it was not given.
            low: Smallest,
            high: and largest number allowed.

        Returns:
            The number.

        Raises:
            UsageError: It is none, or out of the range.
        """
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise UsageError(f"{name}={text} of the meter {self.kind} is no number that fits.", f"Such as {default:g}.")
        return value

    @property
    def marker(self) -> Mapping[str, Any] | None:
        """The board's line that is wired to the meter's input, as the agent wants it; None where none is.

        Raises:
            UsageError: It is none, or there is an input without a line, or a line without an input.
        """
        if ("marker" in self.options) != ("input" in self.options):
            step = "Such as input=0&marker=gpiochip0:17."
            raise UsageError("A meter's input and the board's line at it are told together.", step)
        if "marker" not in self.options:
            return None
        found = _LINE.fullmatch(self.options["marker"])
        if found is None:
            raise UsageError(f"marker={self.options['marker']} is no line of a GPIO chip.", "Such as gpiochip0:17.")
        return {"chip": found[1], "line": int(found[2])}

    def adapt(self, facts: MeterFacts) -> MeterFacts:
        """Return a driver's facts as the user knows them better.

        Args:
            facts: Of the driver.

        Returns:
            The facts, changed by the common options.

        Raises:
            UnknownName: There is no such boundary.
        """
        boundary = self.options.get("boundary", facts.boundary)
        if boundary not in BOUNDARIES:
            raise UnknownName("boundary", boundary, BOUNDARIES)
        gain = self.number("gain_ratio", facts.gain_ratio, high=1.0)
        return replace(facts, boundary=boundary, gain_ratio=gain, offset_w=self.number("offset_w", facts.offset_w))


def parse_meter(text: str) -> MeterAddress:
    """Read the address of a power source.

    Args:
        text: As in `edgeprune.toml`.

    Returns:
        Its parts.

    Raises:
        UsageError: It has another form.
    """
    parts = urlsplit(text)
    if text.partition("?")[0] in ("none", "onboard"):
        return MeterAddress(text.partition("?")[0], "", dict(parse_qsl(text.partition("?")[2], keep_blank_values=True)))
    place = parts.netloc + (parts.path if not parts.netloc else parts.path.rstrip("/"))
    if not parts.scheme or not (text[len(parts.scheme) :].startswith("://") or parts.scheme in ("onboard", "replay")):
        raise UsageError(
            f"{text!r} is no meter.", "Write it like 'onboard', 'ppk2:///dev/ttyACM1' or 'replay:trace.csv'."
        )
    return MeterAddress(parts.scheme, place, dict(parse_qsl(parts.query, keep_blank_values=True)))
