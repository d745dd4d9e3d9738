"""ssh+exec://: the agent behind the system's own `ssh`, for what ours lacks: ProxyCommand, certificates, FIDO keys."""

from __future__ import annotations

import shutil

from edgeprune.devices.address import SshAddress
from edgeprune.devices.process import ProcessTransport
from edgeprune.devices.ssh_config import look_up, ssh_options
from edgeprune.devices.ssh_start import SLOW_START_S, AgentStart, start_command
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed

_SETTINGS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "EscapeChar": "none",
    "LogLevel": "ERROR",
}
"""They go before the user's configuration: nothing is asked, nothing is trusted, nothing is forwarded."""


class SshExecTransport(ProcessTransport):
    """Pipes to a process of the system's `ssh`, which reads the user's configuration itself.

    Args:
        address: Of the board.
    """

    start_s = SLOW_START_S

    def __init__(self, address: SshAddress) -> None:
        super().__init__()
        self._address = address
        self._start = AgentStart(self.send, super().receive)

    def command(self, greeting: bytes) -> list[str]:
        """Return `ssh`, our settings, the host, and the one command that starts an agent there.

        Raises:
            ConnectFailed: There is no `ssh`.
        """
        program = shutil.which("ssh")
        if program is None:
            raise ConnectFailed("This machine has no `ssh`.", "Install openssh-client, or use ssh://.")
        paths = (str(path).replace("%", "%%") for path in look_up(self._address).known_hosts)
        files = " ".join(f'"{path}"' for path in paths)
        settings = [f"{key}={value}" for key, value in {**_SETTINGS, "UserKnownHostsFile": files}.items()]
        options = [word for setting in settings for word in ("-o", setting)]
        return [program, "-T", *options, *ssh_options(self._address), start_command(self._address, greeting)]

    def receive(self, deadline: Deadline) -> bytes:
        """Return from the agent's standard output; see `Transport`.

        Args:
            deadline: Until when to wait.

        Returns:
            At least one byte, or b"" when none came in time.

        Raises:
            ConnectFailed: The agent did not start; what `ssh` said is in the error.
        """
        try:
            return self._start.receive(deadline)
        except ConnectFailed as error:
            if "Host key verification failed" in error.message:
                step = f"Compare its key and run: edgeprune devices trust '{self._address}'."
                raise ConnectFailed(error.message, step) from error
            raise

    def close(self) -> None:
        """End `ssh`, and with it the agent; see `Transport`."""
        self._start.over = True
        super().close()
