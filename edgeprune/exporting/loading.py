"""A path -> Artifact, and whether its file is still the same."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from edgeprune.errors import ArtifactError, UsageError
from edgeprune.exporting.model_file import ModelFile, format_of, parse
from edgeprune.exporting.storage import check_target, write_atomically
from edgeprune.values.artifact import Artifact, ParityReport


def load_artifact(path: Path | str) -> Artifact:
    """Describe a model file, ours or not.

    Args:
        path: Of an .onnx or .tflite file; the content is checked against the suffix.

    Returns:
        Its artifact; `parity` is None, `precision` is "unknown" where the file does not tell it.

    Raises:
        ArtifactError: The file is missing, empty, corrupt or of another format.
    """
    path = Path(path)
    name = format_of(path)
    content = _read(path)
    return described(path, content, name, parse(content, name, str(path)))


def verify_artifact(artifact: Artifact) -> None:
    """Check that an artifact's file still holds the bytes that were described.

    Args:
        artifact: As exported or loaded.

    Raises:
        ArtifactError: The file is missing or has changed.
    """
    read_verified(artifact)


def read_verified(artifact: Artifact) -> bytes:
    """Read an artifact's file, checking what was read.

    Args:
        artifact: As exported or loaded.

    Returns:
        Its bytes.

    Raises:
        ArtifactError: The file is missing or has changed.
    """
    content = _read(artifact.path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != artifact.sha256:
        raise ArtifactError(
            f"{artifact.path} has changed: its SHA-256 is {digest[:12]}…, {artifact.sha256[:12]}… was recorded.",
            "Export it again, or load it anew if the change was meant.",
        )
    return content


def copied(artifact: Artifact, path: Path) -> Artifact:
    """Copy an artifact's file.

    Args:
        artifact: Of a file that has not changed since.
        path: Of the file to write; it appears whole or not at all.

    Returns:
        The artifact at its new place.

    Raises:
        UsageError: The new suffix is another format's.
        ArtifactError: The file has changed.
        StorageError: The copy cannot be written.
    """
    if format_of(path) != artifact.format:
        raise UsageError(f"{path} does not end in .{artifact.format}.", "Let suffix and format agree.")
    check_target(path)
    write_atomically(path, read_verified(artifact))
    return replace(artifact, path=path)


def described(
    path: Path,
    content: bytes,
    format_name: str,
    file: ModelFile,
    precision: str = "",
    parity: ParityReport | None = None,
) -> Artifact:
    """Make the artifact of a parsed file.

    Args:
        path: Where it lies.
        content: Its bytes.
        format_name: "onnx" or "tflite".
        file: The same bytes, parsed.
        precision: As known to the exporter; empty to take what the file tells.
        parity: As found by the exporter.

    Returns:
        The artifact.
    """
    return Artifact(
        path=path,
        format=format_name,
        precision=precision or file.precision,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        inputs=file.inputs,
        outputs=file.outputs,
        opset=file.opset,
        ir_version=file.ir_version,
        parity=parity,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist.", "Check the path, or export the model first.") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.", "Give a file that you may read.") from error
