"""Selective repeat over a line that loses and alters frames but never reorders them. Pure; the caller brings the clock.

Every transmission has a packet number of its own, so a number that was jumped over proves a loss at once, and what
was lost, alone, is sent again. A timer is needed only where nothing came after the lost frame.
"""

import math
import struct
from collections import OrderedDict, deque
from typing import Deque, Dict, List, NamedTuple, Optional, Set, Tuple

from edgeprune_agent.wire.frames import Frame
from edgeprune_agent.wire.messages import Message
from edgeprune_agent.wire.protocol import ACK_NOW, BULK, EVENTS, FIRST, LANES_BY_URGENCY, LAST, RETX, WireError

SPAN = 64
"""How many frames of a lane may be ahead of the first one that is missing."""
FRAME_COST, SHORT_COST = 18, 10
"""Bytes that a frame costs on the line besides its payload: header, checksum, count, zero."""
MIN_PIECE, MAX_PIECE = 128, 4096
_HIGHEST = struct.Struct(">H")
_LANE = struct.Struct(">BHQH")
_WRAP = 0xFFFF
_ACK_EVERY, _ACK_AFTER_S = 4, 0.04
_ACK_AGAIN_S = (0.12, 0.4)
"""An ACK may be lost as well, and then the other side of a file may wait for it."""
_TIMEOUT_S, _LONGEST_TIMEOUT_S = 0.25, 5.0
_MEMORY_BYTES = 400 * 1000
_EXPECTED_LOSS = 1e-5
"""Share of bytes that are hit, before anything is known."""
_WINDOW_S, _SMALLEST_WINDOW, _URGENT_BYTES = 0.5, 4096, 8192
_PIECE_S = 0.18
"""The longest that a frame may occupy the line, since an urgent one waits behind it."""


class Ack(NamedTuple):
    """What a receiver has; `lanes` maps a lane to the next number due, the bits of what came beyond, and its credit."""

    highest: int
    lanes: Dict[int, Tuple[int, int, int]]

    def encode(self) -> bytes:
        """Return the payload of an ACK frame."""
        lanes = (_LANE.pack(lane, due & _WRAP, bits, credit) for lane, (due, bits, credit) in self.lanes.items())
        return _HIGHEST.pack(self.highest & _WRAP) + b"".join(lanes)


def decode_ack(payload: bytes) -> Ack:
    """Read the payload of an ACK frame.

    Args:
        payload: Of it.

    Returns:
        What it says.

    Raises:
        WireError: It is no such payload.
    """
    if len(payload) < _HIGHEST.size or (len(payload) - _HIGHEST.size) % _LANE.size:
        raise WireError(f"an ACK of {len(payload)} bytes")
    lanes = {lane: (due, bits, credit) for lane, due, bits, credit in _LANE.iter_unpack(payload[_HIGHEST.size :])}
    if any(lane > EVENTS for lane in lanes):
        raise WireError("an ACK for an unknown lane")
    return Ack(_HIGHEST.unpack_from(payload)[0], lanes)


