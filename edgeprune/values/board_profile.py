"""What a board makes of networks: how latency goes with threads, batch and width, and how it bears heat."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One latency of a series.

    Attributes:
        value: Threads, batch or width.
        p50_s: Median.
        p50_ci_s: 95 % interval of it within one process; that between processes is not in it.
        verdict: Of the measurement.
    """

    value: int
    p50_s: float
    p50_ci_s: tuple[float, float]
    verdict: str


@dataclass(frozen=True, slots=True)
class HeatPoint:
    """The board at one moment of a long load.

    Attributes:
        at_s: Since the first inference.
        temperature_c: Of the hottest sensor; None where there is none.
        clock_hz: Of the processor that worked; None where it cannot be read.
    """

    at_s: float
    temperature_c: float | None
    clock_hz: float | None


@dataclass(frozen=True, slots=True)
class BoardProfile:
    """The answers of one board.

    Attributes:
        device: The board's name, and
        device_id: its identity.
        model: What ran at several threads and batches, and in the heat.
        threads: Latency by number of threads.
        batch: Latency by images at a time; empty for a model with a fixed batch.
        stairs: Latency of the probe by width.
        wasteful: Widths that are clearly slower than a larger one.
        heat: The board under load on all processors, over the minutes.
        minute_p50_s: Median of each full minute of that load.
        throttling: What lowered the clocks in it; "" for nothing.
        idle_power_w: Of the board with a model loaded; None where nothing tells.
        power_source: Sensor or meter, rail and boundary of that; "" for none.
        missing: For each answer that there is none of, the reason.
    """

    device: str
    device_id: str
    model: str
    threads: tuple[Point, ...]
    batch: tuple[Point, ...]
    stairs: tuple[Point, ...]
    wasteful: tuple[int, ...]
    heat: tuple[HeatPoint, ...]
    minute_p50_s: tuple[float, ...]
    throttling: str
    idle_power_w: float | None
    power_source: str
    missing: dict[str, str]
