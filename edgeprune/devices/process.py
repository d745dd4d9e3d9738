"""The agent's pipes, where a process of this machine leads to it: the agent itself, or the system's `ssh`."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from abc import abstractmethod
from typing import IO

from edgeprune.devices.replies import clean_text
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import ConnectFailed, DeviceTimeout, LinkClosed

_READ_BYTES = 256 * 1024
_LAST_WORDS_BYTES = 64 * 1024
_GRACE_S = 2.0
_CLOSED = "The link to the agent is closed."
_AGAIN = "Connect again."


class ProcessTransport(Transport):
    """Pipes to a process in a session of its own, which no terminal reaches."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._fds: tuple[int, ...] = ()
        self._last_words = bytearray()

    @abstractmethod
    def command(self, greeting: bytes) -> list[str]:
        """Return the program to start and its arguments, which may say the greeting."""

    @property
    def process_id(self) -> int | None:
        """The process; None before it was started and after it was ended."""
        return self._process.pid if self._process else None

    def open(self, deadline: Deadline, greeting: bytes = b"") -> None:
        """Start the process; see `Transport`.

        Args:
            deadline: Until when.
            greeting: Said by the command.

        Raises:
            ConnectFailed: No process could be started.
        """
        command = self.command(greeting)
        try:
            self._process = subprocess.Popen(
                command, bufsize=0, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise ConnectFailed(
                f"{command[0]} could not be started: {error.strerror}.", "See whether this machine has and can run it."
            ) from error
        self._fds = tuple(pipe.fileno() for pipe in self._open_pipes(self._process))
        for fd in self._fds:
            os.set_blocking(fd, False)

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Write to the agent's standard input; see `Transport`.

        Args:
            data: What to send.
            deadline: Until when.

        Raises:
            DeviceTimeout: The agent did not read it all in time.
            LinkClosed: The agent has ended.
        """
        pipe, _, complaints = self._pipes()
        poller = select.poll()
        poller.register(pipe, select.POLLOUT)
        view = memoryview(data)
        while view:
            if not poller.poll(deadline.remaining_s * 1000):
                raise DeviceTimeout("The agent does not read what it is sent.", _AGAIN)
            try:
                view = view[os.write(pipe, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._ended(complaints) from error

    def receive(self, deadline: Deadline) -> bytes:
        """Read from the agent's standard output; see `Transport`.

        Args:
            deadline: Until when to wait.

        Returns:
            At least one byte, or b"" when none came in time.
        """
        _, output, complaints = self._pipes()
        poller = select.poll()
        poller.register(output, select.POLLIN)
        poller.register(complaints, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll(deadline.remaining_s * 1000)}
            if complaints in ready and not self._listen(complaints):
                poller.unregister(complaints)
            if output in ready:
                data = _read(output)
                if data:
                    return data
                if data is not None:
                    raise self._ended(complaints)
            if deadline.expired:
                return b""

    def _listen(self, complaints: int) -> bool:
        # Only the end of what the agent says on standard error is kept; False when it will say no more.
        data = _read(complaints)
        self._last_words += data or b""
        del self._last_words[:-_LAST_WORDS_BYTES]
        return data != b""

    def _ended(self, complaints: int) -> LinkClosed:
        while _read_into(complaints, self._last_words):
            pass
        words = [clean_text(line) for line in self._last_words.decode("utf-8", "replace").strip().splitlines()[-1:]]
        return LinkClosed(" ".join(["The agent ended.", *words]), _AGAIN)

    def _pipes(self) -> tuple[int, ...]:
        if not self._fds:
            raise LinkClosed(_CLOSED, _AGAIN)
        return self._fds

    @staticmethod
    def _open_pipes(process: subprocess.Popen[bytes]) -> list[IO[bytes]]:
        return [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe is not None]

    def close(self) -> None:
        """End the process, by force if it does not go; see `Transport`."""
        process, self._process, self._fds = self._process, None, ()
        if process is None:
            return
        for pipe in self._open_pipes(process):
            pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
            return
        process.kill()
        process.wait()


def _read(fd: int) -> bytes | None:
    """Return what there is: b"" at the end, None when there is nothing now."""
    try:
        return os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _read_into(fd: int, buffer: bytearray) -> bool:
    data = _read(fd)
    buffer += data or b""
    return bool(data)
