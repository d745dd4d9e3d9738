"""A float file -> the same network with fewer bits. One subclass a format and precision; no torch.

A reducer works as well on a file that came from elsewhere. What every version of the file needs, such as ranges of
activations, it finds once; layers that are to stay float are named by the call, so that a search over them is cheap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, cast

from edgeprune.errors import ExportError
from edgeprune.exporting.thirdparty import failing_as
from edgeprune.registry import Registry
from edgeprune.values.spec import ExportSpec

if TYPE_CHECKING:
    import numpy as np

Batches = Iterable[Sequence["np.ndarray"]]
"""Calibration inputs, each of the file's own batch size; empty where the precision needs none."""

REDUCERS = Registry(
    "reduction",
    {
        "onnx fp16": "edgeprune.exporting.onnx_reducers:OnnxHalf",
        "onnx int8": "edgeprune.exporting.onnx_reducers:OnnxStatic",
        "onnx int8-mixed": "edgeprune.exporting.onnx_reducers:OnnxStatic",
        "onnx int8-dynamic": "edgeprune.exporting.onnx_reducers:OnnxDynamic",
        "tflite fp16": "edgeprune.exporting.tflite_reducers:TfliteHalf",
        "tflite int8": "edgeprune.exporting.tflite_reducers:TfliteStatic",
        "tflite int8-mixed": "edgeprune.exporting.tflite_reducers:TfliteStatic",
        "tflite int8-dynamic": "edgeprune.exporting.tflite_reducers:TfliteDynamic",
    },
    extra="tflite",
)


class Reducer(ABC):
    """A float file, ready to be written with fewer bits.

    Attributes:
        layers: Names of what can be left in float: each operator with weights, and the operators up to the next one.
        tool: What does the work, in the words of an error.
        next_step: What to do when it fails.
        failures: What it raises beyond the usual.
    """

    layers: Mapping[str, Sequence[str]]
    tool: ClassVar[str]
    next_step: ClassVar[str]
    failures: ClassVar[tuple[type[Exception], ...]] = ()

    @abstractmethod
    def __init__(self, content: bytes, spec: ExportSpec, batches: Batches) -> None:
        """Prepare a file.

        Args:
            content: The float file.
            spec: Its precision, and how to calibrate.
            batches: Calibration inputs.

        Raises:
            ExportError: The converter failed.
        """

    def reduced(self, keep: Collection[str] = ()) -> bytes:
        """Write the file with fewer bits.

        Args:
            keep: Layers that stay float.

        Returns:
            The smaller file.

        Raises:
            ExportError: The converter failed, or a weight is too large for the precision.
        """
        with self.failing():
            return self._written([name for layer in keep for name in self.layers[layer]])

    @abstractmethod
    def _written(self, kept: list[str]) -> bytes:
        """Write the file with fewer bits, the operators `kept` in float."""

    def failing(self) -> AbstractContextManager[None]:
        """Return a block in which a failure of the tool becomes an ExportError."""
        return failing_as(ExportError, f"{self.tool} failed", self.next_step, *self.failures)


def reducer(content: bytes, spec: ExportSpec, batches: Batches) -> Reducer:
    """Prepare a float file for the precision of a spec.

    Args:
        content: The float file, of the spec's format.
        spec: Of any precision but fp32.
        batches: Calibration inputs, each of the file's own batch size.

    Returns:
        The reducer.

    Raises:
        ExportError: The converter failed.
        MissingExtra: The format's quantizer is not installed.
    """
    return cast("Reducer", REDUCERS.load(f"{spec.format} {spec.precision}")(content, spec, batches))


def layered(operators: Iterable[tuple[str, bool]]) -> dict[str, list[str]]:
    """Put operators together into layers.

    Args:
        operators: Name, and whether it has weights, in the order of the graph.

    Returns:
        Each operator with weights and those after it up to the next; what stands before the first belongs to it.
    """
    layers: dict[str, list[str]] = {}
    waiting: list[str] = []
    current = waiting
    for name, has_weights in operators:
        if has_weights:
            current = layers.setdefault(name, [] if layers else waiting)
        current.append(name)
    return layers or ({waiting[0]: waiting} if waiting else {})
