"""A board at the end of a serial cable, as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

RELAY = Path(__file__).with_name("serial_relay.py")
PYTHON_FOLDER = str(Path(sys.executable).parent)


class SerialBoard:
    """A console behind a cable; `port` is where to plug in.

    Args:
        home: The board's home directory, where its agent keeps its files.
        command: What runs on the console.
        baud: Speed that the console begins with.
        settings: Of the cable; see `serial_relay`.
    """

    def __init__(self, home, command=("bash", "--norc", "-i"), baud=115200, **settings):
        self.home, self.root = Path(home), Path(home) / ".edgeprune"
        self.baud = baud
        environment = {**os.environ, "PATH": f"{PYTHON_FOLDER}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        options = ["--home", str(home), "--baud", str(baud), "--settings", json.dumps(settings)]
        self.process = subprocess.Popen(
            [sys.executable, "-S", str(RELAY), *options, "--", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip
        self.port, pid = self.process.stdout.readline().split()
        self.console_pid = int(pid)

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def stats(self):
        """What the cable carried to the board, and from it."""
        self.order(stats=True)
        return json.loads(self.process.stdout.readline())

    def address(self, **options):
        given = {"baud": self.baud, "fastest": self.baud, **options}
        return f"serial://{self.port}?" + "&".join(f"{key}={value}" for key, value in given.items())

    def pull(self):
        """Unplug the near end."""
        self.order(pull=True)

    def plug(self):
        """Plug it in again; it may have another name."""
        self.order(plug=True)
        self.port = self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
