"""A model file that the user has, without its torch model -> artifacts of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeprune import exporting
from edgeprune.config import Config
from edgeprune.errors import UsageError
from edgeprune.exporting.model_file import format_of
from edgeprune.flow.goal import configured
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Listener, ignore
from edgeprune.values.spec import ExportSpec


def export_file(
    source: Path, spec: ExportSpec, path: Path, *, config: Config | None = None, listener: Listener = ignore
) -> Artifact:
    """Write a float file with fewer bits, calibrated by the project's training data if there is a project.

    Args:
        source: An .onnx or .tflite file.
        spec: How.
        path: The file to write.
        config: The project's; None outside of one.
        listener: Told of every step.

    Returns:
        The artifact, with its parity to the file.

    Raises:
        UsageError: The file would overwrite itself.
    """
    if source.resolve() == path.resolve():
        raise UsageError(f"{path} would overwrite its own source.", "Give another path with -o.")
    spec = replace(spec, format=format_of(source))
    if config is not None:
        spec = replace(configured(spec, config), input_names=())
    return exporting.export_file(source, spec, calibration=calibration(config), path=path, listener=listener)


def calibration(config: Config | None) -> Iterable[Any] | None:
    """Return a project's training data; None where there is none. Only this loads the user's code, and with it torch.

    Args:
        config: The project's; None outside of one.

    Returns:
        Iterable of (inputs, targets).
    """
    if config is None or not config.data.train:
        return None
    from edgeprune.flow.project import Project

    return Project(config).train