class Receiver:
    """Frames as they come -> frames in order, each once, and what to acknowledge.

    Attributes:
        credit: How many frames beyond the next one due it takes of each lane.
        came: How many frames have come,
        missed: and how many were jumped over.
    """

    def __init__(self) -> None:
        self.credit = SPAN
        self.came = self.missed = 0
        self._due = dict.fromkeys(LANES_BY_URGENCY, 0)
        self._early: Dict[int, Dict[int, Frame]] = {lane: {} for lane in LANES_BY_URGENCY}
        self._touched: Set[int] = set()
        self._highest: Optional[int] = None
        self._unacknowledged, self._repeats = 0, len(_ACK_AGAIN_S)
        self._acknowledge_at = math.inf

    def note(self, frame: Frame, now: float) -> None:
        """Look at the packet number of a frame of any kind."""
        self.came += 1
        ahead = 1 if self._highest is None else frame.packet - self._highest & _WRAP
        if ahead <= _WRAP // 2:
            self._highest = frame.packet
            self.missed += max(0, ahead - 1)
        if frame.flags & ACK_NOW or 1 < ahead <= _WRAP // 2:
            self._acknowledge_at = now

    def complete(self, frame: Frame) -> Frame:
        """Return a DATA frame with its whole sequence number, of which a short one holds the low byte alone."""
        due = self._due[frame.lane]
        ahead = (frame.sequence - due + 128 & 0xFF) - 128
        return frame._replace(sequence=due + ahead & _WRAP)

    def accept(self, frame: Frame, now: float) -> List[Frame]:
        """Take a DATA frame that was noted.

        Args:
            frame: The frame.
            now: The time.

        Returns:
            Those that are now in order.
        """
        lane, early = frame.lane, self._early[frame.lane]
        self._touched.add(lane)
        self._unacknowledged += 1
        if lane == BULK:
            self._repeats = 0
        late = now if self._unacknowledged >= _ACK_EVERY else now + _ACK_AFTER_S
        self._acknowledge_at = min(self._acknowledge_at, late)
        if frame.sequence - self._due[lane] & _WRAP < min(self.credit, SPAN):
            early[frame.sequence] = frame
        ready = []
        while self._due[lane] in early:
            ready.append(early.pop(self._due[lane]))
            self._due[lane] = self._due[lane] + 1 & _WRAP
        return ready

    def wake_at(self) -> float:
        """Return when an ACK is due."""
        return self._acknowledge_at

    def acknowledge(self, now: float) -> Optional[Ack]:
        """Return the ACK that is due, or None."""
        if now < self._acknowledge_at or self._highest is None:
            return None
        self._acknowledge_at, self._unacknowledged = math.inf, 0
        if self._repeats < len(_ACK_AGAIN_S):
            self._acknowledge_at = now + _ACK_AGAIN_S[self._repeats]
            self._repeats += 1
        lanes = {lane: (self._due[lane], self._bits(lane), self.credit) for lane in sorted(self._touched)}
        return Ack(self._highest, lanes)

    def grant(self, credit: int, now: float) -> None:
        """Take up to `credit` frames of each lane from now on, and say so."""
        if credit != self.credit:
            self.credit, self._acknowledge_at = credit, now

    def _bits(self, lane: int) -> int:
        first = self._due[lane] + 1
        return sum(1 << (sequence - first & _WRAP) for sequence in self._early[lane])


class Packet(NamedTuple):
    """A frame under way, or to be sent again; `size` is what it costs on the line, in bytes."""

    lane: int
    sequence: int
    flags: int
    payload: bytes
    size: int


class _Lane:
    def __init__(self) -> None:
        self.waiting: Deque[Tuple[int, bytes]] = deque()
        self.lost: Deque[Packet] = deque()
        self.sent_bytes = 0
        self.next = self.due = 0
        self.credit = SPAN

    @property
    def open(self) -> bool:
        return self.next - self.due < min(self.credit, SPAN)


