"""A GPIO line that is high while inferences are timed, for meters with an input: then no clocks need to be compared."""

import array
import fcntl
import os
import struct
from typing import Any, Dict, List, Optional

from edgeprune_agent import identity, timing

_GET_LINE, _SET_VALUES = 0xC250B407, 0xC010B40F
_OUTPUT = 1 << 3
_REQUEST = "=64I32sQI20x240xII20xi"
"""Offsets of lines, consumer; flags, number of attributes, attributes; number of lines, event buffer; file descriptor.

Source:
    struct gpio_v2_line_request and the ioctls of linux/gpio.h, Linux 5.10 and later.
"""


class NoMarker(Exception):
    """The line cannot be driven; the message says why."""


class Marker:
    """One line, low at first.

    Args:
        wanted: `chip`, such as "gpiochip0", and `line`, its number on it.

    Raises:
        NoMarker: There is no such line, it is in use, or may not be driven by this user.
    """

    def __init__(self, wanted: Dict[str, Any]) -> None:
        path = os.path.join(identity.filesystem(), "dev", wanted["chip"])
        offsets = [wanted["line"]] + 63 * [0]
        request = array.array("B", struct.pack(_REQUEST, *offsets, b"edgeprune", _OUTPUT, 0, 1, 0, 0))
        try:
            chip = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(chip, _GET_LINE, request, True)
            finally:
                os.close(chip)
        except OSError as error:
            text = "line {} of {} cannot be driven: {}".format(wanted["line"], path, error.strerror)
            raise NoMarker(text + " (that takes Linux 5.10 and the group gpio, or root)") from error
        self._line = struct.unpack(_REQUEST, request)[-1]
        self.marks: List[List[int]] = []

    def put(self, level: int) -> None:
        """Set the line, and note when: the middle of the call, and half of how long it took, ns."""
        begin = timing.now_ns()
        fcntl.ioctl(self._line, _SET_VALUES, struct.pack("=QQ", level, 1))
        end = timing.now_ns()
        self.marks.append([(begin + end) // 2, (end - begin + 1) // 2])

    def close(self) -> None:
        """Let go of the line; the kernel leaves it as it is, or makes it an input again."""
        os.close(self._line)


def marker_for(wanted: Optional[Dict[str, Any]]) -> Optional[Marker]:
    """Return the marker that a spec asks for, if it does."""
    return Marker(wanted) if wanted else None
