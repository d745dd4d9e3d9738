"""`python3 agent.pyz [--root DIR]` serves a host on its standard input and output; `… worker RUN_DIR` does a run."""

import sys
from typing import List


def main(argv: List[str]) -> int:
    """Be the agent, one of its workers, or the watchdog of pinned clocks.

    Args:
        argv: The command line without the program.

    Returns:
        The exit code.
    """
    if argv[:1] == ["worker"]:
        from edgeprune_agent import worker

        return worker.main(argv[1:])
    if argv[:1] == ["watchdog"]:
        from edgeprune_agent import pinning

        return pinning.main(argv[1:])
    from edgeprune_agent import server

    return server.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
