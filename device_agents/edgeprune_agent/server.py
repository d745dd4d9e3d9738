"""Serves one host: requests in, answers and events out, in one loop that never blocks for long.

A large file is checked in steps between messages, so it holds up neither CANCEL nor PING. What a run does is never
done here: it has a process of its own, which goes on when this one ends.
"""

import argparse
import base64
import contextlib
import errno
import fcntl
import importlib.util
import os
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Union

from edgeprune_agent import __version__, compiled, identity, rest, wire
from edgeprune_agent.answers import Answers
from edgeprune_agent.arguments import Arguments
from edgeprune_agent.channel import Channel
from edgeprune_agent.folders import Root
from edgeprune_agent.requests import WAITING, Answer, Requests, Steps
from edgeprune_agent.store import QUOTA_BYTES, RESERVE_BYTES, Store
from edgeprune_agent.wire import AgentError, Message, WireError

_BUSY_S, _WAIT_S, _FOLLOW_S, _IDLE_S = 0.0, 0.01, 0.1, 1.0
_FOLLOW_SHARE = 20
"""Looking after the runs takes a slow board its time, too: at most a twentieth of it."""
_STEPS_S = 0.05
"""How long steps may be taken before messages are looked at again."""
_MAX_OPEN_REQUESTS = 256
_KEPT_BYTES = 16 << 20
_CROWDED_BYTES = 1 << 20
_SET_PIPE_SIZE, _PIPE_BYTES = 1031, 1 << 20
"""F_SETPIPE_SZ of Linux, which Python names from 3.10 on."""


class Later:
    """Something of a root that is made when it is needed: its module may still be on its way.

    Args:
        make: Makes it, given the root's path.
        root: The path.
    """

    def __init__(self, make: Callable[[str], Any], root: str) -> None:
        self._make, self._root = make, root
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make(self._root)
        return getattr(self._made, name)


