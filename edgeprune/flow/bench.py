"""Any model file -> its measurement on a board; needs no torch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from edgeprune import exporting, measuring
from edgeprune.config import Config
from edgeprune.devices import Session, connect, resolve
from edgeprune.errors import Inconclusive
from edgeprune.values.device import DeviceInfo, DeviceProfile
from edgeprune.values.event import Listener, ignore
from edgeprune.values.measurement import Measurement
from edgeprune.values.plan import BenchPlan


def bench_file(
    path: Path,
    device: str | DeviceProfile,
    plan: BenchPlan,
    *,
    pin: bool = False,
    power_mode: int | None = None,
    config: Config | None = None,
    listener: Listener = ignore,
) -> tuple[Measurement, DeviceInfo]:
    """Measure any .onnx or .tflite file on a board.

    Args:
        path: The file.
        device: Name, tag or address of the board, or its profile.
        plan: How.
        pin: Pin the board's clocks meanwhile.
        power_mode: Of nvpmodel, to measure in; pins, too.
        config: Whose devices are known by name, too; None for the user's alone.
        listener: Told of every step.

    Returns:
        The measurement and the board's facts.

    Raises:
        Inconclusive: The samples do not even carry a median.
    """
    artifact = exporting.load_artifact(path)
    with connect(resolve(device, config.devices if config else None), listener=listener) as session:
        with _clocks(session, pin, power_mode, listener):
            measurement = measuring.measure(session, artifact, plan, listener=listener)
        if measurement.verdict == "inconclusive":
            raise Inconclusive(measurement.verdict_reason, "Measure longer: --plan strict, or an idle board.")
        return measurement, session.info


def _clocks(session: Session, pin: bool, power_mode: int | None, listener: Listener) -> AbstractContextManager[None]:
    if pin or power_mode is not None:
        return measuring.pinned(session, power_mode, listener)
    return nullcontext()
