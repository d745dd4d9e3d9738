"""Which runtime runs an artifact on a board, and what its failures mean here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeprune.errors import (
    ArtifactError,
    DataError,
    DeviceError,
    EdgePruneError,
    ModelError,
    ReleaseError,
    RunFailed,
    UnknownName,
    UsageError,
)

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

RUNTIMES_OF_FORMAT = {"onnx": ("onnxruntime", "tensorrt"), "tflite": ("litert",)}
"""Format to the runtimes that take it, the preferred one first."""
INSTALLING = {
    "onnxruntime": "python3 -m pip install onnxruntime",
    "litert": "python3 -m pip install ai-edge-litert",
    "tensorrt": "sudo apt-get install python3-libnvinfer",
}
"""Runtime to the command that brings it; TensorRT comes with JetPack, and a venv has to see the system's packages."""
START_S = 180.0
"""Starting a worker and importing a runtime: 20 s were measured on an emulated board, slower ones exist."""
_COUNTED_PATIENCE = 10
"""A clock that counts instructions stands still while the host is busy elsewhere; the host's deadlines go on."""


def choose_runtime(session: Session, format: str, wanted: str = "auto") -> str:
    """Return the runtime to use, which is known to be installed on the board.

    Args:
        session: Of the board.
        format: Of the artifact, "onnx" or "tflite".
        wanted: Name of a runtime, or "auto" for the format's own.

    Returns:
        Its name.

    Raises:
        UnknownName: Nobody knows the format or the runtime.
        UsageError: The runtime does not take the format.
        DeviceError: The board lacks the runtime.
    """
    if format not in RUNTIMES_OF_FORMAT:
        raise UnknownName("artifact format", format, RUNTIMES_OF_FORMAT)
    if wanted != "auto" and wanted not in INSTALLING:
        raise UnknownName("runtime", wanted, (*INSTALLING, "auto"))
    fitting = RUNTIMES_OF_FORMAT[format]
    name = fitting[0] if wanted == "auto" else wanted
    if name not in fitting:
        raise UsageError(f"{name} does not run {format} files.", f"Use {' or '.join(fitting)}, or runtime='auto'.")
    about = session.info.runtime(name)
    if about is None or about.version is None or about.reason:
        reason = f" ({about.reason})" if about and about.reason else ""
        raise DeviceError(
            f"{session.profile.name} cannot run {format} files: {name} is not usable there{reason}.",
            f"On the board, run: {INSTALLING[name]}",
        )
    return name


def run_worker(
    session: Session,
    spec: Mapping[str, Any],
    on_event: Callable[[Mapping[str, Any]], None],
    deadline_s: float,
    subject: str,
) -> Mapping[str, Any]:
    """Run a worker to its end, and say in our words what went wrong.

    Args:
        session: Of the board.
        spec: See docs/wire.md.
        on_event: Hears every event.
        deadline_s: For the whole run, on a board whose clock is the host's.
        subject: What runs, as named in messages.

    Returns:
        The end event.

    Raises:
        EdgePruneError: The kind that fits what the worker said; `RunFailed` for a crash.
    """
    failure: dict[str, str] = {}

    def hear(event: Mapping[str, Any]) -> None:
        if event.get("kind") == "end" and isinstance(event.get("error"), Mapping):
            failure.update({key: str(value) for key, value in event["error"].items()})
        on_event(event)

    patience = _COUNTED_PATIENCE if session.info.counts_instructions else 1
    try:
        return session.run(spec, hear, patience * deadline_s)
    except RunFailed as error:
        raise _translate(failure, subject, session.profile.name, str(spec.get("runtime"))) or error from error


def _translate(failure: Mapping[str, str], subject: str, board: str, runtime: str) -> EdgePruneError | None:
    said = failure.get("message", "")
    match failure.get("type"):
        case "ModelRejected":
            return ArtifactError(
                f"{subject} cannot be opened by {runtime} on {board}: {said}.",
                "See whether the file is whole, and whether that version of the runtime knows its operators.",
            )
        case "RuntimeMissing":
            return DeviceError(
                f"{board} has no usable {runtime}: {said}.",
                f"On the board, run: {INSTALLING[runtime]}",
            )
        case "NoProfile":
            return UsageError(f"{runtime} cannot profile {subject}: {said}.", "Profile the model as ONNX.")
        case "NoMarker":
            return DeviceError(f"{board}: {said}.", "See to the meter's option marker=gpiochip0:17, or leave it out.")
        case "BadInputs":
            return DataError(f"{subject} does not take these inputs: {said}.", "Give what the model was exported for.")
        case "BadOutputs":
            return ModelError(f"The outputs of {subject} cannot be used: {said}.", "Export it with the batch first.")
        case "NotWhole":
            return ReleaseError(f"{board}: {said}.", "Install the model again.")
    return None
