"""The agent as a process of this machine: the default on the board itself, the dry run, and most tests."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

from edgeprune.devices.address import LocalAddress
from edgeprune.devices.agent_file import cached_agent
from edgeprune.devices.process import ProcessTransport

ROOT_VARIABLE = "EDGEPRUNE_AGENT_ROOT"
DEFAULT_ROOT = "~/.edgeprune"


class LocalTransport(ProcessTransport):
    """Pipes to an agent process.

    Args:
        address: Where the agent keeps its files: by address, else by EDGEPRUNE_AGENT_ROOT, else ~/.edgeprune.
    """

    def __init__(self, address: LocalAddress) -> None:
        super().__init__()
        self._address = address

    def command(self, greeting: bytes) -> list[str]:
        """Return this Python, the packed agent, its folder, and what it has heard."""
        root = self._address.root or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT
        command = [sys.executable, "-I", "-u", str(cached_agent()), "--root", str(Path(root).expanduser())]
        if self._address.quota_bytes is not None:
            command += ["--quota", str(self._address.quota_bytes)]
        return [*command, "--heard", base64.b64encode(greeting).decode("ascii")]
