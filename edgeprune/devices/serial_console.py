"""From whatever is at the other end of a serial line to a running agent: an agent, a shell, or a login.

Prompts are not matched, since they may look like anything: a shell is known by what it computes. The one exception is
a login, which nothing else tells from a shell; a password is typed only where one was just asked for.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import importlib.resources
import re
import zlib
from collections import deque
from collections.abc import Callable
from functools import lru_cache

from edgeprune_agent import wire
from edgeprune_agent.wire import cobs

from edgeprune.devices.address import SerialAddress
from edgeprune.devices.agent_file import PACKAGE, pack_slim_agent
from edgeprune.devices.agent_source import slim
from edgeprune.devices.replies import clean_text
from edgeprune.devices.serial_port import SerialPort
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed

BLOCK_BYTES = 700
DEFAULT_ROOT = "~/.edgeprune"
_SLACK_S = 0.1
_HEARD_BYTES = 64 * 1024
_WORDS_BYTES = 200
_FLIGHT = 8
_LOGIN_S = 5.0
_VERDICT_S = 10.0
"""How long a login may take to judge a password: PAM waits about two seconds before it refuses one, slow boards longer.
Until it has, nothing may be typed: the login would take it for a name or for another password."""
_SETTLE_S = 3.0
_RECEIPT_S = (0.5, 8.0)
"""How long a block's receipt is waited for at first, and at most."""
_SILENCE_S = 3.0
"""A login that is still starting is silent. Empty lines do it no harm, but it would take any other for a name."""
_CLEAR = b"\x15"  # what somebody, or our probe, left half typed
_WAKE = _CLEAR + b"\r"
_INTERRUPT = b"\x03"
_ASK_SHELL, _SHELL = b" echo EP$((6*7))OK\r", re.compile(rb"EP42OK")
_LOGIN = re.compile(rb"(?i)(?<!last )\b(?:login|username):[ \t]*(?=$|[\r\n\[\x1b])")
"""Not the end of "Last login: Mon Jan 5", of which the beginning was heard before; a kernel message may follow."""
_PASSWORD = re.compile(rb"(?i)\bpassword[^\r\n:]*:[ \t]*")
_RECEIPT = re.compile(rb"~(\d{1,5}):(\d{1,3})~")
_READY, _ENDED = rb"~EPR([01])~", b"EP54END"
_AGENT = re.escape(wire.PREAMBLE)
_STARTED = _AGENT + b"|" + _ENDED
_PATIENCE_S = (1.5, 3.0, 6.0, 12.0, 24.0)
"""How long the board's Python may take to start; a line that was damaged on its way must not cost more than needed."""


