"""A serial cable of a real one's speed between the host and a virtual board's console, which itself knows no speed.

Run as a program, it is the cable's far end: it joins its own terminal and the console's.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tty
from pathlib import Path

RELAY = Path(__file__).parents[1] / "devices" / "serial_relay.py"


@contextlib.contextmanager
def slow_line(console, baud):
    """Yields the path of the near end; ten bits of the line are a byte."""
    far = [sys.executable, __file__, console]
    settings = json.dumps({"rate": baud / 10})
    command = [sys.executable, str(RELAY), "--home", "/", "--baud", str(baud), "--settings", settings, "--", *far]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as relay:
        try:
            yield relay.stdout.readline().split()[0]
        finally:
            relay.stdin.close()
            relay.wait(10)


def join(console):
    other = os.open(console, os.O_RDWR | os.O_NOCTTY)
    for terminal in (0, other):
        tty.setraw(terminal)
    while True:
        for source in select.select([0, other], [], [])[0]:
            os.write(other if source == 0 else 1, os.read(source, 4096))


if __name__ == "__main__":
    join(sys.argv[1])
