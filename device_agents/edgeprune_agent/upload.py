"""One file that is coming in: partial/<sha>.part and the checksums of its blocks in <sha>.crc.

One CRC-32 for each 16 KiB block, written after the block. An upload goes on behind the last block that still has its
checksum, so what a power cut tore is found and sent again, and what merely a cut cable interrupted is not.
"""

import contextlib
import errno
import hashlib
import os
import struct
import time
import zlib
from typing import Iterator

from edgeprune_agent.folders import Root, try_lock, write_all
from edgeprune_agent.wire import AgentError

BLOCK_BYTES = 16 * 1024
CRC = struct.Struct(">I")
SYNC_BYTES = 8 * 1024 * 1024
SYNC_S = 2.0
_SLICE_BYTES = 1 << 20
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Upload:
    """A file that is coming in.

    Attributes:
        sha: What it shall hash to.
        size: How long it shall be.
        received: How much of it is here,
        durable: and how much of that a power cut would leave.
    """

    def __init__(self, root: Root, sha: str, size: int) -> None:
        folder = root.folder("partial")
        self.sha, self.size, self.received, self.durable = sha, size, 0, 0
        self._folder = folder
        self._data = os.open(sha + ".part", _OPEN, 0o600, dir_fd=folder)
        try:
            self._sums = os.open(sha + ".crc", _OPEN, 0o600, dir_fd=folder)
        except OSError:
            os.close(self._data)
            raise
        self._digest = hashlib.sha256()
        self._crc, self._blocks, self._synced_at = 0, 0, time.monotonic()
        if not try_lock(self._data):
            self.close()
            raise AgentError("E_BUSY", "Another connection is sending this file.", retry=True)

    def recall(self) -> Iterator[None]:
        """Check what is here already, a slice at a time, and cut off what is torn; needed before `add`.

        Yields:
            Nothing, after each slice.
        """
        sums = os.pread(self._sums, CRC.size * (self.size // BLOCK_BYTES + 1), 0)
        for (expected,) in CRC.iter_unpack(sums[: len(sums) // CRC.size * CRC.size]):
            block = os.pread(self._data, min(BLOCK_BYTES, self.size - self.received), self.received)
            whole = len(block) == BLOCK_BYTES or self.received + len(block) == self.size
            if not block or not whole or zlib.crc32(block) != expected:
                break
            self._digest.update(block)
            self.received += len(block)
            self._blocks += 1
            if self.received % _SLICE_BYTES == 0:
                yield
        os.ftruncate(self._data, self.received)
        os.ftruncate(self._sums, self._blocks * CRC.size)
        self.sync()
        os.fsync(self._folder)

    def add(self, offset: int, data: bytes) -> None:
        """Take the next bytes.

        Args:
            offset: Where they belong: at `received`.
            data: The bytes.

        Raises:
            AgentError: E_OFFSET: they belong elsewhere; E_LIMIT: more than was announced; E_NOSPC: the disk is full.
        """
        if offset != self.received:
            detail = {"expected": self.received}
            raise AgentError("E_OFFSET", f"Bytes at {offset} where {self.received} is due.", detail=detail)
        if offset + len(data) > self.size:
            raise AgentError("E_LIMIT", f"More than the {self.size} bytes that were announced.")
        with full_disk_named():
            os.lseek(self._data, offset, os.SEEK_SET)
            write_all(self._data, data)
            self._note(data)
            self._digest.update(data)
            self.received += len(data)
            late = time.monotonic() - self._synced_at > SYNC_S
            if late or self.received - self.durable >= SYNC_BYTES or self.received == self.size:
                self.sync()

    def _note(self, data: bytes) -> None:
        """Write the checksums of the blocks that `data` completes."""
        at, sums, view = 0, b"", memoryview(data)
        while at < len(data):
            position = self.received + at
            piece = view[at : at + BLOCK_BYTES - position % BLOCK_BYTES]
            self._crc = zlib.crc32(piece, self._crc)
            at += len(piece)
            end = position + len(piece)
            if end % BLOCK_BYTES == 0 or end == self.size:
                sums += CRC.pack(self._crc)
                self._crc = 0
        os.lseek(self._sums, self._blocks * CRC.size, os.SEEK_SET)
        write_all(self._sums, sums)
        self._blocks += len(sums) // CRC.size

    def sync(self) -> None:
        """Make what has come durable."""
        os.fsync(self._data)
        os.fsync(self._sums)
        self.durable, self._synced_at = self.received, time.monotonic()

    def matches(self) -> bool:
        """Return whether the bytes that came are those of the name."""
        return self._digest.hexdigest() == self.sha

    def close(self) -> None:
        """Let go of the files; what has come stays."""
        if self._data >= 0:
            os.close(self._data)
            os.close(self._sums)
            self._data = self._sums = -1


@contextlib.contextmanager
def full_disk_named() -> Iterator[None]:
    """Turn a full disk into E_NOSPC.

    Yields:
        Nothing.

    Raises:
        AgentError: E_NOSPC: the disk is full.
        OSError: Anything else went wrong.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AgentError("E_NOSPC", "The board's disk is full.") from error
        raise
