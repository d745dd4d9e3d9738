"""Joulescope JS220 and JS110, by the maker's driver: the instrument adds up the energy itself.

Source:
    pyjoulescope_driver 2.2: topics s/i/range/mode, s/v/range/mode, s/stats/scnt, s/stats/ctrl, s/stats/value, and the
    dictionaries that the latter gives. The accuracy is from memory.
"""

from __future__ import annotations

import importlib
import math
import queue
import time
from array import array
from collections.abc import Mapping
from typing import Any

from edgeprune.errors import MeterFailed, MissingExtra
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.meter import Meter, MeterReadings
from edgeprune.measuring.meters.sample_clock import SampleClock
from edgeprune.values.power import MeterFacts

RATE_HZ = 20
_SAMPLES_HZ = {"js220": 1_000_000, "js110": 2_000_000}
_SILENCE_S = 2.0


class Joulescope(Meter):
    """A Joulescope.

    Args:
        address: joulescope:// for the only one, or joulescope://u/js220/000123
        driver: Made by the maker's package unless given.
    """

    stamp_bound_s = 0.005

    def __init__(self, address: MeterAddress, driver: Any = None) -> None:
        super().__init__(address)
        address.known()
        self._given = driver
        self._driver: Any = None
        self._path, self._name = "", "Joulescope"
        self._values: queue.SimpleQueue[tuple[int, Mapping[str, Any]]] = queue.SimpleQueue()
        self._clock, self._last, self._heard_s = SampleClock(1 / RATE_HZ), 0, 0.0

    @property
    def facts(self) -> MeterFacts:
        """Energy as the instrument counts it, told twenty times a second."""
        return self.address.adapt(
            MeterFacts(self._name, "board", "external", 1 / RATE_HZ, 0.0, 0.0, 1e-9, 0.003, 1e-4, True)
        )

    def start(self) -> None:
        """Open the instrument and have it count.

        Raises:
            MeterFailed: There is none, or several.
        """
        self.stop()
        self._driver = self._given if self._given is not None else _new_driver()
        try:
            paths = [
                path for path in self._driver.device_paths() if not self.address.place or path == self.address.place
            ]
            if len(paths) != 1:
                raise MeterFailed(
                    f"There are {len(paths)} Joulescopes.", "Plug one in, or name it: joulescope://u/js220/…"
                )
            self._open(paths[0])
        except BaseException:
            self.stop()
            raise

    def _open(self, path: str) -> None:
        model = path.split("/")[1]
        self._values, self._clock, self._last = queue.SimpleQueue(), SampleClock(1 / RATE_HZ), 0
        self._driver.open(path)
        self._path, self._name = path, f"Joulescope {model.upper()}"
        for topic, value in (
            ("/s/i/range/mode", "auto"), ("/s/v/range/mode", "auto"),
            ("/s/stats/scnt", _SAMPLES_HZ.get(model, 1_000_000) // RATE_HZ), ("/s/stats/ctrl", 1),
        ):  # fmt: skip
            self._driver.publish(path + topic, value)
        self._driver.subscribe(path + "/s/stats/value", "pub", self._hear)
        self._heard_s = time.monotonic()

    def _hear(self, topic: str, value: Mapping[str, Any]) -> None:
        self._values.put((time.monotonic_ns(), value))

    def read(self) -> MeterReadings:
        """Return what has come.

        Returns:
            The energy so far, of each telling.

        Raises:
            MeterFailed: It fell silent, or told something else.
        """
        try:
            arrived, value = self._values.get(timeout=0.2)
        except queue.Empty:
            if time.monotonic() - self._heard_s > _SILENCE_S:
                raise MeterFailed("The Joulescope fell silent.", "Plug it in anew.") from None
            return MeterReadings()
        self._heard_s = time.monotonic()
        number, energy_j = decode(value)
        lost = max(0, number - self._last - 1) if self._last else 0
        self._last = number
        if not math.isfinite(energy_j):
            return MeterReadings(dropped=1)
        return MeterReadings(self._clock.stamp(number, 1, arrived), array("q", [round(energy_j * 1e9)]), lost)

    def stop(self) -> None:
        """Close the instrument; a board behind it stays fed."""
        driver, self._driver, path, self._path = self._driver, None, self._path, ""
        if driver is None:
            return
        if path:
            driver.publish(path + "/s/stats/ctrl", 0)
            driver.close(path)
        if self._given is None:
            driver.finalize()


def decode(value: Mapping[str, Any]) -> tuple[int, float]:
    """Read one telling.

    Args:
        value: As the driver gives it.

    Returns:
        Its number by the samples that it covers, and the energy so far in J.

    Raises:
        MeterFailed: It is something else.
    """
    try:
        begin, end = value["time"]["samples"]["value"]
        return round(end / (end - begin)), float(value["accumulators"]["energy"]["value"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        step = "Use pyjoulescope_driver 2.2 or later."
        raise MeterFailed(f"The Joulescope's driver told something else ({error!r}).", step) from error


def _new_driver() -> Any:
    try:
        return importlib.import_module("pyjoulescope_driver").Driver()
    except ModuleNotFoundError as error:
        raise MissingExtra("pyjoulescope_driver", "joulescope") from error
