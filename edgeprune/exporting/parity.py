"""(model, float artifact, reduced artifact) + inputs -> ParityReport.

Conversion and quantization are told apart: the first is the distance from torch to the float file of the same
format, the second from that float file to the one with fewer bits. Δ is taken in float64 over every element of every
output. Top-1 looks at dim 1, where classes are by torch's convention: one comparison per example for outputs
(N, classes), one per position for (N, classes, …). An output without a dim 1 of at least two has no classes; where
no output has classes, there is no agreement to report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeprune.errors import ExportError
from edgeprune.exporting.arrays import is_finite
from edgeprune.exporting.model_file import Run
from edgeprune.exporting.running import chunks
from edgeprune.exporting.source import Source
from edgeprune.values.artifact import ParityReport

MAX_PARITY_EXAMPLES = 256
"""More would cost seconds and tell no more: the largest error over 256 inputs is found within a few."""

MAX_KEPT_BYTES = 64 * 2**20
"""A classifier's outputs are kilobytes; those of a segmentation network are not worth their memory."""

MAX_CONVERSION_RELATIVE = 1e-3
"""Largest conversion error that is still rounding, relative to the largest output.

float32 carries 6e-8; a hundred reordered layers stay under 1e-5 (measured: 6e-7 on a CNN of 8 layers, both
formats), and a wrong layout, padding or epsilon shows above 1e-2.
"""


@dataclass
class _Distance:
    """Running figures of |Δ| between two runs."""

    max_abs: list[float] = field(default_factory=list)
    magnitude: list[float] = field(default_factory=list)
    total: float = 0.0
    n_elements: int = 0

    def add(self, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> None:
        if not self.max_abs:
            self.max_abs, self.magnitude = [0.0] * len(expected), [0.0] * len(expected)
        for index, (a, b) in enumerate(zip(expected, actual, strict=True)):
            delta = np.abs(a.astype(np.float64) - b.astype(np.float64))
            self.max_abs[index] = max(self.max_abs[index], float(delta.max(initial=0.0)))
            self.magnitude[index] = max(self.magnitude[index], float(np.abs(a.astype(np.float64)).max(initial=0.0)))
            self.total += float(delta.sum())
            self.n_elements += delta.size

    @property
    def mean_abs(self) -> float:
        return self.total / self.n_elements if self.n_elements else 0.0

    @property
    def max_relative(self) -> float:
        """Of the worst output; one that is zero throughout allows no error."""
        pairs = zip(self.max_abs, self.magnitude, strict=True)
        return max(delta / size if size else float(delta > 0) for delta, size in pairs)


@dataclass
class _Agreement:
    """How often the largest class is the same."""

    n_same: int = 0
    n_compared: int = 0

    def add(self, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray], n_valid: int) -> None:
        for a, b in zip(expected, actual, strict=True):
            if a.ndim >= 2 and a.shape[1] >= 2:
                same = (a.argmax(axis=1) == b.argmax(axis=1))[:n_valid]
                self.n_same += int(same.sum())
                self.n_compared += same.size

    @property
    def ratio(self) -> float | None:
        return self.n_same / self.n_compared if self.n_compared else None


class Reference:
    """A model's own outputs on some inputs: what its artifacts are compared with.

    Iterating gives each batch, how many of its examples are not fill, and the outputs. They are kept for the next
    artifact of the same model while they are small, and computed anew otherwise.

    Args:
        model: What is exported.
        examples: One array per input; the first 256 examples are used.
    """

    def __init__(self, model: Source, examples: Sequence[np.ndarray]) -> None:
        self._model = model
        self._examples = [array[:MAX_PARITY_EXAMPLES] for array in examples]
        self._kept: dict[int, list[np.ndarray]] = {}
        self.n_inputs = len(self._examples[0])

    def __iter__(self) -> Iterator[tuple[list[np.ndarray], int, list[np.ndarray]]]:
        for index, (batch, n_valid) in enumerate(chunks(self._examples, self._model.batch_size)):
            outputs = self._kept[index] if index in self._kept else self._model.infer(batch)
            if sum(output.nbytes for output in outputs) * self.n_inputs <= MAX_KEPT_BYTES:
                self._kept[index] = outputs
            yield batch, n_valid, outputs


def compare(reference: Reference, converted: Run, reduced: Run | None) -> ParityReport:
    """Run artifacts on the inputs of a reference and measure how far they are apart.

    Args:
        reference: Of the model that was exported.
        converted: Its float artifact.
        reduced: Its artifact with fewer bits; None where the float one is all there is.

    Returns:
        The report.

    Raises:
        ModelError: The model gives NaN or infinity.
        ExportError: An artifact gives NaN, infinity, or outputs of other shapes than the model.
    """
    conversion, quantization, whole, agreement = _Distance(), _Distance(), _Distance(), _Agreement()
    for batch, n_valid, expected in reference:
        floats = _checked(converted(batch), expected, "converted")
        final = _checked(reduced(batch), expected, "quantized") if reduced else floats
        conversion.add(expected, floats)
        quantization.add(floats, final)
        whole.add(expected, final)
        agreement.add(expected, final, n_valid)
    return ParityReport(
        n_inputs=reference.n_inputs,
        conversion_max_abs=max(conversion.max_abs),
        conversion_max_relative=conversion.max_relative,
        quantization_max_abs=max(quantization.max_abs) if reduced else None,
        quantization_mean_abs=quantization.mean_abs if reduced else None,
        top1_agreement_ratio=agreement.ratio,
        conversion_mean_abs=conversion.mean_abs,
        whole_max_relative=whole.max_relative,
    )


def mean_distance(reference: Reference, reduced: Run) -> float:
    """Return the mean |Δ| between a model and an artifact, over every element of every output."""
    distance = _Distance()
    for batch, _, expected in reference:
        distance.add(expected, _checked(reduced(batch), expected, "quantized"))
    return distance.mean_abs


def check_conversion(report: ParityReport, name: str) -> None:
    """Refuse an artifact that conversion alone has moved away from its model.

    Args:
        report: Of the artifact.
        name: What to call it in the message.

    Raises:
        ExportError: The relative conversion error is above `MAX_CONVERSION_RELATIVE`.
    """
    if report.conversion_max_relative > MAX_CONVERSION_RELATIVE:
        raise ExportError(
            f"{name} does not agree with its model: conversion alone moved an output by "
            f"{report.conversion_max_abs:.3g}, {report.conversion_max_relative:.3g} of the largest; "
            f"{MAX_CONVERSION_RELATIVE:g} is allowed.",
            "Export to the other format to see which converter is at fault; random numbers in forward also do this.",
        )


def _checked(outputs: list[np.ndarray], expected: Sequence[np.ndarray], which: str) -> list[np.ndarray]:
    if [output.shape for output in outputs] != [output.shape for output in expected]:
        raise ExportError(
            f"The {which} model gives outputs of shape {[o.shape for o in outputs]}, "
            f"the torch model {[o.shape for o in expected]}.",
            "A shape that forward computes from data cannot be exported; make it depend on the inputs' shapes only.",
        )
    for index, output in enumerate(outputs):
        if not is_finite(output):
            raise ExportError(
                f"Output {index} of the {which} model holds NaN or infinity where the torch model does not.",
                "Numbers beyond 65504 overflow fp16; choose fp32 or int8, or scale the model's inputs.",
            )
    return outputs
