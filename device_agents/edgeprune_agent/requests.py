"""What each request of docs/wire.md does: a table of names to handlers, and the state that they share.

A handler takes the request's number and its checked arguments and returns the answer, or a generator whose steps the
server takes between messages and whose result is the answer. A step that yields `WAITING` has only looked whether
something else is done.
"""

import os
import threading
import time
from typing import Any, Callable, Dict, Generator, List, NamedTuple, Optional, Union

from edgeprune_agent import rest, wire
from edgeprune_agent.arguments import Arguments
from edgeprune_agent.folders import Root, read_piece
from edgeprune_agent.lease import Lease, run_is_active
from edgeprune_agent.store import Store
from edgeprune_agent.upload import Upload
from edgeprune_agent.wire import AgentError, Message

_STOP_RUN_S = 10.0
_MOST_POWER_MS = 1000
_CREDIT_CHUNKS, _CREDIT_S = 4, 0.5
"""How many chunks may go without a CREDIT, and for how long; a host sends 16 ahead."""
WAITING = True

Answer = Union[Dict[str, Any], bytes]
Steps = Generator[Optional[bool], None, Answer]
Handler = Callable[[int, Arguments], Union[Answer, Steps]]

RELEASE_ARGUMENTS = {
    "stage": ("model", "release", "format", "sha", "golden", "manifest"),
    "switch": ("model", "release"),
    "rollback": ("model", "release"),
    "list": ("model",),
    "remove": ("model", "release"),
    "record": ("model", "entry"),
}


class Incoming:
    """An upload and the lease under which it was opened."""

    def __init__(self, upload: Upload, epoch: int) -> None:
        self.upload, self.epoch = upload, epoch
        self._credited, self._credited_at = upload.received, time.monotonic()

    def credit(self, number: int, chunk_bytes: int) -> List[Message]:
        """Return the CREDIT that is due after a chunk, or nothing: each one costs both ends as much as many packets."""
        now, received = time.monotonic(), self.upload.received
        few = received - self._credited < _CREDIT_CHUNKS * chunk_bytes
        if few and now - self._credited_at < _CREDIT_S:
            return []
        self._credited, self._credited_at = received, now
        return [wire.credit_message(number, received, self.upload.durable)]


class Following(NamedTuple):
    """Whose events a request wants, and the number of the next one."""

    run: str
    next: int


