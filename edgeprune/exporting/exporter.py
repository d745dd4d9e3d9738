"""nn.Module + ExportSpec -> Artifact: the stage in one read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from edgeprune.errors import UsageError
from edgeprune.exporting.calibration import CalibrationData, random_like
from edgeprune.exporting.converter import CONVERTERS, Converter, named_inputs
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.exporting.layout import channels_last, turned
from edgeprune.exporting.loading import described
from edgeprune.exporting.model_file import SUFFIXES, ModelFile, Run, format_of, parse
from edgeprune.exporting.parity import Reference, check_conversion, compare
from edgeprune.exporting.reducer import Batches, reducer
from edgeprune.exporting.running import chunks, opened
from edgeprune.exporting.storage import check_target, make_folder, write_atomically
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.spec import CALIBRATED, ExportSpec

STEPS = ("convert", "quantize", "check", "write")


class Exporter:
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
        self._model = FlatModel(model, example_inputs)
        self._data = None if calibration is None else CalibrationData(calibration, self._model.example_arrays)
        self._listener = listener
        self._converted: dict[tuple[Any, ...], bytes] = {}
        self._references: dict[int, Reference] = {}

    def export(self, spec: ExportSpec, path: Path | str) -> Artifact:
        """Make one artifact.

        Args:
            spec: Format, precision and the rest.
            path: Of the file to write; its suffix is the format's.

        Returns:
            The artifact, its parity report included.

        Raises:
            UsageError: int8 without calibration data, or something that the format cannot have.
            ModelError: The model gives NaN or infinity.
            DataError: The calibration data does not fit the model, or holds NaN or infinity.
            ExportError: The converter failed, or its result does not agree with the model.
            StorageError: The file cannot be written; nothing of it is left.
            MissingExtra: The format's converter is not installed.
        """
        path = Path(path)
        names = named_inputs(spec, len(self._model.example_inputs))
        converter = self._ready(spec, names, path)
        examples = self._examples(spec)
        self._tell(path, 0)
        converted = self._convert_once(converter, spec, names)
        self._tell(path, 1)
        content = self._reduced(spec, converted, examples)
        self._tell(path, 2)
        file = parse(content, spec.format, path.name)
        plain = file if content is converted else parse(converted, spec.format, f"the float model of {path.name}")
        report = compare(self._reference(examples), _run(plain, spec), None if file is plain else _run(file, spec))
        check_conversion(report, path.name)
        self._tell(path, 3)
        write_atomically(path, content)
        self._tell(path, 4)
        return described(path, content, spec.format, file, spec.precision, report)

    def _ready(self, spec: ExportSpec, names: Sequence[str], path: Path) -> Converter:
        # Whatever can be found wrong is found here, before the first second is spent.
        if format_of(path) != spec.format:
            raise UsageError(f"{path} does not end in .{spec.format}.", "Let suffix and format agree.")
        if spec.precision in CALIBRATED and self._data is None:
            raise UsageError(
                f"{spec.precision} needs calibration data.",
                "Give a loader of training data as `calibration`, or take int8-dynamic, which needs none.",
            )
        check_target(path)
        converter: Converter = CONVERTERS.load(spec.format)()
        converter.check(spec, names)
        return converter

    def _examples(self, spec: ExportSpec) -> list[np.ndarray]:
        if self._data is None:
            return random_like(self._model.example_arrays)
        return self._data.take(spec.calibration_batches)

    def _reference(self, examples: Sequence[np.ndarray]) -> Reference:
        # The examples are the first so many of the one loader, so that their number tells them apart.
        return self._references.setdefault(len(examples[0]), Reference(self._model, examples))

    def _convert_once(self, converter: Converter, spec: ExportSpec, names: tuple[str, ...]) -> bytes:
        key = (spec.format, spec.opset, spec.dynamic_batch, spec.channels_last, names)
        if key not in self._converted:
            self._converted[key] = converter.convert(self._model, spec, names)
        return self._converted[key]

    def _reduced(self, spec: ExportSpec, converted: bytes, examples: Sequence[np.ndarray]) -> bytes:
        if spec.precision == "fp32":
            return converted
        given = channels_last(examples) if spec.channels_last else examples
        batches = _batches(given, self._model.batch_size) if spec.precision in CALIBRATED else ()
        return reducer(converted, spec, batches).reduced()

    def _tell(self, path: Path, done: int) -> None:
        message = STEPS[done] if done < len(STEPS) else ""
        self._listener(Event("export", path.name, done, len(STEPS), "steps", message))


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


def _run(file: ModelFile, spec: ExportSpec) -> Run:
    return turned(opened(file)) if spec.channels_last else opened(file)


def _batches(examples: Sequence[np.ndarray], size: int) -> Batches:
    return (batch for batch, _ in chunks(examples, size))