class Server:
    """One channel's loop.

    Args:
        root: Where answers are kept.
        channel: To the host.
        requests: What can be asked.
    """

    def __init__(self, root: Root, channel: Channel, requests: Requests) -> None:
        self._root, self._channel, self._requests = root, channel, requests
        self._answers = Answers(root)
        self._jobs: Dict[int, Steps] = {}
        self._working = False
        self._followed_at, self._pace_s = 0.0, _FOLLOW_S
        self._incomplete: Optional[AgentError] = None

    def serve(self) -> None:
        """Serve until the link ends."""
        while not self._channel.over:
            for message in self._channel.exchange(self._patience_s()):
                self._take(message)
            self._work()
            self._follow()
        for steps in self._jobs.values():
            steps.close()
        self._requests.close()

    def _patience_s(self) -> float:
        if self._working:
            return _BUSY_S
        if self._jobs:
            return _WAIT_S
        return self._pace_s if self._requests.following else _IDLE_S

    def _take(self, message: Message) -> None:
        if message.type == wire.REQ:
            self._attempt(message.request, lambda: self._start(message))
        elif message.type == wire.CHUNK and message.request == rest.REQUEST:
            self._attempt(message.request, lambda: self._complete(message))
        elif message.type == wire.CHUNK:
            self._attempt(message.request, lambda: self._requests.add(message))
        elif message.type == wire.CANCEL:
            self._cancel(message.request)

    def _attempt(self, number: int, action: Callable[[], List[Message]]) -> None:
        """Do something for a request; whatever goes wrong is its answer, and the agent lives on."""
        try:
            messages = action()
        except AgentError as error:
            messages = [self._refuse(number, error)]
        except WireError as error:
            messages = [self._refuse(number, AgentError("E_ARG", f"{error}."))]
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            refusal = AgentError("E_NOSPC" if full else "E_IO", f"The board's disk: {error.strerror or error}.")
            messages = [self._refuse(number, refusal)]
        except Exception as error:  # noqa: BLE001  (the one edge where a bug becomes an answer)
            traceback.print_exc()
            messages = [self._refuse(number, AgentError("E_INTERNAL", f"{type(error).__name__}: {error}"))]
        for message in messages:
            self._channel.post(message)

    def _refuse(self, number: int, error: AgentError) -> Message:
        self._forget(number)
        return wire.json_message(wire.ERR, number, error.to_data())

    def _start(self, message: Message) -> List[Message]:
        number = message.request
        if number in self._jobs or self._requests.has(number):
            raise AgentError("E_ARG", f"Request {number} is going on.")
        if len(self._jobs) + self._requests.count() >= _MAX_OPEN_REQUESTS:
            raise AgentError("E_LIMIT", "Too many requests at a time.", retry=True)
        arguments = Arguments(message.data())
        answer = self._later(number, arguments) if self._requests.waits(arguments) else self._do(number, arguments)
        if isinstance(answer, (dict, bytes)):
            return [_result(number, answer)]
        self._jobs[number] = answer
        return []

    def _later(self, number: int, arguments: Arguments) -> Steps:
        while not rest.here():
            if self._incomplete is not None:
                raise self._incomplete
            yield WAITING
        answer = self._do(number, arguments)
        if isinstance(answer, (dict, bytes)):
            return answer
        return (yield from answer)

    def _do(self, number: int, arguments: Arguments) -> Union[Answer, Steps]:
        op = arguments.data.get("op")
        once = isinstance(op, str) and op in wire.IDEMPOTENT_OPS
        return self._once(number, arguments) if once else self._requests.handle(op, number, arguments)

    def _complete(self, message: Message) -> List[Message]:
        try:
            rest.take(message.content())
            _watch_pinned(self._root)
        except (OSError, WireError) as error:
            self._incomplete = AgentError("E_IO", f"The agent's second part cannot be used: {error}.", retry=True)
        return []

    def _once(self, number: int, arguments: Arguments) -> Union[Answer, Steps]:
        key = arguments.name("idem", "idem")
        with self._root.guard():
            known = self._answers.recall(key, arguments.data)
            if known is not None:
                return known
            answer = self._requests.handle(arguments.data["op"], number, arguments)
            if isinstance(answer, dict):
                self._answers.keep(key, arguments.data, answer)
        return answer

    def _work(self) -> None:
        """Take steps of the jobs for a moment, as long as they do more than wait."""
        until = time.monotonic() + _STEPS_S
        self._working = bool(self._jobs)
        while self._working and time.monotonic() < until:
            self._working = False
            for number in list(self._jobs):
                self._attempt(number, lambda number=number: self._step(number))  # type: ignore[misc]

    def _step(self, number: int) -> List[Message]:
        try:
            self._working |= next(self._jobs[number]) is not WAITING
        except StopIteration as end:
            del self._jobs[number]
            return [_result(number, end.value)]
        return []

    def _cancel(self, number: int) -> None:
        """End a request: one that was not answered is refused, what an answered one set going just stops."""
        if number in self._jobs:
            self._channel.post(self._refuse(number, AgentError("E_CANCELLED", "Cancelled by the host.")))
        else:
            self._forget(number)

    def _forget(self, number: int) -> None:
        if number in self._jobs:
            self._jobs.pop(number).close()
        self._requests.forget(number)

    def _follow(self) -> None:
        """Look after the runs, and send new events to those who asked for them."""
        now = time.monotonic()
        if now - self._followed_at < self._pace_s:
            return
        self._attempt(0, self._poll)
        for number in list(self._requests.following):
            if self._channel.waiting_bytes < _CROWDED_BYTES:
                self._attempt(number, lambda number=number: self._requests.news(number))  # type: ignore[misc]
        self._followed_at = time.monotonic()
        self._pace_s = min(_IDLE_S, max(_FOLLOW_S, _FOLLOW_SHARE * (self._followed_at - now)))

    def _poll(self) -> List[Message]:
        self._requests.poll()
        return []


