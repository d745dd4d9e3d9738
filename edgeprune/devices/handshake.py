"""The greetings over a transport that was just opened: past whatever noise, both sides say who they are."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

from edgeprune_agent import wire
from edgeprune_agent.wire import Frame, Message, WireError

from edgeprune.devices.replies import clean_text
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import ConnectFailed


class Handshake:
    """One handshake; see docs/wire.md.

    Args:
        transport: To be opened between `greeting` and `shake`.
        link: Makes frames of its bytes.
        deadline: Until when.
    """

    def __init__(self, transport: Transport, link: wire.Link, deadline: Deadline) -> None:
        self._transport, self._link, self._deadline = transport, link, deadline

    def greeting(self, nonce: str, device_id: str, ahead: Message | None) -> bytes:
        """Return what the agent is to hear first, for `Transport.open`.

        Args:
            nonce: Comes back in its answer.
            device_id: Of the one board that is meant; "" for any.
            ahead: What is said right behind the greeting; the agent of another board does not heed it.

        Returns:
            Bytes; none on a link that may lose them, over which `shake` says them.
        """
        self._link.signal(wire.HELLO, wire.encode_json(self._hello(nonce, device_id)))
        if ahead is not None:
            self._link.post(ahead)
        return b"".join(self._pieces()) if self._link.lossless else b""

    def _pieces(self) -> Iterator[bytes]:
        return iter(lambda: self._link.take(time.monotonic()), b"")

    def shake(self, nonce: str) -> tuple[dict[str, Any], list[Frame]]:
        """Wait for the agent's answer to the greeting.

        Args:
            nonce: As in `greeting`.

        Returns:
            What it says of itself, and the frames that came behind that.

        Raises:
            ConnectFailed: No agent answered, or not in our version.
            LinkClosed: The transport ended.
            WireError: What answered is no agent of ours.
        """
        frames = self._link.feed(self._skip_noise(), time.monotonic())
        while not frames:
            self._send()
            frames = self._link.feed(self._hear(), time.monotonic())
        answer = _read_hello(frames[0], nonce)
        self._link.max_frame = min(self._link.max_frame, answer["max_frame"])
        self._link.agree(answer.get("feat"))
        return answer, frames[1:]

    def _hello(self, nonce: str, device_id: str) -> dict[str, Any]:
        link = {"max_frame": self._link.max_frame, "feat": list(self._link.features)}
        who = {"device_id": device_id} if device_id else {}
        return {"epl": list(wire.PROTOCOL), "host": socket.gethostname()[:64], "nonce": nonce, **link, **who}

    def _send(self) -> None:
        for piece in self._pieces():
            self._transport.send(piece, self._deadline)

    def _skip_noise(self) -> bytes:
        heard = b""
        while True:
            noise, preamble, rest = heard.partition(wire.PREAMBLE)
            if preamble:
                return rest
            if len(noise) > wire.NOISE_BYTES:
                raise ConnectFailed(f"There is no agent but {_quote(noise)}.", "See what the board runs at login.")
            said = f"No agent answered{'; the other side said ' + _quote(noise) if noise else ''}."
            heard += self._more(said)

    def _hear(self) -> bytes:
        # A link that loses frames says hello again after a while; one that does not has no such while.
        repeat_s = self._link.wake_at() - time.monotonic()
        if repeat_s >= self._deadline.remaining_s:
            return self._more("The agent does not answer.")
        return self._transport.receive(Deadline(max(0.0, repeat_s)))

    def _more(self, complaint: str) -> bytes:
        data = self._transport.receive(self._deadline)
        if not data:
            raise ConnectFailed(complaint, "See whether the board is on and has Python 3.6 or later.")
        return data


def _read_hello(frame: Frame, nonce: str) -> dict[str, Any]:
    if frame.kind == wire.DATA:
        return _refusal(frame)
    if frame.kind != wire.HELLO:
        raise WireError("something before HELLO")
    answer = wire.decode_json(frame.payload)
    max_frame = answer.get("max_frame")
    if type(max_frame) is not int or not 64 <= max_frame <= wire.MAX_FRAME_BYTES or answer.get("nonce") != nonce:
        raise WireError("a HELLO that answers another")
    return answer


def _refusal(frame: Frame) -> dict[str, Any]:
    message = wire.Lanes().accept(frame)
    said = message.data() if message and message.type == wire.ERR else {}
    if said.get("code") != "E_VERSION":
        raise WireError("something before HELLO")
    raise ConnectFailed(
        f"The agent speaks another version of the protocol than {wire.PROTOCOL[1]}.", "Install the same version there."
    )


def _quote(noise: bytes) -> str:
    return repr(clean_text(noise[-200:].decode("utf-8", "replace"), 200))
