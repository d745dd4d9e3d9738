"""Session: an opened, leased board. What the other stages hold."""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from edgeprune_agent import wire

from edgeprune.devices import reconnection
from edgeprune.devices.address import parse_address
from edgeprune.devices.client import REQUEST_S, AgentClient, Asked
from edgeprune.devices.holder import is_dead, leave, sign
from edgeprune.devices.replies import integer, read_info, read_state, text
from edgeprune.devices.resolve import resolve
from edgeprune.devices.run_end import run_failure
from edgeprune.devices.transfer_time import transfer_notice
from edgeprune.devices.transport import Deadline, make_transport
from edgeprune.errors import (
    ConnectFailed,
    DeviceBusy,
    DeviceError,
    DeviceTimeout,
    LinkClosed,
    ProtocolError,
    RemoteError,
    StorageError,
)
from edgeprune.values.board_state import BoardState
from edgeprune.values.device import DeviceInfo, DeviceProfile
from edgeprune.values.event import Event, Listener, ignore

_STOP_RUN_S = 8.0
"""More than the 3 s that the agent gives a worker to stop by itself."""
_INFO_S = 300.0
"""The first time, the agent imports every runtime: two minutes on an emulated board of a busy host."""
_RELEASE_S = 5.0
_LOST = (LinkClosed, ProtocolError)
_Answer = TypeVar("_Answer")


def connect(
    target: str | DeviceProfile, *, steal: bool = False, listener: Listener = ignore, exclusive: bool = True
) -> Session:
    """Open a board.

    Args:
        target: Name, tag, address or profile; see `edgeprune.devices.resolve`.
        steal: Take the board from whoever has it, and end the run there.
        listener: Hears of uploads.
        exclusive: Hold the lease, which everything but reading needs.

    Returns:
        The open session; use it in a `with` block.
    """
    session = Session(resolve(target), listener, steal=steal)
    session.open(exclusive)
    return session