def _result(number: int, answer: Answer) -> Message:
    if isinstance(answer, bytes):
        return Message(wire.RES, number, answer, wire.RAW)
    try:
        return wire.json_message(wire.RES, number, answer)
    except WireError as error:
        raise AgentError("E_LIMIT", f"The answer does not fit into a message: {error}.") from error


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next frame, instead of giving it back and faulting in every page again.

    It learns from the first large block that is freed to keep up to twice as much; the block itself is never touched.
    """
    bytes(_KEPT_BYTES)


def widen(pipe: int) -> None:
    """Let a pipe hold more than 64 KiB, where it is one and may: each refill costs a change of process.

    Args:
        pipe: Descriptor of either end.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)


def main(argv: List[str]) -> int:
    """Serve one host on standard input and output, or hosts on a terminal.

    Args:
        argv: The command line without the program.

    Returns:
        0 when the link has ended, 1 if the root cannot be used.
    """
    parser = argparse.ArgumentParser(prog="agent.pyz")
    parser.add_argument("--root", default=os.path.join(os.path.expanduser("~"), ".edgeprune"))
    parser.add_argument("--quota", type=int, default=QUOTA_BYTES, metavar="BYTES")
    parser.add_argument("--reserve", type=int, default=RESERVE_BYTES, metavar="BYTES")
    parser.add_argument("--tty", metavar="PATH", help="serve on this terminal; - for the one that standard input is")
    parser.add_argument("--baud", type=int, default=0, help="speed of --tty; as it is set unless given")
    parser.add_argument("--heard", default="", metavar="BASE64", help="what the host has said already")
    options = parser.parse_args(argv)
    os.umask(0o077)
    keep_freed_memory()
    # Standard output is for frames alone: whatever anybody prints from here on goes to standard error.
    sink = os.dup(1)
    os.dup2(2, 1)
    try:
        root = Root(options.root)
    except AgentError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    store = Store(root, options.quota, options.reserve)
    store.sweep()

    if rest.here():
        _watch_pinned(root)

    def serve(channel: Channel) -> None:
        Server(root, channel, _requests(root, store)).serve()
        compiled.keep()

    if options.tty:
        from edgeprune_agent import serial_link  # a pipe needs none of it, and compiling takes a slow board its time

        _speak_into(root)
        serial_link.serve(options.tty, options.baud, _hello(), serve)
    else:
        widen(0)
        serve(Channel(0, sink, _hello(), heard=base64.b64decode(options.heard)))
    return 0


def _watch_pinned(root: Root) -> None:
    """Look after clocks that an agent before this one has pinned, if its watchdog is gone."""
    if os.path.exists(os.path.join(root.path, "pinned.json")):
        from edgeprune_agent import pinning

        pinning.watch(root)


def _speak_into(root: Root) -> None:
    """Send what anybody prints to serial.log: standard error may be the very line that carries the frames."""
    log = os.open(os.path.join(root.path, "serial.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)


def _hello() -> Dict[str, Any]:
    return {
        "agent": __version__,
        "sha256": identity.agent_sha256(),
        "py": ".".join(map(str, sys.version_info[:3])),
        "boot_id": identity.boot_id(),
        "device_id": identity.device_id(),
        "feat": ["unpack"] + (["venv"] if importlib.util.find_spec("edgeprune_agent.venvs") else []),
    }


def _requests(root: Root, store: Store) -> Requests:
    return Requests(root, store, Later(_runs, root.path), Later(_releases, root.path), _describe)


def _runs(root: str) -> Any:
    from edgeprune_agent import runs

    return runs.Runs(root)


def _releases(root: str) -> Any:
    from edgeprune_agent import releases

    return releases.Releases(root)


def _describe(root: str) -> Dict[str, Any]:
    from edgeprune_agent import boards

    return boards.describe(root)
