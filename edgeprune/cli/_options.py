"""Options that several commands share, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result in one line, no progress.")]
ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config", "-C", help="The project's edgeprune.toml; searched upwards by default.", show_default=False
    ),
]
Store = Annotated[str | None, typer.Option("--store", help="URL of the result store.", show_default=False)]
Device = Annotated[
    str, typer.Option("--device", "-d", help="A device's name, tag or address; `local` is this machine.")
]
ExpectDeviceId = Annotated[
    str | None,
    typer.Option("--expect-device-id", help="Refuse any other board; `devices info` says it.", show_default=False),
]

MaxAccuracyDrop = Annotated[str | None, typer.Option(help="Largest loss against the dense network, such as 0.5pt.")]
MinAccuracy = Annotated[str | None, typer.Option(help="Such as 90%.")]
MaxLatency = Annotated[str | None, typer.Option(help="Of the median, such as 5ms.")]
MaxP95Latency = Annotated[str | None, typer.Option("--max-p95-latency", help="Such as 20ms.")]
MaxEnergy = Annotated[str | None, typer.Option(help="Per inference, such as 50mJ.")]
MaxSize = Annotated[str | None, typer.Option(help="Of the file, such as 2MiB.")]
MaxMemory = Annotated[str | None, typer.Option(help="Peak of the process, such as 200MiB.")]
Minimize = Annotated[
    list[str] | None,
    typer.Option(help="latency, energy, size or memory; repeat in order of importance."),
]
DeviceTime = Annotated[str | None, typer.Option(help="Time to spend on the board, such as 10m.")]
Plan = Annotated[str | None, typer.Option(help="How to measure: quick, default, strict, sustained, duty or tiny.")]
Meter = Annotated[str, typer.Option(help="Power source, such as onboard; the device's own if not given.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Try at most so many variants.")]


def constraints(
    max_accuracy_drop: str | None,
    min_accuracy: str | None,
    max_latency: str | None,
    max_p95_latency: str | None,
    max_energy: str | None,
    max_size: str | None,
    max_memory: str | None,
) -> list[str]:
    """Write the constraint flags as the configuration would.

    Args:
        max_accuracy_drop: Such as "0.5pt"; None where the flag was not given, here and below.
        min_accuracy: Such as "90%".
        max_latency: Such as "5ms".
        max_p95_latency: Such as "20ms".
        max_energy: Such as "50mJ".
        max_size: Such as "2MiB".
        max_memory: Such as "200MiB".

    Returns:
        Texts such as "accuracy_drop <= 0.5pt".
    """
    bounds = {
        "accuracy_drop <=": max_accuracy_drop,
        "accuracy >=": min_accuracy,
        "latency <=": max_latency,
        "p95_latency <=": max_p95_latency,
        "energy <=": max_energy,
        "size <=": max_size,
        "memory <=": max_memory,
    }
    return [f"{quantity} {bound}" for quantity, bound in bounds.items() if bound is not None]


@dataclass(frozen=True, slots=True)
class Board:
    """Which board is meant.

    Attributes:
        device: Name, tag or address.
        expected_id: What its agent's device id must be; None for any board that answers there.
    """

    device: str
    expected_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the goal flags said.

    Attributes:
        minimize: Objectives.
        constraints: As the configuration would write them.
        trials: Variants at most.
        device_time: Such as "10m".
        plan: Name of a bench plan.
    """

    minimize: list[str]
    constraints: list[str]
    trials: int | None = None
    device_time: str | None = None
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class Sink:
    """Where a result comes from and goes to.

    Attributes:
        as_json: One JSON document.
        quiet: One line.
        config: Path of edgeprune.toml, or None to search.
        store: URL of the store, or None for the project's.
        file: A model file that stands in place of the project's network; None for the latter.
    """

    as_json: bool
    quiet: bool
    config: Path | None = None
    store: str | None = None
    file: Path | None = None
