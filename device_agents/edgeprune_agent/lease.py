"""Who may change the board: a lease with a rising epoch, and the kernel's lock that a running worker holds.

Every agent process of a root reads the same two files. `lease.json` is durable and holds the epoch, so that it never
falls, not even over a power cut; `lease.beat` says until when the holder was last known to be there, is written every
few seconds, and when it is lost or torn the lease has merely expired.
"""

import datetime
import json
import os
import time
from typing import Any, Callable, Dict, Optional

from edgeprune_agent import identity
from edgeprune_agent.folders import Root, read_small, try_lock, write_whole
from edgeprune_agent.wire import LEASE_TTL_S, AgentError


def _open_lock(root: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(os.path.join(root, "lock"), flags, 0o600)


def take_run_lock(root: str) -> int:
    """Take the lock that says that a worker is running.

    The lock belongs to the open file: pass the descriptor on to the worker (`pass_fds`) and close it here; it is free
    again when the last process that has it ends, however it ends.

    Args:
        root: The agent's root.

    Returns:
        A descriptor that holds the lock.

    Raises:
        AgentError: E_BUSY: a worker is running.
    """
    fd = _open_lock(root)
    for _ in range(20):  # `run_is_active` of another agent may have it for an instant
        if try_lock(fd):
            return fd
        time.sleep(0.005)
    os.close(fd)
    raise AgentError("E_BUSY", "A run is going on.", retry=True)


def run_is_active(root: str) -> bool:
    """Return whether a worker of any agent of this root is running."""
    fd = _open_lock(root)
    try:
        return not try_lock(fd, shared=True)
    finally:
        os.close(fd)


class Lease:
    """The lease of one root.

    Args:
        root: Whose lease.
        active_run: Returns the id of the run that goes on, or None.
        clock: Seconds that every process of this boot agrees on.
        boot: The id of this boot.
    """

    def __init__(
        self,
        root: Root,
        active_run: Callable[[], Optional[str]],
        clock: Callable[[], float] = time.monotonic,
        boot: Optional[str] = None,
    ) -> None:
        self._root, self._active_run, self._clock = root, active_run, clock
        self._boot = identity.boot_id() if boot is None else boot

    def acquire(self, holder: str, steal: bool) -> Dict[str, Any]:
        """Give the lease to `holder`.

        Args:
            holder: Who, for people to read.
            steal: Take it from whoever has it.

        Returns:
            The epoch, and for how many seconds the lease lasts without a sign of life.

        Raises:
            AgentError: E_BUSY: another one has it.
        """
        with self._root.guard():
            state = self._read()
            if not steal and state["holder"] is not None and self._alive(state):
                raise self._busy(state)
            epoch = state["epoch"] + 1
            self._write({"epoch": epoch, "holder": holder, "since_utc": _now_utc()})
            self._beat(epoch)
        return {"epoch": epoch, "ttl_s": LEASE_TTL_S}

    def renew(self, epoch: int) -> None:
        """Note that the holder is there; one that was late but has not been replaced has the lease still.

        Raises:
            AgentError: See `check`.
        """
        with self._root.guard():
            self.check(epoch)
            self._beat(epoch)

    def release(self, epoch: int) -> None:
        """Give the lease back.

        Raises:
            AgentError: See `check`.
        """
        with self._root.guard():
            self.check(epoch)
            self._write({"epoch": epoch, "holder": None, "since_utc": _now_utc()})

    def check(self, epoch: int) -> None:
        """Refuse a request that does not come from the holder.

        Args:
            epoch: What the request carries.

        Raises:
            AgentError: E_FENCED: a later holder came; E_LEASE: it was given back or never taken.
        """
        state = self._read()
        if epoch < state["epoch"]:
            detail = {"holder": state["holder"], "since_utc": state["since_utc"], "run": None}
            raise AgentError("E_FENCED", f"The lease with epoch {epoch} is over: another holder came.", detail=detail)
        if epoch > state["epoch"] or state["holder"] is None:
            raise AgentError("E_LEASE", f"There is no lease with epoch {epoch}.")

    def who(self) -> Dict[str, Any]:
        """Return the holder, or None for a lease that is free, with what is known of it."""
        state = self._read()
        held = state["holder"] is not None and self._alive(state)
        return {
            "holder": state["holder"] if held else None,
            "since_utc": state["since_utc"] if held else None,
            "epoch": state["epoch"],
            "run": self._active_run(),
        }

    def _busy(self, state: Dict[str, Any]) -> AgentError:
        detail = {"holder": state["holder"], "since_utc": state["since_utc"], "run": self._active_run()}
        return AgentError("E_BUSY", f"The board is held by {state['holder']}.", retry=True, detail=detail)

    def _alive(self, state: Dict[str, Any]) -> bool:
        beat = _object(read_small(self._root.fd, "lease.beat") or b"") or {}
        if beat.get("epoch") == state["epoch"] and beat.get("boot_id") == self._boot:
            left = beat.get("expires_s", 0) - self._clock()
            if 0 < left <= LEASE_TTL_S:
                return True
        return run_is_active(self._root.path)

    def _beat(self, epoch: int) -> None:
        beat = {"epoch": epoch, "boot_id": self._boot, "expires_s": self._clock() + LEASE_TTL_S}
        write_whole(self._root.fd, "lease.beat", json.dumps(beat).encode(), durable=False)

    def _read(self) -> Dict[str, Any]:
        state = {"epoch": 0, "holder": None, "since_utc": None}
        saved = read_small(self._root.fd, "lease.json")
        if saved is not None:
            state.update(_object(saved) or _damaged(self._root.path))
        return state

    def _write(self, state: Dict[str, Any]) -> None:
        write_whole(self._root.fd, "lease.json", json.dumps(state).encode())


def _object(text: bytes) -> Optional[Dict[str, Any]]:
    try:
        data = json.loads(text.decode())
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _damaged(root: str) -> Dict[str, Any]:
    # To guess an epoch could let a former holder in again.
    raise AgentError("E_IO", f"{root}/lease.json is damaged; remove the file when nobody uses the board.")


def _now_utc() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
