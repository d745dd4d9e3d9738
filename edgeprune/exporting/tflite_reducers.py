"""Float TFLite -> fp16 weights, static int8, dynamic-range int8, by ai-edge-quantizer (extra "tflite")."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from edgeprune.exporting.reducer import Batches, Reducer, layered
from edgeprune.exporting.running import fitted
from edgeprune.exporting.tflite_file import TfliteFile
from edgeprune.exporting.thirdparty import require
from edgeprune.values.spec import ExportSpec

SMALLEST_RANGE = 1e-6
"""Activations within this of zero, over all calibration data, count as dead."""

_EVERYTHING = ".*"


class _TfliteReducer(Reducer):
    tool = "The TFLite quantizer"
    next_step = "Export it as fp32, or to ONNX."

    def __init__(self, content: bytes, spec: ExportSpec, batches: Batches) -> None:
        self._content = content
        with self.failing():
            self.layers = _layers(content)


class TfliteHalf(_TfliteReducer):
    """Weights in half precision; the runtime computes in float32, or in fp16 where it has such kernels."""

    tool = "The TFLite fp16 converter"

    def _written(self, kept: list[str]) -> bytes:
        types, quantizer = _part("qtyping"), _part("quantizer")
        half = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
        config = types.OpQuantizationConfig(
            weight_tensor_config=half, compute_precision=types.ComputePrecision.FLOAT, explicit_dequantize=True
        )
        recipes = _part("recipe_manager").RecipeManager()
        everything, casting = types.TFLOperationName.ALL_SUPPORTED, quantizer.AlgorithmName.FLOAT_CASTING
        recipes.add_quantization_config(_EVERYTHING, everything, config, casting)
        return _quantized(self._content, recipes, kept)


class TfliteDynamic(_TfliteReducer):
    """Weights in int8 per channel, activations scaled by the runtime as they come: needs no calibration data."""

    def _written(self, kept: list[str]) -> bytes:
        return _quantized(self._content, _recipes_of("dynamic_wi8_afp32"), kept)


class TfliteStatic(_TfliteReducer):
    """Weights in int8 per channel and activations per tensor, scales from the calibrated minimum and maximum.

    The quantizer's own default is a moving average of the extremes; it clips (measured on a Fashion-MNIST CNN: max
    |Δ| 5.4 against 0.38, mean 0.16 against 0.043, on logits). Statistics are gathered by LiteRT's profiler, which finds
    the same extremes as reading every tensor from Python, in a fifteenth of the time.
    """

    def __init__(self, content: bytes, spec: ExportSpec, batches: Batches) -> None:
        super().__init__(content, spec, batches)
        self._integer_io = spec.integer_io
        self._ranges = self._calibrated(batches)

    def _calibrated(self, batches: Batches) -> dict[str, Any]:
        calibrator = _part("calibrator")
        file = TfliteFile(self._content, "The float model")
        names = [spec.name for spec in file.inputs]
        feeds = [dict(zip(names, fitted(file.inputs, batch), strict=True)) for batch in batches]
        with self.failing():
            statistics = calibrator.Calibrator(
                self._content, num_threads=1, mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
                qsv_update_func=_part("utils.qsv_utils").min_max_update,
            )  # fmt: skip
            statistics.calibrate({file.signature: feeds}, self._recipes())
            return _widened(_unpadded(statistics.get_model_qsvs(), self._content))

    def _written(self, kept: list[str]) -> bytes:
        return _quantized(self._content, self._recipes(), kept, self._ranges)

    def _recipes(self) -> Any:
        # Unless asked otherwise the ends of the graph stay float: every precision takes and gives the same.
        recipes = _recipes_of("static_wi8_ai8")
        types = _part("qtyping").TFLOperationName
        for end in () if self._integer_io else (types.INPUT, types.OUTPUT):
            _leave_float(recipes, _EVERYTHING, end)
        return recipes


def _recipes_of(name: str) -> Any:
    recipes = _part("recipe_manager").RecipeManager()
    recipes.load_quantization_recipe(getattr(_part("recipe"), name)())
    return recipes


def _quantized(content: bytes, recipes: Any, kept: list[str], ranges: dict[str, Any] | None = None) -> bytes:
    if kept:
        pattern = f"^(?:{'|'.join(map(re.escape, kept))})$"
        _leave_float(recipes, pattern, _part("qtyping").TFLOperationName.ALL_SUPPORTED)
    work = _part("quantizer").Quantizer(content, recipes.get_quantization_recipe())
    result = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _leave_float(recipes: Any, pattern: str, operation: Any) -> None:
    never = _part("quantizer").AlgorithmName.NO_QUANTIZE
    recipes.add_quantization_config(pattern, operation, algorithm_key=never)


def _layers(content: bytes) -> dict[str, list[str]]:
    """Return the layers of the one graph, operators called as the quantizer calls them."""
    tools = _part("utils.tfl_flatbuffer_utils")
    model = tools.read_model(content)
    graph = model.subgraphs[0]
    matrices = {index for index, tensor in enumerate(graph.tensors) if _is_matrix(model, tensor)}
    return layered(
        (tools.get_op_scope(operator, graph.tensors), not matrices.isdisjoint(operator.inputs))
        for operator in graph.operators
    )


def _is_matrix(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0 and tensor.shape is not None and len(tensor.shape) >= 2


def _part(name: str) -> Any:
    return require(f"ai_edge_quantizer.{name}", "ai-edge-quantizer", "tflite")


def _unpadded(ranges: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Return the ranges, those of what is padded for a maximum without the padding.

    Torch's max pooling pads by minus infinity, which gives a scale of infinity. In int8 the least number does the same.
    """
    tools, padding = _part("utils.tfl_flatbuffer_utils"), _part("qtyping").BuiltinOperator.PADV2
    model = tools.read_model(content)
    tensors = model.subgraphs[0].tensors
    found = dict(ranges)
    for operator in model.subgraphs[0].operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode == padding:
            before, after = (tools.get_tensor_name(tensors[at]) for at in (operator.inputs[0], operator.outputs[0]))
            if np.isneginf(found.get(after, {}).get("min", 0.0)).all():
                found[after] = found[before]
    return found


def _widened(ranges: dict[str, Any]) -> dict[str, Any]:
    """Return the ranges, those of dead activations made one wide.

    A range of zero gives a scale of next to zero, and with it the bias of the next layer leaves int32 and is clipped.
    Nothing is lost: these activations are zero at any scale.
    """
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    dead = {
        name: {**seen, "min": zero.reshape(seen["min"].shape), "max": one.reshape(seen["max"].shape)}
        for name, seen in ranges.items()
        if "min" in seen and seen["min"].size == 1 and max(abs(seen["min"]), abs(seen["max"])) < SMALLEST_RANGE
    }
    return {**ranges, **dead}
