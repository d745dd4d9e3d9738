"""A journal: one JSON object a line, appended and made durable, never rewritten."""

import datetime
import json
import os
from typing import Any, Dict

from edgeprune_agent.folders import sync_folder

MAX_ENTRY_BYTES = 8192


def now_utc() -> str:
    """Return the board's time, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def append(path: str, entry: Dict[str, Any]) -> None:
    """Append a line; one that a power cut left unfinished is closed first.

    Args:
        path: The journal, made if it is not there.
        entry: JSON data, to which the board's time is added as `board_utc`.
    """
    line = json.dumps(dict(entry, board_utc=now_utc()), sort_keys=True).encode("ascii") + b"\n"
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(os.path.dirname(path))
