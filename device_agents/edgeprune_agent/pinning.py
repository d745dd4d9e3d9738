"""Pins the clocks of a board while a host holds its lease; gives them back whatever happens to host, link and agent.

What was there before is on the disk before anything is changed. A watchdog, a process in a session of its own, waits
for the lease to end and then writes it back; should it be killed, the next agent starts another one. A reboot resets
governors, and the next agent resets the power mode, which outlives a reboot.

Source:
    NVIDIA Jetson Linux Developer Guide: nvpmodel -m MODE, jetson_clocks --store FILE and --restore FILE.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from edgeprune_agent import identity
from edgeprune_agent.boards import files
from edgeprune_agent.boards.state import StateReader
from edgeprune_agent.folders import Root, read_small, try_lock, write_whole
from edgeprune_agent.lease import Lease

_KEPT = "pinned.json"
_POLL_S = 0.5
_COMMAND_S = 30.0
_GOVERNOR = "sys/devices/system/cpu/cpufreq/policy{}/scaling_governor"
_PLACES = ("usr/sbin", "usr/bin", "sbin", "bin")


class Pinning:
    """The clocks of one board.

    Args:
        root: The agent's, where what was there before is kept.
        filesystem: Where /sys lies.
    """

    def __init__(self, root: Root, filesystem: str = "/") -> None:
        self._root, self._filesystem = root, filesystem

    def pin(self, epoch: int, power_mode: Optional[int]) -> Dict[str, Any]:
        """Set every governor to performance, and on a Jetson its mode and clocks.

        Args:
            epoch: Of the lease; when it is over, all is given back.
            power_mode: Of nvpmodel; None leaves it as it is.

        Returns:
            `pinned`: what was set; `refused`: what could not be, and why.
        """
        before = self._kept() or {"governors": self._governors(), "mode": self._mode(power_mode)}
        self._keep(dict(before, epoch=epoch))
        watch(self._root, self._filesystem)
        done: Dict[str, List[str]] = {"pinned": [], "refused": []}
        for policy in self._governors():
            _note(done, "governor of policy " + policy, self._write(_GOVERNOR.format(policy), "performance"))
        self._pin_jetson(done, power_mode)
        return dict(done)

    def _pin_jetson(self, done: Dict[str, List[str]], power_mode: Optional[int]) -> None:
        if power_mode is not None:
            _note(done, "power mode {}".format(power_mode), self._run("nvpmodel", "-m", str(power_mode)))
        if self._find("jetson_clocks"):
            failure = self._run("jetson_clocks", "--store", self._clocks_file()) or self._run("jetson_clocks")
            _note(done, "jetson_clocks", failure)

    def unpin(self) -> None:
        """Put back what was there before the first `pin`; without one, do nothing."""
        kept = self._kept()
        if kept is None:
            return
        if os.path.exists(self._clocks_file()):
            self._run("jetson_clocks", "--restore", self._clocks_file())
            _remove(self._clocks_file())
        if kept.get("mode") is not None:
            self._run("nvpmodel", "-m", str(kept["mode"]))
        for policy, governor in kept.get("governors", {}).items():
            self._write(_GOVERNOR.format(policy), governor)
        _remove(os.path.join(self._root.path, _KEPT))

    def epoch(self) -> Optional[int]:
        """Return the epoch for which clocks are pinned; None if they are not."""
        kept = self._kept()
        return None if kept is None else int(kept.get("epoch", 0))

    def _kept(self) -> Optional[Dict[str, Any]]:
        saved = read_small(self._root.fd, _KEPT)
        return None if saved is None else dict(json.loads(saved.decode("ascii")))

    def _keep(self, state: Dict[str, Any]) -> None:
        write_whole(self._root.fd, _KEPT, json.dumps(state).encode("ascii"))

    def _clocks_file(self) -> str:
        return os.path.join(self._root.path, "jetson_clocks.before")

    def _governors(self) -> Dict[str, str]:
        return dict(StateReader(self._filesystem).read()["governors"])

    def _mode(self, wanted: Optional[int]) -> Optional[int]:
        match = re.search(r"pmode:0*(\d+)", files.text(self._filesystem, "var/lib/nvpmodel/status") or "")
        return int(match.group(1)) if match and wanted is not None else None

    def _write(self, path: str, text: str) -> str:
        try:
            with open(os.path.join(self._filesystem, path), "w") as file:
                file.write(text)
        except OSError as error:
            return os.strerror(error.errno or 0)
        return ""

    def _find(self, program: str) -> Optional[str]:
        paths = [os.path.join(self._filesystem, place, program) for place in _PLACES]
        return next((path for path in paths if os.access(path, os.X_OK)), None)

    def _run(self, program: str, *arguments: str) -> str:
        # nvpmodel asks on a terminal whether it may reboot; without input it does not.
        path = self._find(program)
        if path is None:
            return "the board has no " + program
        try:
            done = subprocess.run(
                [path] + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, timeout=_COMMAND_S,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        said = done.stderr.decode("utf-8", "replace").strip()[-200:]
        return (said or "it ended with status {}".format(done.returncode)) if done.returncode else ""


def _remove(path: str) -> None:
    # Agent and watchdog may both put back the same things at the same time; one of them is the first.
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _note(done: Dict[str, List[str]], what: str, failure: str) -> None:
    if failure:
        done["refused"].append("{}: {}".format(what, failure))
    else:
        done["pinned"].append(what)


def watch(root: Root, filesystem: str = "/") -> None:
    """Start a watchdog if clocks are pinned and none is there.

    Args:
        root: The agent's.
        filesystem: Where /sys lies.
    """
    if read_small(root.fd, _KEPT) is None:
        return
    command = identity.worker_command(sys.executable)[:-1] + ["watchdog", root.path, filesystem]
    subprocess.Popen(
        command, cwd="/", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def main(argv: Sequence[str], sleep: Callable[[float], None] = time.sleep) -> int:
    """Be the watchdog: wait until the lease for which clocks are pinned is over, then give them back.

    Args:
        argv: The agent's root, and where /sys lies.
        sleep: Waits for so many seconds.

    Returns:
        0, the process's exit status.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    root = Root(argv[0])
    lock = os.open("watchdog", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=root.fd)
    if not try_lock(lock):
        return 0
    pinning, lease = Pinning(root, argv[1]), Lease(root, lambda: None)
    while True:
        epoch, state = pinning.epoch(), lease.who()
        if epoch is None:
            return 0
        if state["holder"] is None or state["epoch"] != epoch:
            pinning.unpin()
            return 0
        sleep(_POLL_S)
