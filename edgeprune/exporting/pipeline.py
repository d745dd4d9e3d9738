"""Source + ExportSpec -> Artifact: the stage in one read. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.errors import ModelError, UsageError
from edgeprune.exporting.arrays import channels_last, turned
from edgeprune.exporting.calibration import CalibrationData, random_like
from edgeprune.exporting.loading import described
from edgeprune.exporting.mixed import RANKING_EXAMPLES, below_floor, fewest, ranked, shortfall
from edgeprune.exporting.model_file import Run, format_of, parse
from edgeprune.exporting.parity import Reference, check_conversion, compare
from edgeprune.exporting.reducer import Batches, Reducer, reducer
from edgeprune.exporting.running import chunks, opened
from edgeprune.exporting.source import Source
from edgeprune.exporting.storage import check_target, write_atomically
from edgeprune.values.artifact import Artifact, ParityReport
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.spec import CALIBRATED, ExportSpec

STEPS = ("convert", "quantize", "check", "write")


@dataclass(frozen=True, slots=True)
class _Made:
    """A file before it is written: its bytes, the float file beside it, and the layers that stayed float."""

    content: bytes
    plain: bytes
    work: Reducer | None = None
    kept: tuple[str, ...] = ()


class Pipeline:
    """Makes any number of artifacts of one network; reads the calibration data once.

    Args:
        source: The network.
        calibration: Iterable of (inputs, targets), needed for int8 and int8-mixed; parity is measured on it.
        listener: Told of each step.
    """

    def __init__(
        self, source: Source, *, calibration: Iterable[Any] | None = None, listener: Listener = ignore
    ) -> None:
        self._source = source
        self._data = None if calibration is None else CalibrationData(calibration, source.example_arrays)
        self._listener = listener
        self._references: dict[int, Reference] = {}

    def export(self, spec: ExportSpec, path: Path | str) -> Artifact:
        """Make one artifact.

        Args:
            spec: Format, precision and the rest.
            path: Of the file to write; its suffix is the format's.

        Returns:
            The artifact, its parity report included.

        Raises:
            UsageError: A precision that needs calibration data without such, or something that the format cannot have.
            ModelError: The model gives NaN or infinity.
            DataError: The calibration data does not fit the model, or holds NaN or infinity.
            ExportError: The converter failed, its result does not agree with the model, or misses its floor.
            StorageError: The file cannot be written; nothing of it is left.
            MissingExtra: The format's converter is not installed.
        """
        path = Path(path)
        self._check(spec, path)
        examples = self._examples(spec)
        self._tell(path, 0)
        plain = self._source.float_file(spec)
        self._tell(path, 1)
        made = self._reduced(spec, plain, examples)
        self._tell(path, 2)
        report = self._report(spec, made, examples)
        check_conversion(report, path.name)
        self._check_floor(spec, made, report, examples, path.name)
        self._tell(path, 3)
        write_atomically(path, made.content)
        self._tell(path, 4)
        artifact = described(
            path, made.content, spec.format, parse(made.content, spec.format, path.name), spec.precision, report
        )
        return replace(artifact, float_layers=made.kept)

    def _check(self, spec: ExportSpec, path: Path) -> None:
        # Whatever can be found wrong is found here, before the first second is spent.
        if format_of(path) != spec.format:
            raise UsageError(f"{path} does not end in .{spec.format}.", "Let suffix and format agree.")
        if spec.precision in CALIBRATED and self._data is None:
            raise UsageError(
                f"{spec.precision} needs calibration data.",
                "Give a loader of training data as `calibration`, or take int8-dynamic, which needs none.",
            )
        check_target(path)
        self._source.check(spec)

    def _examples(self, spec: ExportSpec) -> list[np.ndarray]:
        if self._data is not None:
            return self._data.take(spec.calibration_batches)
        given = self._source.example_arrays
        return [np.concatenate(both) for both in zip(given, random_like(given), strict=True)]

    def _reference(self, examples: Sequence[np.ndarray]) -> Reference:
        # The examples are the first so many of the one loader, so that their number tells them apart.
        return self._references.setdefault(len(examples[0]), Reference(self._source, examples))

    def _reduced(self, spec: ExportSpec, plain: bytes, examples: Sequence[np.ndarray]) -> _Made:
        if spec.precision == "fp32":
            return _Made(plain, plain)
        given = channels_last(examples) if spec.channels_last else examples
        work = reducer(plain, spec, self._batches(given) if spec.precision in CALIBRATED else ())
        if spec.precision != "int8-mixed":
            return _Made(work.reduced(), plain, work)
        kept = self._kept(spec, work, plain, examples)
        return _Made(work.reduced(kept), plain, work, tuple(kept))

    def _kept(self, spec: ExportSpec, work: Reducer, plain: bytes, examples: Sequence[np.ndarray]) -> list[str]:
        run, reference = _loader(spec), self._reference(examples)
        as_float = run(plain)

        def holds(kept: Sequence[str]) -> bool:
            return not shortfall(compare(reference, as_float, run(work.reduced(kept))), spec)

        return [] if holds([]) else fewest(self._ranking(work, run, examples), holds)

    def _ranking(self, work: Reducer, run: Callable[[bytes], Run], examples: Sequence[np.ndarray]) -> list[str]:
        return ranked(work, self._reference([array[:RANKING_EXAMPLES] for array in examples]), run)

    def _report(self, spec: ExportSpec, made: _Made, examples: Sequence[np.ndarray]) -> ParityReport:
        run = _loader(spec)
        plain = run(made.plain)
        final = None if made.content is made.plain else run(made.content)
        report = compare(self._reference(examples), plain, final)
        if self._data is None:
            return report
        noise = random_like([array[: self._source.batch_size] for array in examples])
        try:
            return replace(report, random=compare(Reference(self._source, noise), plain, final))
        except ModelError:  # a network may well be undefined on noise
            return report

    def _check_floor(
        self, spec: ExportSpec, made: _Made, report: ParityReport, examples: Sequence[np.ndarray], name: str
    ) -> None:
        if lack := shortfall(report, spec):
            worst = self._ranking(made.work, _loader(spec), examples)[0] if made.work else None
            raise below_floor(name, lack, worst)

    def _batches(self, examples: Sequence[np.ndarray]) -> Batches:
        return (batch for batch, _ in chunks(examples, self._source.batch_size))

    def _tell(self, path: Path, done: int) -> None:
        message = STEPS[done] if done < len(STEPS) else ""
        self._listener(Event("export", path.name, done, len(STEPS), "steps", message))


def _loader(spec: ExportSpec) -> Callable[[bytes], Run]:
    def run(content: bytes) -> Run:
        loaded = opened(parse(content, spec.format, f"the {spec.precision} model"))
        return turned(loaded) if spec.channels_last else loaded

    return run
