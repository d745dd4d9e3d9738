"""Watches the board from a process of its own while a worker measures.

The process is forked before the worker loads a runtime, so it shares the worker's few pages and starts at once. It
never holds what a timed inference could wait for: no lock, no interpreter, no file of the worker. It ends when the
worker does, however that ends: the pipe that says stop then has no writer any more.
"""

import json
import os
import select
import signal
from typing import Any, Callable, Dict, List

_FIRST_FD, _LAST_FD = 3, 1024


class Sampler:
    """A process that reads the board's state again and again.

    Args:
        read: Gives one reading, JSON data; called in the other process only.
        period_s: Between two readings.
    """

    def __init__(self, read: Callable[[], Dict[str, Any]], period_s: float) -> None:
        self._data, data = os.pipe()
        stop, self._stop = os.pipe()
        self._rest = b""
        self._child = os.fork()
        if not self._child:
            _be_sampler(read, period_s, stop, data)
        os.close(data)
        os.close(stop)
        os.set_blocking(self._data, False)

    def first(self) -> List[Dict[str, Any]]:
        """Return the first reading, for which this waits: what the board was like before anything ran."""
        select.select([self._data], [], [])
        return self.take()

    def take(self) -> List[Dict[str, Any]]:
        """Return the readings since the last call, without waiting."""
        try:
            self._rest += os.read(self._data, 1 << 16)
        except BlockingIOError:
            return []
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line.decode("ascii")) for line in lines]

    def close(self) -> List[Dict[str, Any]]:
        """Return what was left when the process has ended, with a reading of this moment at the end."""
        os.close(self._stop)
        os.set_blocking(self._data, True)
        with os.fdopen(self._data, "rb") as file:
            lines = (self._rest + file.read()).splitlines()
        os.waitpid(self._child, 0)
        return [json.loads(line.decode("ascii")) for line in lines]


def _be_sampler(read: Callable[[], Dict[str, Any]], period_s: float, stop: int, data: int) -> None:
    # The worker's descriptors hold its locks: they must be free when the worker is gone.
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        low, high = sorted((stop, data))
        os.closerange(_FIRST_FD, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, _LAST_FD)
        over = False
        while True:
            os.write(data, json.dumps(read()).encode("ascii") + b"\n")
            if over:
                break
            over = bool(select.select([stop], [], [], period_s)[0])
    finally:
        os._exit(0)
