"""Two ends of a serial line in virtual time: nothing sleeps, and the same seed gives the same story.

A line carries bytes at the sender's speed; a receiver at another speed hears garbage. `damage` is what a line does to
the bytes of one transmission.
"""

import heapq
import itertools
import random

from edgeprune_agent import wire

DELAY_S = 0.008
SLACK_S = 0.1
NEVER = 1e-9


def flips(probability):
    """Each byte is altered with a probability."""

    def damage(data, rng, now):
        if probability < NEVER:
            return data
        out = bytearray(data)
        at = int(rng.expovariate(probability))
        while at < len(out):
            out[at] ^= rng.randrange(1, 256)
            at += 1 + int(rng.expovariate(probability))
        return bytes(out)

    return damage


def bursts(probability, size=8):
    """At each byte, `size` bytes are dropped with a probability."""

    def damage(data, rng, now):
        out, at = bytearray(), 0
        if probability < NEVER:
            return data
        while at < len(data):
            step = int(rng.expovariate(probability)) + 1
            out += data[at : at + step]
            at += step + size
        return bytes(out)

    return damage


def kernel_messages(every_s):
    """A line of text is put in between every so often."""
    due = [every_s]

    def damage(data, rng, now):
        if now < due[0]:
            return data
        due[0] = now + every_s
        at = rng.randrange(len(data) + 1)
        return data[:at] + b"[   42.123456] usb 1-1: new high-speed USB device number 7 using xhci_hcd\r\n" + data[at:]

    return damage


def lossy(probability):
    """Whole transmissions are lost with a probability."""
    return lambda data, rng, now: b"" if rng.random() < probability else data


def doubled(probability):
    """Whole transmissions come twice."""
    return lambda data, rng, now: data + data if rng.random() < probability else data


def stalls(start_s, end_s):
    """Nothing gets through for a while."""
    return lambda data, rng, now: b"" if start_s <= now < end_s else data


def chain(*damages):
    def damage(data, rng, now):
        for one in damages:
            data = one(data, rng, now)
        return data

    return damage


def intact(data, rng, now):
    return data


class End:
    """A link with a clock, a speed and an application that keeps what it hears."""

    def __init__(self, link, damage):
        self.link, self.damage = link, damage
        self.rate, self.free_at, self.switch_at = link.rate, 0.0, None
        self.lanes, self.got, self.kinds = wire.Lanes(), [], []
        self.line_bytes = 0
        self.cut_after = None
        self.answer = None

    def apply_rate(self):
        if self.rate != self.link.rate:
            self.rate = self.link.rate


class Simulation:
    """A host and an agent at the ends of one line."""

    features = wire.SerialLink.features

    def __init__(self, up=intact, down=intact, *, rate=115200, fastest=None, supported=wire.LADDER, seed=1):
        self.now, self.rng = 0.0, random.Random(seed)
        self._order, self._arrivals = itertools.count(), []
        self.host = End(wire.SerialLink(wire.Climber(rate, fastest or rate), session=7), up)
        self.agent = End(wire.SerialLink(wire.Follower(rate, supported)), down)
        self.host.peer, self.agent.peer = self.agent, self.host
        self.host.link.signal(wire.HELLO, b"{}")

    @property
    def ends(self):
        return (self.host, self.agent)

    def run(self, until, limit_s=600.0):
        """Let time pass until something is so; fails when it never is."""
        end = self.now + limit_s
        while not until():
            self._pump()
            after = self._next()
            assert after <= end, f"not within {limit_s} s"
            self.now = max(self.now, after)
            self._deliver()

    def run_while(self, condition):
        while condition():
            self._pump()
            self.now = max(self.now, self._next())
            self._deliver()

    def pass_time(self, seconds):
        end = self.now + seconds
        while True:
            self._pump()
            after = self._next()
            if after > end:
                break
            self.now = max(self.now, after)
            self._deliver()
        self.now = end

    def _pump(self):
        for end in self.ends:
            host = end is self.host
            while True:
                if end.switch_at is not None and self.now >= end.switch_at:
                    end.rate, end.switch_at = end.link.rate, None
                if end.switch_at is not None or end.free_at - SLACK_S > self.now:
                    break
                data = end.link.take(self.now)
                if host:
                    end.apply_rate()
                if data:
                    self._send(end, data)
                if not host and end.rate != end.link.rate:
                    end.switch_at = max(self.now, end.free_at)
                if not data:
                    break

    def _send(self, end, data):
        end.free_at = max(end.free_at, self.now) + len(data) * 10 / end.rate
        end.line_bytes += len(data)
        if end.cut_after is not None:
            data = data[: max(0, end.cut_after - (end.line_bytes - len(data)))]
        came = end.damage(data, self.rng, end.free_at)
        if came:
            heapq.heappush(self._arrivals, (end.free_at + DELAY_S, next(self._order), end.peer, came, end.rate))

    def _next(self):
        times = [self._arrivals[0][0]] if self._arrivals else []
        for end in self.ends:
            wake = end.link.wake_at()
            if end.link.busy:
                wake = min(wake, end.free_at - SLACK_S if end.free_at - SLACK_S > self.now else wake)
            times.append(max(wake, end.free_at - SLACK_S, self.now + 1e-4))
            if end.switch_at is not None:
                times.append(max(end.switch_at, self.now + 1e-4))
        return min(times)

    def _deliver(self):
        while self._arrivals and self._arrivals[0][0] <= self.now:
            _, _, end, data, rate = heapq.heappop(self._arrivals)
            if rate != end.rate:
                data = bytes(self.rng.randrange(256) for _ in range(max(1, len(data) * end.rate // rate)))
            for frame in end.link.feed(data, self.now):
                self._accept(end, frame)

    def _accept(self, end, frame):
        end.kinds.append(frame.kind)
        if frame.kind == wire.HELLO and end is self.agent:
            end.link.session = frame.session
            end.link.signal(wire.HELLO, b"{}")
            end.link.agree(list(self.features))
        elif frame.kind == wire.HELLO:
            end.link.agree(list(self.features))
        elif frame.kind == wire.PING:
            end.link.signal(wire.PONG)
        elif frame.kind == wire.DATA:
            message = end.lanes.accept(frame)
            if message is not None:
                end.got.append(message)
                if end.answer is not None:
                    for answer in end.answer(message):
                        end.link.post(answer)
