"""The process's streams, claimed: ours go to the user, everybody else's to a log.

Converters and runtimes print, from Python and from C, to whatever file descriptors 1 and 2 are. While the streams
are claimed those are the log, and the user's own two are known only here.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TextIO


class Streams:
    """The user's standard output and error, and the log that stands in for them.

    Lifecycle: a context manager, once. Inside, `out` and `err` reach the user and descriptors 1 and 2 the log;
    afterwards the descriptors are as before.

    Args:
        log: File to append to; its folder is made. Where it cannot be written, a temporary file serves.
    """

    def __init__(self, log: Path) -> None:
        self._wanted = log

    def __enter__(self) -> Streams:
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = (os.dup(1), os.dup(2))
        self.out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self.err: TextIO = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
        self.log, descriptor = _open_log(self._wanted)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
        for stream in (self.out, self.err):
            with contextlib.suppress(BrokenPipeError):  # `edgeprune … | head` is no error
                stream.close()


def log_path(command: str, folder: Path | None) -> Path:
    """Return where a command's log goes.

    Args:
        command: Such as "deploy".
        folder: The project's; None outside of one.

    Returns:
        A path under the project's .edgeprune, or under the user's state folder.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgeprune"
    return (folder / ".edgeprune" if folder else state) / "logs" / f"{now}-{command}-{os.getpid()}.log"


def _open_log(wanted: Path) -> tuple[Path, int]:
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        return wanted, os.open(wanted, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        descriptor, name = tempfile.mkstemp(prefix="edgeprune-", suffix=".log")
        return Path(name), descriptor
