"""The names of models and releases on a board."""

from __future__ import annotations

import re
from collections.abc import Container
from datetime import UTC, datetime

from edgeprune.errors import UsageError

_MODEL = re.compile("[a-z0-9][a-z0-9._-]{0,63}")


def check_model_name(name: str) -> str:
    """Return a model's name if a board takes it.

    Args:
        name: Such as "fashion-mnist".

    Returns:
        The name.

    Raises:
        UsageError: It is not made of 1 to 64 lower-case letters, digits, dots, underscores and hyphens.
    """
    if not _MODEL.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a model's name on a board.",
            "Use 1 to 64 lower-case letters, digits, '.', '_' and '-', the first one a letter or digit.",
        )
    return name


def new_release_id(sha256: str, taken: Container[str], now: datetime | None = None) -> str:
    """Return an id that sorts behind those made before.

    Args:
        sha256: Of the model file.
        taken: Ids that are in use.
        now: The host's time; None for the present.

    Returns:
        "<UTC>-<first 8 digits of the digest>", numbered if it is taken.
    """
    base = f"{(now or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H%M%SZ}-{sha256[:8]}"
    candidate, number = base, 1
    while candidate in taken:
        number += 1
        candidate = f"{base}-{number}"
    return candidate
