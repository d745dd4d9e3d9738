"""Content-addressed files: whole under objects/, begun under partial/, named by nothing but their SHA-256.

A file gets its final name only when its size and SHA-256 are right and it is durable.
"""

import contextlib
import os
import stat
import time
from typing import Any, Dict, Generator, List, Optional, Tuple

from edgeprune_agent.folders import Root, read_piece, sync_folder
from edgeprune_agent.upload import BLOCK_BYTES, CRC, Upload, full_disk_named
from edgeprune_agent.wire import AgentError, check_name

MAX_OBJECT_BYTES = 1 << 30
QUOTA_BYTES = 8 << 30
RESERVE_BYTES = 64 << 20
STALE_S = 7 * 24 * 3600.0


def object_path(root: str, sha: str) -> str:
    """Return where the object is, or would be.

    Args:
        root: The agent's root.
        sha: Its digest; checked.

    Returns:
        The path.
    """
    check_name("sha", sha)
    return os.path.join(root, "objects", sha[:2], sha)


class Store:
    """The objects of one root.

    Args:
        root: Where.
        quota_bytes: What objects and uploads may take up together.
        reserve_bytes: What must stay free on the disk.

    Attributes:
        reserve_bytes: As given.
    """

    def __init__(self, root: Root, quota_bytes: int = QUOTA_BYTES, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._root, self._quota, self.reserve_bytes = root, quota_bytes, reserve_bytes
        self._uploads: Dict[str, Upload] = {}

    def stat(self, sha: str, size: int) -> Dict[str, Any]:
        """Return how much of a file is here: nothing, a part, or all of it.

        Args:
            sha: Its digest.
            size: Its length.

        Returns:
            The answer of `store.stat`.
        """
        if self._has(sha):
            return {"state": "complete", "durable": size}
        sums = _size_of(self._root.folder("partial"), sha + ".crc")
        if sums is None:
            return {"state": "absent", "durable": 0}
        return {"state": "partial", "durable": min(size, sums // CRC.size * BLOCK_BYTES)}

    def open(self, sha: str, size: int) -> Generator[None, None, Upload]:
        """Begin an upload, or go on with one; the result of the steps is the `Upload`.

        Args:
            sha: Its digest.
            size: Its length.

        Yields:
            Nothing, after each slice of work.

        Returns:
            The upload, ready for `add`.

        Raises:
            AgentError: E_LIMIT, E_QUOTA, E_NOSPC: it is too large; E_BUSY: another connection is sending it.
        """
        if size > MAX_OBJECT_BYTES:
            raise AgentError("E_LIMIT", f"{size} bytes are more than one file may hold ({MAX_OBJECT_BYTES}).")
        self.abandon(sha)
        self._make_room(sha, size)
        with full_disk_named():
            upload = Upload(self._root, sha, size)
            try:
                yield from upload.recall()
            except BaseException:
                upload.close()
                raise
        self._uploads[sha] = upload
        return upload

    def abandon(self, sha: str) -> None:
        """Stop an upload of this agent; what has come stays for the next one."""
        if sha in self._uploads:
            self._uploads.pop(sha).close()

    def discard(self, sha: str) -> None:
        """Stop an upload of this agent, and delete what has come."""
        self.abandon(sha)
        _discard(self._root.folder("partial"), sha)

    def close(self) -> None:
        """Stop every upload."""
        for sha in list(self._uploads):
            self.abandon(sha)

    def commit(self, sha: str) -> None:
        """Give a file its name, if it is what the name says, for good.

        Args:
            sha: Its digest.

        Raises:
            AgentError: E_HASH: it is not (and what came is deleted); E_OFFSET: bytes are missing; E_NOTFOUND: there
                is no upload.
        """
        upload = self._uploads.get(sha)
        if upload is None:
            if self._has(sha):
                return
            raise AgentError("E_NOTFOUND", "Nothing of this file was sent.")
        if upload.received != upload.size:
            missing = f"{upload.received} of {upload.size} bytes came."
            raise AgentError("E_OFFSET", missing, detail={"expected": upload.received})
        partial, objects = self._root.folder("partial"), self._root.folder("objects")
        if not upload.matches():
            self.discard(sha)
            raise AgentError("E_HASH", "The bytes that came do not have the announced SHA-256.", retry=True)
        with full_disk_named():
            upload.sync()
            with contextlib.suppress(FileExistsError):
                os.mkdir(sha[:2], 0o700, dir_fd=objects)
                os.fsync(objects)
            os.rename(sha + ".part", _shelved(sha), src_dir_fd=partial, dst_dir_fd=objects)
            sync_folder(os.path.join(self._root.path, "objects", sha[:2]))
        self.discard(sha)
        os.fsync(partial)

    def fetch(self, sha: str, offset: int, length: int) -> bytes:
        """Return a piece of an object.

        Args:
            sha: Its digest.
            offset: From where,
            length: and at most how much.

        Returns:
            The bytes; fewer than `length` only at the end.

        Raises:
            AgentError: E_NOTFOUND: it is not here.
        """
        if not self._has(sha):
            raise AgentError("E_NOTFOUND", "There is no such file on the board.")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return read_piece(os.open(_shelved(sha), flags, dir_fd=self._root.folder("objects")), offset, length)

    def sweep(self) -> None:
        """Remove uploads that nobody went on with for a week, and drafts that a kill left behind."""
        for folder, suffix in ((self._root.folder("partial"), ""), (self._root.fd, ".new")):
            for name in os.listdir(folder):
                with contextlib.suppress(FileNotFoundError):  # another agent sweeps as well
                    modified = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
                    if name.endswith(suffix) and time.time() - modified > STALE_S:
                        os.unlink(name, dir_fd=folder)

    def _has(self, sha: str) -> bool:
        if _size_of(self._root.folder("objects"), _shelved(sha)) is None:
            return False
        os.utime(_shelved(sha), dir_fd=self._root.folder("objects"), follow_symlinks=False)  # for `_evict`
        return True

    def _make_room(self, sha: str, size: int) -> None:
        more = max(0, size - (_size_of(self._root.folder("partial"), sha + ".part") or 0))
        objects = self._objects()
        used = sum(entry[1] for entry in objects) + self._partial_bytes()
        disk = os.fstatvfs(self._root.fd)
        free = disk.f_bavail * disk.f_frsize - self.reserve_bytes
        used, free = self._evict(objects, more, used, free)
        reserve = self.reserve_bytes
        detail = {"needed": more, "used": used, "quota": self._quota, "free": max(0, free), "reserve": reserve}
        if used + more > self._quota:
            raise AgentError("E_QUOTA", f"{more} bytes are more than the store's quota has left.", detail=detail)
        if more > free:
            raise AgentError("E_NOSPC", f"{more} bytes are more than the board's disk has left.", detail=detail)

    def _evict(self, objects: List[Tuple[float, int, str]], more: int, used: int, free: int) -> Tuple[int, int]:
        # Those that nobody wanted for longest go first, and only if that helps.
        surplus = sum(size for _, size, _ in objects)
        if used - surplus + more > self._quota or more > free + surplus:
            return used, free
        for _, size, sha in sorted(objects):
            if used + more <= self._quota and more <= free:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_shelved(sha), dir_fd=self._root.folder("objects"))
            used, free = used - size, free + size
        return used, free

    def _objects(self) -> List[Tuple[float, int, str]]:
        # What a release holds has a second link; it is not the store's to count or to remove.
        found = []
        folder = self._root.folder("objects")
        for shelf in os.listdir(folder):
            for sha in os.listdir(os.path.join(self._root.path, "objects", shelf)):
                with contextlib.suppress(FileNotFoundError):
                    facts = os.stat(_shelved(sha), dir_fd=folder, follow_symlinks=False)
                    if facts.st_nlink == 1:
                        found.append((facts.st_mtime, facts.st_size, sha))
        return found

    def _partial_bytes(self) -> int:
        folder = self._root.folder("partial")
        return sum(_size_of(folder, name) or 0 for name in os.listdir(folder))


def _shelved(sha: str) -> str:
    return sha[:2] + "/" + sha


def _size_of(folder: int, name: str) -> Optional[int]:
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return facts.st_size if stat.S_ISREG(facts.st_mode) else None


def _discard(folder: int, sha: str) -> None:
    for name in (sha + ".part", sha + ".crc"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