class Console:
    """A dialogue over a port.

    Args:
        port: Open.
        address: Whom to log in as, and which agent to send.
        ask: Asks the user for the password of a console, given what to say.
        deadline: Until when.
    """

    def __init__(self, port: SerialPort, address: SerialAddress, ask: Callable[[str], str], deadline: Deadline) -> None:
        self._port, self._address, self._ask, self._deadline = port, address, ask, deadline
        self._login = address.login
        self._heard = self._before = self._last_words = b""
        self._failures = 0
        self._asked = False
        self._patience = Deadline(_SILENCE_S)

    def reach_agent(self) -> bytes:
        """Find an agent or start one.

        Returns:
            What it said after its preamble.

        Raises:
            ConnectFailed: There is nothing that answers, or that could start it.
        """
        self._patience = Deadline(_SILENCE_S)
        while not self._deadline.expired:
            self._type(_WAKE)
            said = self._listen()
            if not said.strip() and not self._patience.expired:  # a terminal echoes our line ends by itself
                continue
            if self._expect(_AGENT, 0.0) or self._serves_late_stage():
                return self._heard
            if _asks_for(said) is not None:
                self._log_in()
            elif not said and self._probe():
                return self._heard
            elif self._finds_shell():
                if self._start_agent():
                    return self._heard
            elif _asks_for(self._heard) is not None:
                self._log_in()
            elif self._probe():
                return self._heard
        words = clean_text(self._last_words.decode("utf-8", "replace"))
        quoted = f" but {words!r}" if words else ""
        raise ConnectFailed(
            f"There is neither an agent nor a shell at the other end{quoted}.",
            "See to the cable, its speed, and whether the board is on.",
        )

    def _type(self, data: bytes) -> None:
        self._heard = b""
        self._port.write(data, self._deadline)

    def _hear(self, seconds: float) -> bool:
        data = self._port.read(Deadline(min(seconds, self._deadline.remaining_s)))
        self._heard = (self._heard + data)[-_HEARD_BYTES:]
        self._last_words = (self._last_words + data)[-_WORDS_BYTES:]
        return bool(data)

    def _listen(self) -> bytes:
        """Return what is said, until it is quiet."""
        quiet = Deadline(1.0)
        patience_s = 0.25
        while not quiet.expired and self._hear(patience_s):
            patience_s = 0.05
        return self._heard

    def _expect(self, pattern: bytes, seconds: float) -> re.Match[bytes] | None:
        # What came before it is left in `_before`, what came after it in `_heard`.
        until = Deadline(seconds)
        while True:
            match = re.search(pattern, self._heard)
            if match:
                self._before, self._heard = self._heard[: match.start()], self._heard[match.end() :]
                return match
            if not self._hear(until.remaining_s) and (until.expired or self._deadline.expired):
                return None

    def _probe(self) -> bool:
        for _ in range(2):
            self._type(wire.PROBE_TEXT)
            if self._expect(_AGENT, 0.3):
                return True
        return False

    def _finds_shell(self) -> bool:
        for attempt in range(3):
            # Ctrl-C ends what keeps a shell from us, but also a shell that is still starting.
            stuck = attempt == 2 and self._patience.expired
            self._type((_INTERRUPT + _WAKE if stuck else b"") + _ASK_SHELL)
            if self._expect(_SHELL.pattern, 0.6):
                return True
            if _PASSWORD.search(self._heard):
                return False  # it was a login after all, and took the question for a name
        return False

    def _log_in(self) -> None:
        if not self._login:
            raise ConnectFailed("The console asks who logs in.", "Add it to the address: serial://…?login=USER.")
        if self._asked:
            raise self._refused()
        self._settle()
        if _asks_for(self._heard) is _PASSWORD:
            self._leave_password()
        self._type(_CLEAR + self._login.encode() + b"\r")
        if self._asks_password():
            self._asked = True
            self._type(self._ask(f"Password of {self._login} on the console: ").encode() + b"\r")
            self._await_verdict()

    def _settle(self) -> None:
        # A board slower than us still has earlier lines to read; a name typed now would answer another question.
        until = Deadline(_SETTLE_S)
        while not until.expired and self._hear(1.0):
            pass

    def _leave_password(self) -> None:
        # Of a name that nobody meant: an empty line, and nothing more until the login asks again.
        self._type(b"\r")
        until = Deadline(_VERDICT_S)
        while _asks_for(self._heard) is not _LOGIN and not until.expired and not self._deadline.expired:
            self._hear(1.0)
        self._settle()

    def _await_verdict(self) -> None:
        # A login that asks again has refused; other words, and then quiet, are a shell's greeting.
        until = Deadline(_VERDICT_S)
        while not until.expired and not self._deadline.expired:
            heard = self._hear(1.0)
            if _asks_for(self._heard) is not None:
                raise self._refused()
            if self._heard.strip() and not heard:
                return

    def _refused(self) -> ConnectFailed:
        return ConnectFailed(f"The console refused the login of {self._login}.", "See to the name and password.")

    def _asks_password(self) -> bool:
        # Where it goes quiet after some words, a shell may have greeted instead.
        until = Deadline(_LOGIN_S)
        while not until.expired and not self._deadline.expired:
            heard = self._hear(1.0)
            if _PASSWORD.search(self._heard):
                return True
            if self._heard.strip() and not heard:
                return False
        return False

    def _start_agent(self) -> bool:
        # Types the first stage, and then what the board lacks of the agent; True when the agent is there.
        self._type(_first_line(self._address, self._port.rate))
        patience_s = _PATIENCE_S[min(self._failures, len(_PATIENCE_S) - 1)]
        self._failures += 1
        return self._ends_well(self._expect(_READY + b"|" + _STARTED, patience_s))

    def _serves_late_stage(self) -> bool:
        # One that we gave up on, and whose terminal is raw by now, takes neither Ctrl-C nor a question for what it is.
        ready = re.search(_READY, self._last_words) if self._failures else None
        return ready is not None and self._ends_well(ready)

    def _ends_well(self, match: re.Match[bytes] | None) -> bool:
        if match and match[1]:
            self._last_words = b""
            blocks = _blocks(self._address.whole_agent, match[1] == b"1")
            match = self._send_agent(blocks) or self._expect(_STARTED, _PATIENCE_S[-1])
        if match and match[0] == _ENDED:
            self._explain()
            return False
        if match is None:
            self._type(_INTERRUPT)
        return match is not None

    def _explain(self) -> None:
        words = clean_text(self._before[-400:].decode("utf-8", "replace"), 400)
        if "not found" in words:
            raise ConnectFailed(f"The board cannot start the agent: {words}", "Install Python 3.6 or later there.")
        if self._failures >= len(_PATIENCE_S):
            raise ConnectFailed(f"The agent does not start on the board: {words}", "Correct that and connect again.")

    def _send_agent(self, blocks: tuple[bytes, ...]) -> re.Match[bytes] | None:
        # Returns what was heard in place of the last receipts, where that says how it ended: they were lost, no blocks.
        waiting, flight = deque(range(len(blocks))), deque[int]()
        patience_s = _RECEIPT_S[0]
        while waiting or flight:
            while waiting and len(flight) < _FLIGHT:
                flight.append(waiting.popleft())
                self._port.write(blocks[flight[-1]], self._deadline)
                self._port.rest(_SLACK_S)
            receipt = self._expect(_RECEIPT.pattern + b"|" + _STARTED, patience_s)
            if receipt is not None and receipt[1] is None:
                return receipt
            # A busy board is late with its receipts; to send all again would make it later still.
            patience_s = min(2 * patience_s, _RECEIPT_S[1]) if receipt is None else max(patience_s / 2, _RECEIPT_S[0])
            if receipt is None and self._deadline.expired:
                raise ConnectFailed("The agent could not be sent: the board does not answer.", "See to the cable.")
            lost = len(flight) if receipt is None else _place(flight, receipt)
            waiting.extendleft([flight.popleft() for _ in range(lost)][::-1])
            if receipt is not None and flight and int(receipt[1]) == flight[0]:
                flight.popleft()
        return None