class Requests:
    """The requests of one channel.

    Args:
        root: Where everything is kept.
        store: The objects of the root.
        runs: `edgeprune_agent.runs.Runs`.
        releases: `edgeprune_agent.releases.Releases`.
        describe: Takes the root's path and returns the answer of `info`.

    Attributes:
        following: The attached requests, by number.
    """

    def __init__(
        self, root: Root, store: Store, runs: Any, releases: Any, describe: Callable[[str], Dict[str, Any]]
    ) -> None:
        self._root, self._store, self._runs, self._releases, self._describe = root, store, runs, releases, describe
        self._lease = Lease(root, self._active_run)
        self._state_reader: Any = None
        self._incoming: Dict[int, Incoming] = {}
        self.following: Dict[int, Following] = {}
        self._handlers: Dict[str, Handler] = {
            "info": self._info,
            "state": self._state,
            "board.pin": self._pin,
            "board.unpin": self._unpin,
            "clock": self._clock,
            "power.show": self._power,
            "power.read": self._read_power,
            "lease.acquire": self._acquire,
            "lease.renew": self._renew,
            "lease.release": self._give_back,
            "lease.who": self._who,
            "store.stat": self._stat,
            "store.open": self._open,
            "store.fetch": self._fetch,
            "store.unpack": self._unpack,
            "run.start": self._start,
            "run.attach": self._attach,
            "run.cancel": self._cancel,
        }
        for name in RELEASE_ARGUMENTS:
            self._handlers["release." + name] = self._release
        for name in ("show", "stage", "switch"):
            self._handlers["venv." + name] = self._venv

    def waits(self, arguments: Arguments) -> bool:
        """Return whether a request cannot be handled yet, since modules that it needs are still on their way."""
        if rest.here():
            return False
        op = str(arguments.data.get("op"))
        if op in ("lease.acquire", "lease.who"):
            return run_is_active(self._root.path)
        if op.startswith("store."):
            return op == "store.unpack" or "run" in arguments.data
        return op in self._handlers and not op.startswith("lease.")

    def _active_run(self) -> Optional[str]:
        active: Optional[str] = self._runs.active() if run_is_active(self._root.path) else None
        return active

    def handle(self, op: Any, number: int, arguments: Arguments) -> Union[Answer, Steps]:
        """Do what a request asks for.

        Args:
            op: Its name, as it came.
            number: Its id on the channel.
            arguments: What came with it.

        Returns:
            The answer, or the steps to it.

        Raises:
            AgentError: It is refused.
        """
        if not isinstance(op, str) or op not in self._handlers:
            raise AgentError("E_UNKNOWN", f"There is no request {str(op)[:40]!r}.")
        if op in wire.LEASED_OPS:
            self._lease.check(arguments.integer("epoch"))
        return self._handlers[op](number, arguments)

    def count(self) -> int:
        """Return how many uploads and attachments are open."""
        return len(self._incoming) + len(self.following)

    def has(self, number: int) -> bool:
        """Return whether a request has an upload or an attachment open."""
        return number in self._incoming or number in self.following

    def forget(self, number: int) -> None:
        """End what a request has set going."""
        self.following.pop(number, None)
        if number in self._incoming:
            self._store.abandon(self._incoming.pop(number).upload.sha)

    def add(self, message: Message) -> List[Message]:
        """Take a CHUNK.

        Args:
            message: The chunk; one of an upload that has ended is ignored, the host could not know yet.

        Returns:
            What to answer: a CREDIT that is due, or nothing; after the last chunk, that the file is whole.
        """
        incoming = self._incoming.get(message.request)
        if incoming is None:
            return []
        offset, data = wire.read_chunk(message)
        self._lease.check(incoming.epoch)
        incoming.upload.add(offset, data)
        if incoming.upload.received < incoming.upload.size:
            return incoming.credit(message.request, len(data))
        self._store.commit(incoming.upload.sha)
        self.forget(message.request)
        return [wire.json_message(wire.RES, message.request, {})]

    def news(self, number: int) -> List[Message]:
        """Return the events that an attached request has not been sent yet; the last one ends the attachment."""
        run, position = self.following[number]
        messages = []
        for event in self._runs.events(run, position):
            messages.append(wire.json_message(wire.EVT, number, event))
            self.following[number] = Following(run, event["ev"] + 1)
            if event["kind"] == "end":
                del self.following[number]
                break
        return messages

    def poll(self) -> None:
        """Look after the runs."""
        if rest.here():
            self._runs.poll()

    def close(self) -> None:
        """Let go of open files."""
        self._store.close()

    def _info(self, number: int, arguments: Arguments) -> Steps:
        return _aside(lambda: self._describe(self._root.path))  # trying the runtimes takes a slow board many seconds

    def _state(self, number: int, arguments: Arguments) -> Answer:
        if self._state_reader is None:
            from edgeprune_agent.boards.state import StateReader

            self._state_reader = StateReader()
        reading: Dict[str, Any] = self._state_reader.read()
        return reading

    def _pin(self, number: int, arguments: Arguments) -> Steps:
        pinning, epoch = self._pinning(), arguments.integer("epoch")
        mode = None if arguments.data.get("power_mode") is None else arguments.integer("power_mode", 100)
        return _aside(lambda: pinning.pin(epoch, mode))  # jetson_clocks takes seconds

    def _unpin(self, number: int, arguments: Arguments) -> Steps:
        unpin = self._pinning().unpin
        return _aside(lambda: dict(unpin() or {}))

    def _pinning(self) -> Any:
        from edgeprune_agent.pinning import Pinning  # few ask for it, and compiling takes a slow board its time

        return Pinning(self._root)

    def _clock(self, number: int, arguments: Arguments) -> Answer:
        from edgeprune_agent.timing import now_ns

        return {"now_ns": now_ns()}

    def _power(self, number: int, arguments: Arguments) -> Steps:
        from edgeprune_agent.power import power_facts
        from edgeprune_agent.specs import check_power

        wanted = check_power(arguments.mapping("power"))
        return _aside(lambda: power_facts(wanted))  # the firmware of some boards takes its time

    def _read_power(self, number: int, arguments: Arguments) -> Steps:
        from edgeprune_agent.power.watch import read_for
        from edgeprune_agent.specs import check_power

        wanted, milliseconds = check_power(arguments.mapping("power")), arguments.integer("ms", _MOST_POWER_MS)
        return _aside(lambda: read_for(milliseconds / 1000, wanted))

    def _acquire(self, number: int, arguments: Arguments) -> Union[Answer, Steps]:
        steal = arguments.flag("steal")
        answer = self._lease.acquire(arguments.text("holder", 200), steal)
        run = self._active_run() if steal else None
        return answer if run is None else self._stop(run, answer)

    def _stop(self, run: str, answer: Answer) -> Steps:
        # The new holder hears that the board is his when the run of the former one has ended.
        self._runs.cancel(run)
        give_up = time.monotonic() + _STOP_RUN_S
        while run_is_active(self._root.path) and time.monotonic() < give_up:
            self._runs.poll()
            yield WAITING
        return answer

    def _renew(self, number: int, arguments: Arguments) -> Answer:
        self._lease.renew(arguments.integer("epoch"))
        return {}

    def _give_back(self, number: int, arguments: Arguments) -> Answer:
        self._lease.release(arguments.integer("epoch"))
        return {}

    def _who(self, number: int, arguments: Arguments) -> Answer:
        return self._lease.who()

    def _stat(self, number: int, arguments: Arguments) -> Answer:
        return self._store.stat(arguments.name("sha", "sha"), arguments.integer("size"))

    def _open(self, number: int, arguments: Arguments) -> Steps:
        sha, size, epoch = arguments.name("sha", "sha"), arguments.integer("size"), arguments.integer("epoch")
        if self._store.stat(sha, size)["state"] == "complete":
            return {"offset": size, "complete": True}
        self._drop(sha)
        upload = yield from self._store.open(sha, size)
        if upload.received == size:
            self._store.commit(sha)
            return {"offset": size, "complete": True}
        self._incoming[number] = Incoming(upload, epoch)
        return {"offset": upload.received, "complete": False}

    def _drop(self, sha: str) -> None:
        for number in [number for number, incoming in self._incoming.items() if incoming.upload.sha == sha]:
            self.forget(number)

    def _fetch(self, number: int, arguments: Arguments) -> Answer:
        offset, length = arguments.integer("offset"), arguments.integer("length", wire.MAX_FETCH_BYTES)
        run = arguments.optional_name("run", "run")
        if run is None:
            return self._store.fetch(arguments.name("sha", "sha"), offset, length)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return read_piece(os.open(self._runs.output(run), flags), offset, length)

    def _unpack(self, number: int, arguments: Arguments) -> Steps:
        from edgeprune_agent import unpacking  # few links need it, and compiling takes a slow board its time

        sha, into = arguments.name("sha", "sha"), arguments.name("into", "sha")
        self._drop(into)
        return unpacking.unpack(self._root, self._store, sha, into)

    def _start(self, number: int, arguments: Arguments) -> Answer:
        return {"run": self._runs.start(arguments.mapping("spec"), arguments.name("idem", "idem"))}

    def _attach(self, number: int, arguments: Arguments) -> Answer:
        run, first = arguments.name("run", "run"), arguments.integer("from")
        status: Dict[str, Any] = self._runs.status(run)
        self.following[number] = Following(run, first)
        return status

    def _cancel(self, number: int, arguments: Arguments) -> Answer:
        answer: Dict[str, Any] = self._runs.cancel(arguments.name("run", "run"))
        return answer

    def _venv(self, number: int, arguments: Arguments) -> Steps:
        try:
            from edgeprune_agent import venvs  # few ask for it, and compiling takes a slow board its time
        except ImportError:
            raise AgentError("E_UNKNOWN", "This agent was sent without what installs wheels.") from None
        return _aside(lambda: venvs.answer(self._root, self._store.reserve_bytes, arguments))

    def _release(self, number: int, arguments: Arguments) -> Answer:
        name = arguments.data["op"].partition(".")[2]
        given = {key: arguments.data.get(key) for key in RELEASE_ARGUMENTS[name]}
        answer = getattr(self._releases, name)(**given)
        return {"path": answer} if isinstance(answer, str) else dict(answer)


def _aside(action: Callable[[], Dict[str, Any]]) -> Steps:
    # In a thread; once begun it goes on to its end, even if nobody waits for it any more.
    outcome: List[Union[Dict[str, Any], Exception]] = []
    thread = threading.Thread(target=_settle, args=(outcome, action), daemon=True)
    thread.start()
    while thread.is_alive():
        yield WAITING
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _settle(outcome: "List[Union[Dict[str, Any], Exception]]", action: Callable[[], Dict[str, Any]]) -> None:
    try:
        outcome.append(action())
    except Exception as error:  # noqa: BLE001  (it is raised where the result is asked for)
        outcome.append(error)
