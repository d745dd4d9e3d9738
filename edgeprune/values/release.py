"""A variant that is installed on a board."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """One directory under models/<name>/releases/ on the board.

    Attributes:
        model: The model's name on the board.
        id: "<UTC>-<first 8 digits of the artifact's sha256>".
        path: Absolute, on the board.
        sha256: Of the model file.
        previous: Id of the release that `rollback` returns to; None if there is none.
        current: Whether `current` points at it.
        label: The variant's short name.
        checked_utc: When its golden inputs last gave its golden outputs on the board, ISO 8601.
    """

    model: str
    id: str
    path: str
    sha256: str
    previous: str | None
    current: bool
    label: str
    checked_utc: str
