"""Who and where this agent is: its own file, the board, the boot."""

import hashlib
import os
import sys
from typing import List, Optional

_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id", "/sys/firmware/devicetree/base/serial-number")


def agent_file() -> str:
    """Return the path of the file that runs: agent.pyz, or the package's folder when it was not packed."""
    here = os.path.dirname(os.path.abspath(__file__))
    packed = os.path.dirname(here)
    return packed if os.path.isfile(packed) else here


def agent_sha256() -> str:
    """Return the digest of the agent's file, or "" when it was not packed."""
    path = agent_file()
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def worker_python(root: str) -> str:
    """Return the Python that workers run with: that of the root's venv if there is one, else the agent's own.

    Looked up anew for each worker: a venv may come while the agent runs.

    Args:
        root: The agent's folder.

    Returns:
        Its path.
    """
    own = os.path.join(root, "venv", "bin", "python3")
    return own if os.access(own, os.X_OK) else sys.executable


def worker_command(python: str) -> List[str]:
    """Return the command that runs this agent's `worker`, to be followed by the run's folder.

    Args:
        python: Which Python runs it.

    Returns:
        Arguments.
    """
    path = agent_file()
    program = [path] if os.path.isfile(path) else ["-m", "edgeprune_agent"]
    return [python, "-u", *program, "worker"]


def filesystem() -> str:
    """Return where /proc and /sys lie: somewhere else only for those who try out what boards have."""
    return os.environ.get("EDGEPRUNE_FILESYSTEM", "/")


def boot_id() -> str:
    """Return the kernel's id of this boot; "" where it has none."""
    return _first_line("/proc/sys/kernel/random/boot_id") or ""


def device_id() -> str:
    """Return 16 hex digits that stay the same over reboots: a hash of the machine's id, not the id itself."""
    known = next((text for text in map(_first_line, _MACHINE_FILES) if text), None)
    return hashlib.sha256(f"edgeprune {known or os.uname().nodename}".encode()).hexdigest()[:16]


def _first_line(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as file:
            return file.read(200).decode("ascii", "replace").split("\n")[0].strip("\0 ") or None
    except OSError:
        return None
