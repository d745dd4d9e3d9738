"""The spool of a run: events on disk before anyone sees them, so that a run outlives link and agent.

A file of records `u32 length | u32 CRC-32 | JSON`, big-endian. A record that a crash cut short ends the file: readers
stop before it, and the next writer removes it.
"""

import json
import os
import struct
import zlib
from typing import Any, BinaryIO, Dict, List, Tuple

from edgeprune_agent.folders import try_lock, write_all

_RECORD = struct.Struct(">II")
MAX_EVENT_BYTES = 64 * 1024
"""What fits into one message of the wire."""


class SpoolBusy(Exception):
    """Another process writes to the spool."""


class EventWriter:
    """Appends events to a spool; one writer at a time.

    Args:
        path: The spool; made if it is not there. A torn tail is cut off and the numbering goes on.
        run: Id of the run, which every event carries.

    Raises:
        SpoolBusy: Another process writes to it.
    """

    def __init__(self, path: str, run: str) -> None:
        self._file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115  (the writer closes it)
        if not try_lock(self._file.fileno()):
            self._file.close()
            raise SpoolBusy(path)
        index = EventIndex(path)
        self._file.truncate(index.end)
        self._run, self._next, self._end = run, index.count, index.end
        self._waiting: List[bytes] = []

    def put(self, kind: str, **fields: Any) -> None:
        """Number an event and keep it in memory until `flush`."""
        event = dict(fields, run=self._run, ev=self._next, kind=kind)
        body = json.dumps(event, allow_nan=False, separators=(",", ":")).encode("ascii")
        self._waiting.append(_RECORD.pack(len(body), zlib.crc32(body)) + body)
        self._next += 1

    def flush(self, durable: bool = False) -> None:
        """Hand what waits to the kernel; on a full disk nothing is written and all of it waits on.

        Args:
            durable: Wait until it is on the disk, too.

        Raises:
            OSError: The disk is full, or worse.
        """
        data = b"".join(self._waiting)
        try:
            write_all(self._file.fileno(), data)
        except OSError:
            self._file.truncate(self._end)
            raise
        self._waiting = []
        self._end += len(data)
        if durable:
            os.fsync(self._file.fileno())

    def emit(self, kind: str, **fields: Any) -> None:
        """Put one event and flush."""
        self.put(kind, **fields)
        self.flush()

    def close(self) -> None:
        """Flush, make durable and close; what cannot be written is given up."""
        try:
            self.flush(durable=True)
        finally:
            self._file.close()


class EventIndex:
    """Where the events of a spool begin; follows a file that grows.

    Args:
        path: The spool; it need not exist yet.

    Attributes:
        end: Offset behind the last of them.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offsets: List[int] = []
        self.end = 0
        self.refresh()

    @property
    def count(self) -> int:
        """Whole events known."""
        return len(self._offsets)

    def refresh(self) -> None:
        """Take in what was appended since."""
        if not os.path.exists(self._path):
            return
        with open(self._path, "rb") as file:
            file.seek(self.end)
            while _read_record(file) is not None:
                self._offsets.append(self.end)
                self.end = file.tell()

    def read(self, start: int = 0, limit_bytes: int = 1 << 20) -> List[Dict[str, Any]]:
        """Return events in order.

        Args:
            start: Number of the first one wanted.
            limit_bytes: Stop once so much was read; at least one event comes if there is one.

        Returns:
            The events; none if `start` is not yet written.
        """
        self.refresh()
        events: List[Dict[str, Any]] = []
        if start >= self.count:
            return events
        with open(self._path, "rb") as file:
            file.seek(self._offsets[start])
            while len(events) < self.count - start and file.tell() - self._offsets[start] < limit_bytes:
                body = _read_record(file)
                if body is None:
                    break
                events.append(json.loads(body.decode("ascii")))
        return events

    def last(self) -> Tuple[Dict[str, Any], ...]:
        """Return the last event in a tuple, or an empty one."""
        self.refresh()
        return tuple(self.read(self.count - 1)) if self.count else ()


def _read_record(file: BinaryIO) -> Any:
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size:
        return None
    length, crc = _RECORD.unpack(head)
    if length > MAX_EVENT_BYTES:
        return None
    body = file.read(length)
    return body if len(body) == length and zlib.crc32(body) == crc else None
