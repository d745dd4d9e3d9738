"""An artifact onto a board: as it is, or packed where the line is so slow that this is quicker."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from edgeprune import units
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Event, Listener, ignore

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

BITS_PER_BYTE = 10
"""Of a serial line, start and stop bit included."""
UNPACKED_BYTES_PER_S = 1_000_000
"""What a slow board unpacks in a second, its writing included; a desktop does some ten times as much."""
WORTH_A_TRY_S = 2.0
"""A file that crosses the line in less is not packed at all."""
_UNPACK_S = 1800.0


def send(session: Session, artifact: Artifact, listener: Listener = ignore) -> None:
    """Put an artifact into the board's store; one that is there already is not sent.

    Args:
        session: Of the board.
        artifact: Of a file that has not changed since.
        listener: Told when it goes packed, with both sizes.
    """
    packed = _quicker(session, artifact)
    if packed is None:
        session.push(artifact.path, artifact.sha256)
        return
    sizes = [units.format_quantity(size, "bytes") for size in (len(packed), artifact.size_bytes)]
    name = artifact.path.name
    listener(Event("push", name, message=f"{name}: sent packed, {sizes[0]}; on the board it has {sizes[1]}"))
    session.request("store.unpack", _UNPACK_S, sha=session.push_bytes(packed), into=artifact.sha256)


def _quicker(session: Session, artifact: Artifact) -> bytes | None:
    """Return the packed file where it saves time."""
    rate, features = session.client.line_rate, session.client.hello.get("feat")
    if not rate or not isinstance(features, list) or "unpack" not in features:
        return None
    plain_s = _missing_bytes(session, artifact) * BITS_PER_BYTE / rate
    if plain_s < WORTH_A_TRY_S:
        return None
    packed = _packed(artifact)
    packed_s = len(packed) * BITS_PER_BYTE / rate + artifact.size_bytes / UNPACKED_BYTES_PER_S
    return packed if packed_s < plain_s else None


def _missing_bytes(session: Session, artifact: Artifact) -> float:
    """Return how many bytes would have to cross the line for the file as it is, after the link's own packing."""
    from edgeprune.exporting.loading import read_verified

    found = session.request("store.stat", sha=artifact.sha256, size=artifact.size_bytes)
    if found.get("state") == "complete":
        return 0.0
    _, share = session.client.codec(io.BytesIO(read_verified(artifact)), artifact.size_bytes)
    return (artifact.size_bytes - int(found.get("durable", 0))) * share


@lru_cache(maxsize=4)
def _packed(artifact: Artifact) -> bytes:
    from edgeprune.exporting.loading import read_verified
    from edgeprune.exporting.packing import pack
    from edgeprune.exporting.weight_bytes import weights_of

    content = read_verified(artifact)
    return pack(content, weights_of(content, artifact.format))
