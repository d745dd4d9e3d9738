"""One serial port of this machine, ours alone: bytes, speed, and how much is still on its way out."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import time
from pathlib import Path

import serial
from edgeprune_agent import wire

from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed, DeviceBusy, DeviceTimeout, LinkClosed

BY_ID = Path("/dev/serial/by-id")
"""Where Linux names adapters by their serial numbers, which stay the same when they are plugged in again."""
_READ_BYTES = 64 * 1024
_AGAIN = "Connect again."
_GONE = ("The serial port is gone.", "See whether the adapter is plugged in.")
_ids: dict[str, Path] = {}


class SerialPort:
    """A port, opened by `open`; no other process can open it meanwhile.

    Args:
        path: Of the terminal.
        rate: Bits per second.

    Attributes:
        rate: Bits per second now.
    """

    def __init__(self, path: str, rate: int) -> None:
        self._path, self.rate = path, rate
        self._serial: serial.Serial | None = None
        self._pace = wire.Pace(rate)

    def open(self) -> None:
        """Open it, for this process alone.

        Raises:
            DeviceBusy: Another process has it.
            ConnectFailed: It is not there, or not ours to open.
        """
        path = _find(self._path)
        try:
            port = serial.Serial(path, self.rate, timeout=0, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            if _is_taken(error):
                step = "End that one, or wait until it is done."
                raise DeviceBusy(f"{self._path} is in use by another process.", step) from error
            raise ConnectFailed(*_refusal(self._path, error)) from error
        # The lock binds those who ask for it, the other one everybody but root.
        with contextlib.suppress(OSError):
            fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
        self._serial = port
        _remember(self._path)

    def _fd(self) -> int:
        if self._serial is None:
            raise LinkClosed("The serial port is closed.", _AGAIN)
        fd: int = self._serial.fileno()
        return fd

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Hand over bytes.

        Args:
            data: What to send.
            deadline: Until when.

        Raises:
            DeviceTimeout: The port did not take it all in time.
            LinkClosed: The port is gone.
        """
        fd = self._fd()
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        view = memoryview(data)
        self._pace.spend(len(data), time.monotonic())
        while view:
            if not poller.poll(deadline.remaining_s * 1000):
                raise DeviceTimeout("The serial port takes no more bytes.", "See whether flow control is on.")
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise LinkClosed(*_GONE) from error

    def rest(self, slack_s: float) -> None:
        """Wait until what was handed over will have left in `slack_s`.

        Args:
            slack_s: For how long the line may be kept busy.

        Raises:
            LinkClosed: The port is gone.
        """
        try:
            queued = int.from_bytes(fcntl.ioctl(self._fd(), termios.TIOCOUTQ, bytes(4)), "little")
        except OSError as error:
            raise LinkClosed(*_GONE) from error
        delay_s = max(self._pace.delay_s(slack_s, time.monotonic()), queued * 10 / self.rate - slack_s)
        if delay_s > 0:
            time.sleep(delay_s)

    def read(self, deadline: Deadline) -> bytes:
        """Return bytes as soon as there are any.

        Args:
            deadline: Until when to wait.

        Returns:
            At least one byte, or b"" when none came in time.

        Raises:
            LinkClosed: The port is gone.
        """
        fd = self._fd()
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if not poller.poll(deadline.remaining_s * 1000):
            return b""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkClosed(*_GONE) from error
        if not data:
            raise LinkClosed(*_GONE)
        return data

    def set_rate(self, rate: int) -> None:
        """Change the speed once all that was handed over has left.

        Args:
            rate: Bits per second.

        Raises:
            LinkClosed: The port is gone, or does not know the speed.
        """
        fd = self._fd()
        assert self._serial is not None
        self.rest(0.0)  # not every adapter knows when the last byte has left
        try:
            termios.tcdrain(fd)
            self._serial.baudrate = rate
        except (serial.SerialException, ValueError, OSError, termios.error) as error:
            raise LinkClosed(*_GONE) from error
        self.rate, self._pace = rate, wire.Pace(rate)

    def close(self) -> None:
        """Let others have it."""
        port, self._serial = self._serial, None
        if port is None:
            return
        with contextlib.suppress(OSError, termios.error):
            fcntl.ioctl(port.fileno(), termios.TIOCNXCL)
        port.close()


def _is_taken(error: Exception) -> bool:
    return getattr(error, "errno", None) in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error)


def _refusal(path: str, error: Exception) -> tuple[str, str]:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"There is no serial port {path}.", "Plug the adapter in; `ls /dev/serial/by-id` lists those that are."
    if number in (errno.EACCES, errno.EPERM):
        step = "Add yourself to the group that owns it (dialout on most systems), and log in again."
        return f"{path} may not be opened by you.", step
    return f"{path} cannot be opened as a serial port.", "See whether it is one, and knows that speed."


def _remember(path: str) -> None:
    names = BY_ID.iterdir() if BY_ID.is_dir() else ()
    for name in names:
        if name.resolve() == Path(path).resolve():
            _ids[path] = name


def _find(path: str) -> str:
    """Return where the adapter is that was once at `path`: it may have got another number."""
    known = _ids.get(path)
    return str(known) if known is not None and known.exists() else path
