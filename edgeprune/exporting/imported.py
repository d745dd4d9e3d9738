"""A model file of any origin + ExportSpec -> Artifact. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeprune.exporting.file_source import FileSource
from edgeprune.exporting.loading import load_artifact
from edgeprune.exporting.pipeline import Pipeline
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Listener, ignore
from edgeprune.values.spec import ExportSpec


class FileExporter(Pipeline):
    """Makes any number of artifacts of one float file.

    Args:
        path: Of the .onnx or .tflite file.
        calibration: Iterable of (inputs, targets), needed for int8 and int8-mixed; parity is measured on it.
        listener: Told of each step.
    """

    def __init__(
        self, path: Path | str, *, calibration: Iterable[Any] | None = None, listener: Listener = ignore
    ) -> None:
        super().__init__(FileSource(load_artifact(path)), calibration=calibration, listener=listener)


def export_file(
    source: Path | str,
    spec: ExportSpec,
    *,
    calibration: Iterable[Any] | None = None,
    path: Path | str,
    listener: Listener = ignore,
) -> Artifact:
    """Write a float model file with fewer bits, or in an older operator set.

    Args:
        source: The file; ours or not.
        spec: Of the file's own format. Names, layout and batch of its inputs stay as they are.
        calibration: As for `FileExporter`; parity is against the file itself.
        path: Of the file to write; it appears whole or not at all.
        listener: Told of each step.

    Returns:
        The artifact. See `Pipeline.export` for what can be wrong; ArtifactError too, where the file is no float model.
    """
    return FileExporter(source, calibration=calibration, listener=listener).export(spec, path)
