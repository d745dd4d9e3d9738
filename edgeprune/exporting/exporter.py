"""nn.Module + ExportSpec -> Artifact: the stage's front door for torch models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgeprune.errors import UsageError
from edgeprune.exporting.model_file import SUFFIXES
from edgeprune.exporting.pipeline import Pipeline
from edgeprune.exporting.storage import make_folder
from edgeprune.exporting.torch_source import TorchSource
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Listener, ignore
from edgeprune.values.spec import ExportSpec


class Exporter(Pipeline):
    """Makes any number of artifacts of one model; converts once per format and reads the calibration data once.

    Args:
        model: Copied at once: what happens to it afterwards, or during an export, does not matter to either side.
        example_inputs: What its forward takes, batch first; their batch size becomes the artifacts'.
        calibration: Iterable of (inputs, targets), needed for int8 and int8-mixed; parity is measured on it.
        listener: Told of each step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        example_inputs: tuple[Tensor, ...],
        calibration: Iterable[Any] | None = None,
        listener: Listener = ignore,
    ) -> None:
        super().__init__(TorchSource(model, example_inputs), calibration=calibration, listener=listener)


def export(
    model: nn.Module,
    spec: ExportSpec,
    *,
    example_inputs: tuple[Tensor, ...],
    calibration: Iterable[Any] | None = None,
    path: Path | str,
    listener: Listener = ignore,
) -> Artifact:
    """Export a model to one file and report how well it agrees with the model.

    Args:
        model: Left exactly as found, its training flag included; its copy is exported in eval mode.
        spec: Format, precision and the rest.
        example_inputs: What its forward takes, batch first; their batch size becomes the artifact's.
        calibration: Iterable of (inputs, targets), needed for int8 and int8-mixed; parity is measured on it, or,
            without it, on the example inputs and seeded random ones.
        path: Of the file to write; it appears whole or not at all.
        listener: Told of each step.

    Returns:
        The artifact. See `Exporter.export` for what can be wrong.
    """
    return Exporter(model, example_inputs=example_inputs, calibration=calibration, listener=listener).export(spec, path)


def export_all(
    model: nn.Module,
    specs: Sequence[ExportSpec],
    *,
    example_inputs: tuple[Tensor, ...],
    calibration: Iterable[Any] | None = None,
    folder: Path | str,
    listener: Listener = ignore,
) -> tuple[Artifact, ...]:
    """Export a model in several ways, converting once per format.

    Args:
        model: As for `export`.
        specs: One per artifact, each of its own format and precision.
        example_inputs: As for `export`.
        calibration: As for `export`.
        folder: Made if missing; the files are called `<precision>.<format>`, such as int8.onnx.
        listener: Told of each step of each artifact.

    Returns:
        The artifacts, in the order of the specs.

    Raises:
        UsageError: Two specs would write the same file.
    """
    folder = Path(folder)
    paths = [folder / f"{spec.precision}{_suffix(spec.format)}" for spec in specs]
    if len(set(paths)) != len(paths):
        raise UsageError(
            "Two specs have the same format and precision.", "Use an Exporter and give each artifact its own path."
        )
    make_folder(folder)
    exporter = Exporter(model, example_inputs=example_inputs, calibration=calibration, listener=listener)
    return tuple(exporter.export(spec, path) for spec, path in zip(specs, paths, strict=True))


def _suffix(format_name: str) -> str:
    return next(suffix for suffix, name in SUFFIXES.items() if name == format_name)
