"""Instruments as they are on the wire, each showing a power that it is given: UM25C, FNB58, SCPI, Korad, Joulescope.

Faults are part of them: frames that were damaged, samples that were lost, overloads, commands that came too soon.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from edgeprune.measuring.meters.fnb58 import PERIOD_S, crc8
from edgeprune.testing.lines import Instrument

PowerNow = Callable[[], float]
"""The power of this moment, W."""
_VOLTS = 5.0


class FakeUm25c(Instrument):
    """A UM25C: asked by F0, it answers with what it measured at most half a second ago.

    Args:
        power_w: Of this moment.
        damaged: Numbers of answers whose end mark is wrong.
        lost: Numbers of answers of which a byte is missing.
        refresh_s: How often it measures.
    """

    def __init__(
        self, power_w: PowerNow, damaged: Collection[int] = (), lost: Collection[int] = (), refresh_s: float = 0.5
    ) -> None:  # fmt: skip
        self._power_w, self._damaged, self._lost, self._refresh_s = power_w, damaged, lost, refresh_s
        self._answers, self._at_s, self._shown_w = 0, -1.0, 0.0

    def hear(self, data: bytes) -> bytes:
        """Return an answer to each F0."""
        return b"".join(self._answer() for _ in range(data.count(0xF0)))

    def _answer(self) -> bytes:
        if time.monotonic() - self._at_s >= self._refresh_s:
            self._at_s, self._shown_w = time.monotonic(), self._power_w()
        number, self._answers = self._answers, self._answers + 1
        frame = frame_um25c(0x09C9, round(_VOLTS * 1000), round(self._shown_w / _VOLTS * 1e4))
        if number in self._damaged:
            frame = frame[:-2] + b"\x00\x00"
        return frame[:50] + frame[51:] + b"\x00" if number in self._lost else frame


def frame_um25c(model: int, volts: int, amps: int) -> bytes:
    """Return the answer of a UM meter.

    Args:
        model: Id.
        volts: In the model's steps,
        amps: likewise.

    Returns:
        130 bytes.
    """
    head = struct.pack(">HHHIHH", model, volts, amps, round(volts * amps * 1e-4), 25, 77)
    return head.ljust(128, b"\x00") + b"\xff\xf1"


class FakeFnb58(Instrument):
    """An FNB58: four samples each 40 ms once it was asked to begin, as long as it is asked to go on.

    Args:
        power_w: Of this moment.
        damaged: Numbers of reports whose check is wrong.
        others_every: One report of this many is of another kind.
    """

    def __init__(self, power_w: PowerNow, damaged: Collection[int] = (), others_every: int = 7) -> None:
        self._power_w, self._damaged, self._others_every = power_w, damaged, others_every
        self._heard = b""
        self._until_s = self._next_s = 0.0
        self._pending: list[float] = []
        self.reports = 0

    def hear(self, data: bytes) -> bytes:
        """Return nothing: commands of 64 bytes are only obeyed."""
        self._heard += data
        while len(self._heard) >= 64:
            report, self._heard = self._heard[:64], self._heard[64:]
            if report[0] != 0xAA or crc8(report[1:63]) != report[63]:
                continue
            if report[1] == 0x81:
                self._next_s = time.monotonic()
            self._until_s = time.monotonic() + 2.0
        return b""

    def due(self) -> bytes:
        """Return the reports whose time has come."""
        said, now = b"", time.monotonic()
        while self._next_s and self._next_s <= now < self._until_s:
            self._next_s += PERIOD_S
            self._pending.append(self._power_w())
            if len(self._pending) == 4:
                said += self._report()
        return said

    def _report(self) -> bytes:
        number, self.reports = self.reports, self.reports + 1
        report = report_fnb58([(_VOLTS, power / _VOLTS) for power in self._pending])
        self._pending = []
        if number in self._damaged:
            report = report[:-1] + bytes([report[-1] ^ 1])
        other = b"\xaa\x03" + bytes(62) if number % self._others_every == 0 else b""
        return other + report


def report_fnb58(samples: list[tuple[float, float]]) -> bytes:
    """Return a report of an FNB58.

    Args:
        samples: Four pairs of V and A.

    Returns:
        64 bytes.
    """
    body = b"\x04" + b"".join(
        struct.pack("<IIHHBH", round(volts * 1e5), round(amps * 1e5), 600, 600, 1, 250) for volts, amps in samples
    )
    body = body.ljust(62, b"\x00")
    return b"\xaa" + body + bytes([crc8(body)])


class FakeScpi(Instrument):
    """A supply with SCPI.

    Args:
        power_w: Of this moment.
        identity: What it answers to *IDN?.
        style: How it writes a number, such as "{:.4f}" or "{:+.5E}V".
        overloads: Numbers of measurements that are too much for it.
    """

    def __init__(
        self, power_w: PowerNow, identity: str = "RIGOL TECHNOLOGIES,DP832A,DP8B000000000,00.01.16",
        style: str = "{:.4f}", overloads: Collection[int] = (),
    ) -> None:  # fmt: skip
        self._power_w, self._identity, self._style, self._overloads = power_w, identity, style, overloads
        self._line, self._measured = b"", 0

    def hear(self, data: bytes) -> bytes:
        """Return an answer to each line that is a question it knows."""
        *lines, self._line = (self._line + data).split(b"\n")
        return b"".join(self._answer(line.decode("ascii", "replace").strip().upper()) for line in lines)

    def _answer(self, question: str) -> bytes:
        if question == "*IDN?":
            return self._identity.encode() + b"\n"
        amps = self._power_w() / _VOLTS
        quantities = {
            ":MEAS:ALL? CH1": (_VOLTS, amps, _VOLTS * amps), "MEAS:ALL?": (_VOLTS, amps), "MEAS:VOLT?": (_VOLTS,),
            "MEAS:CURR?": (amps,), "MEAS:POW?": (_VOLTS * amps,),
        }.get(question)  # fmt: skip
        if quantities is None:
            return b""
        number, self._measured = self._measured, self._measured + 1
        values = [9.9e37] * len(quantities) if number in self._overloads else quantities
        return ",".join(self._style.format(value) for value in values).encode() + b"\n"


class FakeKorad(Instrument):
    """A KA3005P: no ends of lines, five characters, deaf for a moment after each command.

    Args:
        power_w: Of this moment.
        digit: Whether the output's number belongs into a command.
        damaged: Numbers of answers that are cut short.
    """

    _DEAF_S = 0.04

    def __init__(self, power_w: PowerNow, digit: bool = True, damaged: Collection[int] = ()) -> None:
        self._power_w, self._damaged, self._answers = power_w, damaged, 0
        number = "1" if digit else ""
        self._commands = {f"VOUT{number}?".encode(): 0, f"IOUT{number}?".encode(): 1, b"*IDN?": 2}
        self._heard, self._last_s = b"", 0.0

    def hear(self, data: bytes) -> bytes:
        """Return the answer to a command that came alone."""
        self._heard = (self._heard + data)[-16:]
        command = next((command for command in self._commands if self._heard.endswith(command)), None)
        if command is None:
            return b""
        self._heard = b""
        now, before_s = time.monotonic(), self._last_s
        self._last_s = now
        return b"" if now - before_s < self._DEAF_S else self._answer(self._commands[command])

    def _answer(self, what: int) -> bytes:
        if what == 2:
            return b"KORADKA3005PV2.0"
        number, self._answers = self._answers, self._answers + 1
        answer = f"{_VOLTS:05.2f}" if what == 0 else f"{self._power_w() / _VOLTS:.3f}"
        return answer.encode()[: 3 if number in self._damaged else 5]


class FakeJoulescopeDriver:
    """What `pyjoulescope_driver.Driver` does of all that a meter needs.

    Args:
        power_w: Of this moment.
        paths: Of the instruments that are plugged in.
    """

    def __init__(self, power_w: PowerNow, paths: Collection[str] = ("u/js220/000123",)) -> None:
        self._power_w, self._paths = power_w, list(paths)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.published: dict[str, Any] = {}

    def device_paths(self) -> list[str]:
        """Return the instruments."""
        return self._paths

    def open(self, path: str) -> None:
        """Open one."""
        self._over.clear()

    def publish(self, topic: str, value: Any) -> None:
        """Set something."""
        self.published[topic] = value

    def subscribe(self, topic: str, flags: str, listener: Callable[[str, Any], None]) -> None:
        """Tell a listener what is counted."""
        self._thread = threading.Thread(target=self._count, args=(topic, listener), daemon=True)
        self._thread.start()

    def _count(self, topic: str, listener: Callable[[str, Any], None]) -> None:
        samples, begin = 50_000, time.monotonic()
        energy_j, last, number = 12.5, begin, 0
        while not self._over.wait(0.001):
            now = time.monotonic()
            energy_j += self._power_w() * (now - last)
            last = now
            if now >= begin + (number + 1) * 0.05:
                number += 1
                counted_j = energy_j - self._power_w() * (now - begin - number * 0.05)  # what it was at that sample
                listener(topic, {
                    "time": {"samples": {"value": [(number - 1) * samples, number * samples]}},
                    "signals": {"power": {"avg": {"value": self._power_w()}}},
                    "accumulators": {"energy": {"value": counted_j}},
                })  # fmt: skip

    def close(self, path: str) -> None:
        """Close one."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