class Session:
    """A board at work for us. `connect` makes one.

    Lifecycle: open, use, close; `with` closes on every way out. While it is open, the lease is renewed in the
    background. A link that is lost in the middle is opened again, and what was asked is asked again, under the same
    key. Not to be shared between threads.

    Attributes:
        profile: Whose board.
        client: Requests to its agent.
    """

    def __init__(self, profile: DeviceProfile, listener: Listener = ignore, *, steal: bool = False) -> None:
        self.profile = profile
        self._listener, self._steal, self._holder = listener, steal, sign()
        self._address = parse_address(profile.address)
        self._epoch: int | None = None
        self._closed = False
        self.client = self._new_client()

    def _new_client(self) -> AgentClient:
        return AgentClient(make_transport(self._address), self.profile.name)

    def open(self, exclusive: bool) -> None:
        """Connect, and take the lease if it is to be ours alone.

        Args:
            exclusive: Take the lease.

        Raises:
            ConnectFailed: No agent answered.
            WrongDevice: It is another board than the profile means.
            DeviceBusy: Another holder has the lease.
        """
        asked = None
        if exclusive:
            asked = self.client.prepare("lease.acquire", {"holder": self._holder, "steal": self._steal})
        try:
            self.client.open(self.profile.device_id, asked)
            if asked:
                self._acquire(asked)
        except BaseException:
            leave(self._holder)
            self.client.close()
            raise

    def _acquire(self, asked: Asked) -> None:
        try:
            answer = self.client.answer(asked)
        except DeviceBusy:
            if not is_dead(str(self.client.request("lease.who").get("holder"))):
                raise
            # A process of ours was killed before it could give the lease back, or a link of this one was cut.
            answer = self.client.request("lease.acquire", {"holder": self._holder, "steal": True})
        self._epoch = integer(answer, "epoch")
        self.client.hold(self._epoch)

    @cached_property
    def info(self) -> DeviceInfo:
        """What the agent says of its board; asked once."""
        answer = self._persist(lambda client: client.request("info", deadline_s=_INFO_S))
        return read_info(answer, self.client.hello)

    def state(self) -> BoardState:
        """Return what the board is like now: temperatures, clocks, throttling, load."""
        return read_state(self._persist(lambda client: client.request("state")))

    def push(self, path: Path, sha256: str) -> None:
        """Put a file into the board's store; one that is there already is not sent.

        Args:
            path: The file.
            sha256: Its digest.

        Raises:
            StorageError: The file cannot be read.
        """
        try:
            with path.open("rb") as file:
                self._push(file, path.stat().st_size, sha256, path.name)
        except OSError as error:
            raise StorageError(f"{path} cannot be sent: {error.strerror}.", "See whether it can be read.") from error

    def push_bytes(self, data: bytes) -> str:
        """Put bytes into the board's store.

        Args:
            data: The bytes.

        Returns:
            Their SHA-256, by which the board knows them.
        """
        digest = hashlib.sha256(data).hexdigest()
        self._push(io.BytesIO(data), len(data), digest, digest[:8])
        return digest

    def _push(self, file: BinaryIO, size: int, sha: str, subject: str) -> None:
        def progress(done: int) -> None:
            self._listener(Event("push", subject, done, size, "bytes"))

        def begun(missing: int, share: float) -> None:
            self.announce(subject, missing, share)

        lease = self._lease()
        self._persist(lambda client: client.upload(file, sha, size, lease, progress, begun))

    def announce(self, subject: str, missing: int, share: float = 1.0) -> None:
        """Tell the listener how long an upload will take, if that is long and the link's speed is known.

        Args:
            subject: What is sent.
            missing: How many bytes of it are not there yet.
            share: What packing leaves of them.
        """
        if notice := transfer_notice(missing, self.client.line_rate, share):
            self._listener(Event("push", subject, message=f"{subject}: {notice}"))

    def run(
        self, spec: Mapping[str, Any], on_event: Callable[[Mapping[str, Any]], None], deadline_s: float
    ) -> Mapping[str, Any]:
        """Run a worker on the board to its end.

        Args:
            spec: See docs/wire.md.
            on_event: Called with each event once, in order, the end event included.
            deadline_s: How long it may take; a run that takes longer is cancelled, as on any other way out.

        Returns:
            The end event of a run that was done.

        Raises:
            RunFailed: The worker failed, crashed or was cancelled, or the board was restarted.
            DeviceBusy: Another holder took the board over.
            DeviceTimeout: The deadline has passed.
        """
        try:
            run = text(self.request("run.start", spec=dict(spec)), "run")
            end = self._follow(run, on_event, Deadline(deadline_s))
        except BaseException:
            with contextlib.suppress(DeviceError):
                self._stop_run()
            raise
        self._judge(end)
        return end

    def _stop_run(self) -> None:
        # The lease is ours, so is whatever runs; the agent must be there until it has, or nobody kills a stuck worker.
        grace = Deadline(_STOP_RUN_S)
        run = self.request("lease.who").get("run")
        if run is not None:
            self.request("run.cancel", run=run)
        while run is not None and not grace.expired:
            time.sleep(0.05)
            run = self.request("lease.who").get("run")

    def _follow(self, run: str, on_event: Callable[[Mapping[str, Any]], None], deadline: Deadline) -> Mapping[str, Any]:
        seen = lost = 0
        while True:
            try:
                with contextlib.closing(self.client.follow(run, seen, deadline)) as events:
                    for event in events:
                        seen, lost = seen + 1, 0
                        on_event(event)
                        if event.get("kind") == "end":
                            return event
            except _LOST:
                lost += 1
                if lost > len(reconnection.DELAYS_S):
                    raise
                self._reconnect()
            except DeviceTimeout as error:
                raise DeviceTimeout(
                    f"{self.profile.name}: the run did not end in time and was cancelled.",
                    "Give it more time, or see whether the board is overloaded.",
                ) from error

    def _judge(self, end: Mapping[str, Any]) -> None:
        failure = run_failure(self.profile.name, end)
        if failure is None:
            return
        if end.get("state") == "cancelled":
            self.request("lease.renew")  # raises when the lease was taken over, and says by whom
        raise failure

    def fetch_output(self, run_id: str) -> bytes:
        """Return what a run of kind "infer" put out.

        Args:
            run_id: Of the run; its events carry it.

        Returns:
            The bytes of a safetensors file.
        """
        output = bytearray()
        while True:
            arguments = {"run": run_id, "offset": len(output)}
            piece, at_end = self._persist(lambda client, arguments=arguments: client.fetch_next(arguments))  # type: ignore[misc]
            output += piece
            if at_end:
                return bytes(output)

    def request(self, op: str, deadline_s: float = REQUEST_S, **arguments: Any) -> Mapping[str, Any]:
        """Ask the agent; the lease's epoch and the key that makes a repetition harmless are put in.

        Args:
            op: Name of a request of docs/wire.md.
            deadline_s: How long an answer may take.
            arguments: Its arguments.

        Returns:
            The answer's JSON.
        """
        if op in wire.LEASED_OPS:
            arguments["epoch"] = self._lease()
        if op in wire.IDEMPOTENT_OPS:
            arguments["idem"] = secrets.token_hex(16)
        return self._persist(lambda client: client.request(op, arguments, deadline_s))

    def _lease(self) -> int:
        self._check_open()
        if self._epoch is None:
            raise RemoteError("E_LEASE", f"{self.profile.name} was opened for reading.", "Open it with exclusive=True.")
        return self._epoch

    def _persist(self, action: Callable[[AgentClient], _Answer]) -> _Answer:
        # Over a new link when the old one is lost, a few times.
        for _ in reconnection.DELAYS_S:
            try:
                return action(self.client)
            except _LOST:
                self._reconnect()
        return action(self.client)

    def _check_open(self) -> None:
        if self._closed:
            raise LinkClosed(f"The session with {self.profile.name} is closed.", "Connect again.")

    def _reconnect(self) -> None:
        self._check_open()
        self.client.close()
        attempts = reconnection.Attempts(lambda news: self._listener(Event("connect", self.profile.name, message=news)))
        for _ in attempts:
            self.client = self._new_client()
            try:
                self.client.open(self.profile.device_id)
                if self._epoch is not None:
                    self.client.request("lease.renew", {"epoch": self._epoch})
                    self.client.hold(self._epoch)
            except (ConnectFailed, DeviceBusy, *_LOST) as error:
                self.client.close()
                # Another port may have our port's name for a moment; a lease that was taken over stays so.
                fenced = isinstance(error, DeviceBusy) and self.client.hello
                if fenced or attempts.over:
                    self._closed = True  # what is asked from here on, and closing itself, must not wait once more
                    raise
            else:
                return

    def close(self) -> None:
        """Give the lease back and end the connection; the board is as it was."""
        epoch, self._epoch = None if self._closed else self._epoch, None
        self._closed = True
        self.client.hold(None)
        try:
            if epoch is not None:
                # Where somebody took it over, or the board is gone, nothing is left for us to give back.
                with contextlib.suppress(DeviceError):
                    self._give_back(epoch)
        finally:
            leave(self._holder)
            self.client.close()

    def _give_back(self, epoch: int) -> None:
        try:
            self.client.release(epoch, _RELEASE_S)
        except _LOST:
            self.client.close()
            self.client = self._new_client()
            self.client.open(self.profile.device_id)
            self.client.release(epoch, _RELEASE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
