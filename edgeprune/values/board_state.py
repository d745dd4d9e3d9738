"""What a board was like at one moment: the evidence on which verdicts rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BoardState:
    """One reading.

    Attributes:
        at_ns: When, by the board's CLOCK_MONOTONIC.
        temperatures_c: Thermal zone to its temperature.
        governors: cpufreq policy to its governor.
        clocks_hz: cpufreq policy to the clock that the hardware reports, or else the one asked for.
        throttle: "raspberry_pi" to the flags of get_throttled (bits 0 to 3 now, 16 to 19 sticky); "event:…" to a
            counter of events that lowered clocks; "cooling:…" to the state of a cooling device that lowers clocks, 0
            for off.
        power_mode: Of a board that has several, such as "MAXN"; None for others.
        cpus: Processors.
        busy_s: Processor time used by all since the boot; None where the kernel does not say, here and below.
        stolen_s: Processor time that a hypervisor gave to others.
        own_s: Processor time of the worker.
        ran_s: The same from the scheduler, finer.
        waited_s: Time in which a thread of the worker could have run and had no processor.
        policy: The cpufreq policy of the processor on which the worker ran last.
    """

    at_ns: int
    temperatures_c: Mapping[str, float]
    governors: Mapping[str, str]
    clocks_hz: Mapping[str, float]
    throttle: Mapping[str, int]
    power_mode: str | None
    cpus: int
    busy_s: float | None
    stolen_s: float | None
    own_s: float | None = None
    ran_s: float | None = None
    waited_s: float | None = None
    policy: str | None = None

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature; None where no sensor was readable."""
        return max(self.temperatures_c.values(), default=None)
