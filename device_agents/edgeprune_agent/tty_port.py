"""A terminal of the board as a line for bytes, and as it was again afterwards."""

import contextlib
import os
import termios
from types import TracebackType
from typing import Any, List, Optional

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED, _CC = range(7)
_DEFAULT_RATE = 115200


def _constant(rate: int) -> Optional[int]:
    return getattr(termios, f"B{rate}", None)


def supported(rates: List[int]) -> List[int]:
    """Return those speeds that a terminal of this system can be set to."""
    return [rate for rate in rates if _constant(rate) is not None]


class TtyPort:
    """A terminal in raw mode; use it in a `with` block.

    Lifecycle: `with` opens it, sets it raw and, on every way out but SIGKILL, gives it back as it was.

    Args:
        path: Of the terminal; "-" for the one that standard input is.
        rate: Bits per second; 0 for what it is set to.

    Attributes:
        fd: Its descriptor, of our own, which does not block.
        rate: Bits per second now.
    """

    def __init__(self, path: str, rate: int = 0) -> None:
        self._path, self.rate, self.fd = path, rate, -1
        self._before: List[Any] = []

    def __enter__(self) -> "TtyPort":
        # A descriptor of our own: a flag set on the shell's would still be set after us.
        path = os.ttyname(0) if self._path == "-" else self._path
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._before = termios.tcgetattr(self.fd)
            self.rate = self.rate or _rate_of(self._before[_OSPEED])
            self._make_raw()
        except (OSError, termios.error):
            os.close(self.fd)
            raise
        return self

    def _make_raw(self) -> None:
        attributes = termios.tcgetattr(self.fd)
        attributes[_IFLAG] = attributes[_OFLAG] = attributes[_LFLAG] = 0
        attributes[_CFLAG] = attributes[_CFLAG] & ~(termios.CSIZE | termios.PARENB | termios.CSTOPB | termios.HUPCL)
        attributes[_CFLAG] |= termios.CS8 | termios.CREAD | termios.CLOCAL
        attributes[_CC] = list(attributes[_CC])
        attributes[_CC][termios.VMIN], attributes[_CC][termios.VTIME] = 1, 0
        attributes[_ISPEED] = attributes[_OSPEED] = _constant(self.rate) or attributes[_OSPEED]
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)

    def set_rate(self, rate: int) -> None:
        """Change the speed once all that was written has left.

        Args:
            rate: Bits per second; one that is `supported`.
        """
        attributes = termios.tcgetattr(self.fd)
        attributes[_ISPEED] = attributes[_OSPEED] = _constant(rate) or attributes[_OSPEED]
        termios.tcsetattr(self.fd, termios.TCSADRAIN, attributes)
        self.rate = rate

    def __exit__(
        self,
        kind: Optional[type],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        # A line that was hung up has nothing to give back.
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self.fd, termios.TCSAFLUSH, self._before)
        os.close(self.fd)


def _rate_of(constant: int) -> int:
    names = [name for name in dir(termios) if name.startswith("B") and name[1:].isdigit()]
    return next((int(name[1:]) for name in names if getattr(termios, name) == constant), 0) or _DEFAULT_RATE
