"""What an agent owes the shell whose terminal it uses: nothing that the host says ever reaches that shell."""

import os
import select
import termios
import time

from edgeprune_agent.wire import GONE_TEXT

_KEPT = 5
_WAKE = b"\x15\r"
"""How a host begins that looks for a shell."""
_QUIET_S, _LONGEST_S = 1.5, 20.0


def stand_guard(terminal: int) -> None:
    """Fork; the child returns and is the agent. The parent waits for it, and if it was killed, outlives it for a while.

    It then tells the host, and keeps to itself what the host said meanwhile, which a shell would take for commands.

    Args:
        terminal: Descriptor of it, raw and at the console's speed.
    """
    raw = termios.tcgetattr(terminal)
    if os.fork() == 0:
        return
    _, status = os.wait()
    if status:
        os.write(terminal, b"\0" + GONE_TEXT + b"\0")
        time.sleep(0.1)  # not every terminal knows when the last byte has left
        termios.tcsetattr(terminal, termios.TCSADRAIN, raw)
        _swallow(terminal)
    os._exit(0)


def _swallow(terminal: int) -> None:
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until and select.select([terminal], [], [], _QUIET_S)[0]:
        if os.read(terminal, 65536) in (_WAKE, b""):
            return


def forget_old_agents(path: str) -> None:
    """Remove agents beside one that runs, but for the few that were used last.

    Args:
        path: Of the agent that runs; in a folder of agents, if it is a file.
    """
    folder = os.path.dirname(path)
    if not os.path.isfile(path) or os.path.basename(folder) != "agent":
        return
    os.utime(path)
    agents = [os.path.join(folder, name) for name in os.listdir(folder)]
    for old in sorted(agents, key=os.path.getmtime)[:-_KEPT]:
        os.unlink(old)