class Sender:
    """Messages -> packets, the most urgent lane first, and again what was lost.

    Args:
        rate: Bits per second of the line; may be changed at any time.

    Attributes:
        frame_cost: Bytes that a new frame costs on the line besides its payload.
        waiting_bytes: How much of the messages was never sent.
        resolved: How many packets are known to have come or not,
        lost: and how many of these did not.
        sent_bytes: What all packets cost on the line.
    """

    def __init__(self, rate: int) -> None:
        self.rate, self.frame_cost = rate, FRAME_COST
        self.waiting_bytes = self.sent_bytes = 0
        self.resolved = self.lost = 0
        self._lanes = {lane: _Lane() for lane in LANES_BY_URGENCY}
        self._flight: "OrderedDict[int, Packet]" = OrderedDict()
        self._flight_bytes = 0
        self._timeout_at, self._patience = math.inf, 1.0
        self._errors, self._bytes = 0.5, 0.5 / _EXPECTED_LOSS

    @property
    def piece_bytes(self) -> int:
        """Payload of new frames: where the cost of headers equals that of losses, as far as losses are known."""
        best = math.sqrt(self.frame_cost * self._bytes / self._errors)
        most = min(MAX_PIECE, self.rate / 10 * _PIECE_S)
        return int(max(MIN_PIECE, min(best, most)))

    @property
    def busy(self) -> bool:
        """Whether anything was not yet acknowledged."""
        return bool(self._flight) or self.waiting_bytes > 0 or any(lane.lost for lane in self._lanes.values())

    def post(self, message: Message) -> None:
        """Queue a message."""
        raw = message.encode()
        self._lanes[message.lane].waiting.append((message.request, raw))
        self.waiting_bytes += len(raw)

    def drop(self, request: int) -> None:
        """Forget the bulk messages of a request of which nothing was sent."""
        lane = self._lanes[BULK]
        begun = 1 if lane.sent_bytes else 0
        for entry in [entry for entry in list(lane.waiting)[begun:] if entry[0] == request]:
            lane.waiting.remove(entry)
            self.waiting_bytes -= len(entry[1])

    def take(self, packet_number: int, now: float) -> Optional[Packet]:
        """Return what to send next under a packet number, or None."""
        self._expire(now)
        for number in LANES_BY_URGENCY:
            lane = self._lanes[number]
            packet = self._again(lane) if lane.lost else self._fresh(number, lane)
            if packet is None:
                continue
            self._flight[packet_number] = packet
            self._flight_bytes += packet.size
            self.sent_bytes += packet.size
            self._timeout_at = now + self._timeout_s()
            if self._idle_after(packet):
                packet = packet._replace(flags=packet.flags | ACK_NOW)
            return packet
        return None

    def _again(self, lane: _Lane) -> Optional[Packet]:
        if self._flight_bytes >= self._window_bytes() + _URGENT_BYTES:
            return None
        if lane.lost[0].sequence - lane.due & _WRAP >= lane.credit:
            return None
        packet = lane.lost.popleft()
        return packet._replace(flags=packet.flags | RETX)

    def _fresh(self, number: int, lane: _Lane) -> Optional[Packet]:
        most = self._window_bytes() + (0 if number == BULK else _URGENT_BYTES)
        if not lane.waiting or not lane.open or self._flight_bytes >= most:
            return None
        raw, start, piece = lane.waiting[0][1], lane.sent_bytes, self.piece_bytes
        rest = len(raw) - start
        end = start + math.ceil(rest / math.ceil(rest / piece))
        flags = (FIRST if start == 0 else 0) | (LAST if end == len(raw) else 0)
        if flags & LAST:
            lane.waiting.popleft()
        lane.sent_bytes = 0 if flags & LAST else end
        self.waiting_bytes -= end - start
        packet = Packet(number, lane.next & _WRAP, flags, raw[start:end], end - start + self.frame_cost)
        lane.next += 1
        return packet

    def _window_bytes(self) -> float:
        return max(_SMALLEST_WINDOW, self.rate / 10 * _WINDOW_S)

    def _idle_after(self, packet: Packet) -> bool:
        # Nothing may follow that would show its loss, so its receipt is asked for at once.
        if self._flight_bytes >= self._window_bytes():
            return True
        return not any(lane.lost or (lane.waiting and lane.open) for lane in self._lanes.values())

    def _timeout_s(self) -> float:
        return min(_LONGEST_TIMEOUT_S, (_TIMEOUT_S + 2 * self._flight_bytes * 10 / self.rate) * self._patience)

    def _expire(self, now: float) -> None:
        if not self._flight or now < self._timeout_at:
            return
        number, packet = next(iter(self._flight.items()))
        del self._flight[number]
        self._flight_bytes -= packet.size
        self._lanes[packet.lane].lost.append(packet)
        self._patience = min(self._patience * 2, 32.0)
        self._timeout_at = now + self._timeout_s()

    def wake_at(self) -> float:
        """Return when a receipt is overdue."""
        return self._timeout_at if self._flight else math.inf

    def acknowledged(self, ack: Ack, packets: int, now: float) -> None:
        """Learn what has come.

        Args:
            ack: From the receiver.
            packets: How many packet numbers were given so far.
            now: The time.
        """
        for number, (due, _, credit) in ack.lanes.items():
            lane = self._lanes[number]
            known = lane.next - (lane.next - due & _WRAP)
            lane.due, lane.credit = max(lane.due, known), credit
        highest = packets - (packets - ack.highest & _WRAP)
        moved = False
        for number, packet in list(self._flight.items()):
            came = _has(ack, packet)
            if came or number <= highest:
                del self._flight[number]
                self._flight_bytes -= packet.size
                self._learn(packet.size, came)
                moved = True
                if not came:
                    self._lanes[packet.lane].lost.append(packet)
        for lane in self._lanes.values():
            if any(_has(ack, packet) for packet in lane.lost):
                lane.lost = deque(packet for packet in lane.lost if not _has(ack, packet))
        if moved:
            self._patience = 1.0
            self._timeout_at = now + self._timeout_s()

    def _learn(self, size: int, came: bool) -> None:
        self.resolved += 1
        self.lost += not came
        fade = 1.0 - size / _MEMORY_BYTES
        if self._errors > 20.0:
            fade = min(fade, 20.0 / self._errors)
        self._errors = max(self._errors * fade + (not came), 0.05)
        self._bytes = self._bytes * fade + size


def _has(ack: Ack, packet: Packet) -> bool:
    due, bits, _ = ack.lanes.get(packet.lane, (packet.sequence, 0, 0))
    ahead = packet.sequence - due & _WRAP
    return ahead > _WRAP // 2 or (0 < ahead <= SPAN and bool(bits >> (ahead - 1) & 1))
