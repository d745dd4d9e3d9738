"""Progress, as data: stages tell it to whoever listens, and never print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something moved.

    Attributes:
        stage: "prune", "export", "connect", "push", "measure", "choose", "install" or "board".
        subject: What it is about: a variant's label, a file.
        done: How much is done,
        total: of how much; 0 when unknown.
        unit: Of both: "variants", "epochs", "bytes", "samples".
        message: The step in words; without a total it is news, worth a line of its own.
    """

    stage: str
    subject: str
    done: float = 0
    total: float = 0
    unit: str = ""
    message: str = ""


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing: the default listener."""
    del event
