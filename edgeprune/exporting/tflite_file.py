"""TFLite files: parsed and run by LiteRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeprune.errors import ArtifactError
from edgeprune.exporting.model_file import ModelFile, Run
from edgeprune.exporting.thirdparty import failing_as, require
from edgeprune.values.artifact import TensorSpec

IDENTIFIER = b"TFL3"
"""The flatbuffer file identifier, at byte 4."""


class TfliteFile(ModelFile):
    """A TFLite model.

    Attributes:
        signature: Name of the first signature; None in a file that has none.
    """

    signature: str | None

    def __init__(self, content: bytes, name: str) -> None:
        runtime = require("ai_edge_litert.interpreter", "ai-edge-litert", "tflite")
        step = "Export or copy it again."
        if content[4:8] != IDENTIFIER:
            raise ArtifactError(f"{name} is not a TFLite model: it lacks the identifier TFL3.", step)
        self._name = name
        with failing_as(ArtifactError, f"{name} is not a whole TFLite model", step):
            self._interpreter = runtime.Interpreter(model_content=content, num_threads=1)
            given, made = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            self.signature = next(iter(self._interpreter.get_signature_list()), None)
            names = _signature_names(self._interpreter, self.signature)
            self.inputs = tuple(_spec(detail, names) for detail in given)
            self.outputs = tuple(_spec(detail, names) for detail in made)
            self.precision = _precision(self._interpreter.get_tensor_details(), {d["index"] for d in [*given, *made]})
        self._inputs = [detail["index"] for detail in given]
        self._outputs = [detail["index"] for detail in made]

    def open(self) -> Run:
        """Allocate the interpreter's tensors; its number of threads is one.

        Returns:
            A callable that runs one batch.

        Raises:
            ArtifactError: This LiteRT does not take the model.
        """
        step = "Its operators may be newer than the ai-edge-litert that is installed here."
        with failing_as(ArtifactError, f"LiteRT cannot load {self._name}", step):
            self._interpreter.allocate_tensors()

        def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            with failing_as(ArtifactError, f"LiteRT cannot run {self._name}", step):
                self._resize(inputs)
                for index, array in zip(self._inputs, inputs, strict=True):
                    self._interpreter.set_tensor(index, array)
                self._interpreter.invoke()
                return [self._interpreter.get_tensor(index) for index in self._outputs]

        return run

    def _resize(self, inputs: Sequence[np.ndarray]) -> None:
        """Give open dimensions the size of these inputs."""
        stale = [
            (detail["index"], array.shape)
            for detail, array in zip(self._interpreter.get_input_details(), inputs, strict=True)
            if tuple(detail["shape"]) != array.shape
        ]
        for index, shape in stale:
            self._interpreter.resize_tensor_input(index, shape)
        if stale:
            self._interpreter.allocate_tensors()


def _signature_names(interpreter: Any, signature: str | None) -> dict[int, str]:
    """Return the names of a signature by tensor index; a file without one has none."""
    if signature is None:
        return {}
    runner = interpreter.get_signature_runner(signature)
    details = {**runner.get_input_details(), **runner.get_output_details()}
    return {detail["index"]: name for name, detail in details.items()}


def _spec(detail: Mapping[str, Any], names: Mapping[int, str]) -> TensorSpec:
    declared = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    shape = tuple(int(size) for size in declared)
    dtype, (scale, zero_point) = np.dtype(detail["dtype"]), detail["quantization"]
    quantized = dtype.kind in "iu" and scale > 0
    return TensorSpec(
        names.get(detail["index"], detail["name"]), shape, dtype.name,
        float(scale) if quantized else None, int(zero_point) if quantized else None,
    )  # fmt: skip


def _precision(tensors: Sequence[Mapping[str, Any]], ends: set[int]) -> str:
    """Return the precision of the tensors between the ends; where some stay float beside int8, it is "unknown"."""
    inner = [tensor for tensor in tensors if tensor["index"] not in ends and tensor["shape"].size]
    types = {np.dtype(tensor["dtype"]).name for tensor in inner}
    if "int8" in types or "uint8" in types:
        return "unknown" if "float32" in types else "int8"
    if "float16" in types:
        return "fp16"
    return "fp32" if "float32" in types else "unknown"
