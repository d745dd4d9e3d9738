"""What a value in `edgeprune.toml` must satisfy beyond its type.

A rule is a callable that raises UsageError, whose message says what is wrong with the value; `Written` also turns
text into the value. Rules stand in the annotations of `edgeprune.config.sections`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeprune import units
from edgeprune.errors import UnknownName, UsageError, nearest

Rule = Callable[[Any], None]

_CALLABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.IGNORECASE)


@dataclass(frozen=True)
class OneOf:
    """The value is one of a few names.

    Attributes:
        kind: What they name, as used in the message.
        known: The names.
    """

    kind: str
    known: tuple[str, ...]

    def __call__(self, value: str) -> None:
        """Check a value.

        Args:
            value: The name.

        Raises:
            UnknownName: It is none of them.
        """
        if value not in self.known:
            raise UnknownName(self.kind, value, self.known)


@dataclass(frozen=True)
class Within:
    """The number lies in a range.

    Attributes:
        low: Smallest number allowed,
        above: or the bound that it must exceed;
        high: largest number allowed,
        below: or the bound that it must stay under. None where there is no such bound.
    """

    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None

    def __call__(self, value: float) -> None:
        """Check a value.

        Args:
            value: The number.

        Raises:
            UsageError: It is out of the range.
        """
        if self.low is not None and value < self.low:
            raise UsageError(f"{value} is less than {self.low:g}.", f"The nearest that fits is {self.low:g}.")
        if self.high is not None and value > self.high:
            raise UsageError(f"{value} is more than {self.high:g}.", f"The nearest that fits is {self.high:g}.")
        if self.above is not None and value <= self.above:
            raise UsageError(f"{value} is not above {self.above:g}.", f"Give a number above {self.above:g}.")
        if self.below is not None and value >= self.below:
            raise UsageError(f"{value} is not below {self.below:g}.", f"Give a number below {self.below:g}.")


@dataclass(frozen=True)
class Written:
    """The file holds text, and the value is what `parse` reads from it.

    Attributes:
        parse: Text to value; raises UsageError.
        example: A text that it reads.
    """

    parse: Callable[[str], Any]
    example: str


def listed(values: Sequence[Any]) -> None:
    """Refuse an empty list, and one that names the same thing twice.

    Args:
        values: The list.

    Raises:
        UsageError: It is empty or repeats an item.
    """
    if not values:
        raise UsageError("The list is empty.", "Give at least one item, or leave the key out for its default.")
    names = [getattr(value, "name", value) for value in values]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice!r} stands here twice.", "Name each one once.")


def not_empty(value: Sequence[Any]) -> None:
    """Refuse an empty text or list.

    Args:
        value: The text or list.

    Raises:
        UsageError: It is empty.
    """
    if not value:
        raise UsageError("It is empty.", "Give a value, or leave the key out.")


def callable_path(value: str) -> None:
    """Require the form "module:callable".

    Args:
        value: The text.

    Raises:
        UsageError: It has another form.
    """
    if _CALLABLE.fullmatch(value):
        return
    module, _, name = value.rpartition("." if ":" not in value else ":")
    guess = f"{module}:{name}"
    hint = f"Did you mean {guess!r}? " if _CALLABLE.fullmatch(guess) else ""
    raise UsageError(f"{value!r} is not of the form 'module:callable'.", f"{hint}Write it like 'model:build'.")


def metric(value: str) -> None:
    """Require "accuracy" or "module:callable".

    Args:
        value: The text.

    Raises:
        UsageError: It is neither.
    """
    if ":" not in value and value != "accuracy":
        hint = "Did you mean 'accuracy'? " if nearest(value, ["accuracy"]) else ""
        raise UsageError(f"Unknown metric {value!r}.", f"{hint}Known: accuracy, or your own as 'module:callable'.")
    if value != "accuracy":
        callable_path(value)


def uri(value: str) -> None:
    """Require an address or URL with its scheme.

    Args:
        value: The text.

    Raises:
        UsageError: It has no scheme.
    """
    if not _URI.fullmatch(value):
        raise UsageError(
            f"{value!r} has no scheme.", "Write it like 'ssh://user@host', 'local://' or 'sqlite:///runs.db'."
        )


def meter(value: str) -> None:
    """Require "onboard", "none", "onboard:SENSOR", "replay:FILE" or a URI.

    Args:
        value: The text.

    Raises:
        UsageError: It is none of these.
    """
    if value in ("onboard", "none") or value.startswith(("replay:", "onboard:", "onboard?")) or _URI.fullmatch(value):
        return
    guess = nearest(value, ["onboard", "none"])
    hint = f"Did you mean {guess!r}? " if guess else ""
    raise UsageError(
        f"{value!r} is no meter.", f"{hint}Known: onboard, none, replay:FILE, or a URI such as 'ppk2:///dev/ttyACM1'."
    )


def comparison(value: str) -> None:
    """Require a bound such as "p95_latency <= 20ms".

    Args:
        value: The text.
    """
    units.parse_comparison(value)


def share(value: str) -> float:
    """Read a share.

    Args:
        value: Such as "99%".

    Returns:
        In (0, 1].
    """
    ratio = units.parse_quantity(value, "ratio")
    Within(above=0, high=1)(ratio)
    return ratio


def duration(value: str) -> float:
    """Read a time budget.

    Args:
        value: Such as "10m".

    Returns:
        Seconds, above 0.
    """
    seconds = units.parse_quantity(value, "s")
    Within(above=0)(seconds)
    return seconds
