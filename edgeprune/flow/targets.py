"""What an export must suit -> the release of onnxruntime that is there."""

from __future__ import annotations

from edgeprune.devices.board_check import generic_board
from edgeprune.devices.profiles import BoardType, board_type, board_types
from edgeprune.errors import ArtifactError, UsageError
from edgeprune.exporting.runtimes import suited, unmet
from edgeprune.values.artifact import Artifact
from edgeprune.values.device import DeviceInfo
from edgeprune.values.spec import ExportSpec


def suited_to_board(spec: ExportSpec, info: DeviceInfo) -> ExportSpec:
    """Return the spec as the board's own onnxruntime needs it; unchanged where the board has none."""
    runtime = info.runtime("onnxruntime")
    return suited(spec, f"onnxruntime=={runtime.version}") if runtime and runtime.version else spec


def refuse_unmet(artifact: Artifact, info: DeviceInfo) -> None:
    """Refuse a file that the board's onnxruntime is too old for, before it is sent there.

    Args:
        artifact: Of any origin.
        info: What the board says of itself.

    Raises:
        ArtifactError: It needs a newer operator set or file format.
    """
    runtime = info.runtime("onnxruntime")
    if artifact.opset is None or runtime is None or runtime.version is None:
        return
    package = f"onnxruntime=={runtime.version}"
    if lack := unmet(artifact.opset, artifact.ir_version or 0, package):
        step = f"Run: edgeprune export --from {artifact.path} --target {package} -o older.onnx"
        raise ArtifactError(f"The board cannot load {artifact.path}: {lack}.", step)


def spec_for_target(spec: ExportSpec, target: str) -> ExportSpec:
    """Return the spec as a target needs it.

    Args:
        spec: What is asked for.
        target: A release, "onnxruntime==1.10.0", or a board type, "jetson-nano".

    Returns:
        The spec with an operator set that the target's runtime has.
    """
    return suited(spec, runtime_of_target(target)) if spec.format == "onnx" else spec


def runtime_of_target(target: str) -> str:
    """Return the onnxruntime that a target stands for.

    Args:
        target: A release, "onnxruntime==1.10.0", or a board type of profiles/, "jetson-nano".

    Returns:
        The release; of a board type the oldest that its systems have, since it serves all of them.

    Raises:
        UsageError: The profile does not say which Python its systems have, or pip has no onnxruntime for them.
        UnknownName: There is no such board type.
    """
    if "==" in target:
        return target
    found = _runtimes(board_type(target))
    if not found:
        raise UsageError(
            f"The profile {target} does not say which onnxruntime its systems have.",
            "Name the release, such as onnxruntime==1.19.2.",
        )
    return min(found, key=_version)


def _runtimes(board: BoardType) -> list[str]:
    facts = generic_board(board.architectures[0], board_types()).facts
    pythons = [str(fact.value).replace(".", "_") for name, fact in board.facts.items() if name.endswith("_python")]
    packages = [str(facts[key].value) for minor in pythons if (key := f"onnxruntime_python{minor}") in facts]
    return [package for package in packages if package != "none"]


def _version(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in package.partition("==")[2].split(".")[:2])