def _place(flight: deque[int], receipt: re.Match[bytes]) -> int:
    """Return how many blocks were sent before the one that came: a line never overtakes, so these are lost."""
    number, check = int(receipt[1]), int(receipt[2])
    return flight.index(number) if check == number * 31 % 997 and number in flight else 0


@lru_cache(maxsize=4)
def _blocks(whole: bool, older: bool) -> tuple[bytes, ...]:
    """Return the agent as stage 0 takes it, packed by zlib where it cannot do better."""
    agent = pack_slim_agent(whole)
    packed = zlib.compress(agent, 9) if older else bz2.compress(agent)
    pieces = [packed[start : start + BLOCK_BYTES] for start in range(0, len(packed), BLOCK_BYTES)]
    bodies = [number.to_bytes(2, "big") + piece for number, piece in enumerate(pieces)]
    return tuple(b"\0" + cobs.encode(body + zlib.crc32(body).to_bytes(4, "big")) + b"\0" for body in bodies)


def agent_bytes(whole: bool = False) -> int:
    """Return how many bytes have to cross the line for an agent that is not there yet.

    Args:
        whole: See `pack_slim_agent`.

    Returns:
        Bytes.
    """
    return sum(map(len, _blocks(whole, False)))


def _asks_for(heard: bytes) -> re.Pattern[bytes] | None:
    """Return which of both questions was asked last, `_LOGIN` or `_PASSWORD`, if one was."""
    asked = [(match.end(), kind) for kind in (_LOGIN, _PASSWORD) for match in kind.finditer(heard[-400:])]
    return max(asked, key=lambda question: question[0])[1] if asked else None


def _first_line(address: SerialAddress, rate: int) -> bytes:
    whole, root = address.whole_agent, address.root or DEFAULT_ROOT
    source = importlib.resources.files(PACKAGE).joinpath("stage0.py").read_bytes()
    digest = hashlib.sha256(pack_slim_agent(whole)).hexdigest()
    order = [digest, str(len(_blocks(whole, False))), str(len(_blocks(whole, True))), root]
    # Packed with the program, so that a line which was damaged anywhere ends at once and not after a wrong agent.
    program = f"import sys\nsys.argv[1:]={order!a}\n".encode() + slim(source)
    return (
        b" stty -echo;python3 -c 'import zlib,base64 as b;exec(zlib.decompress(b.b64decode(\"%s\")))'"
        b";stty sane %d;echo EP$((6*9))END\r" % (base64.b64encode(zlib.compress(program, 9)), rate)
    )
