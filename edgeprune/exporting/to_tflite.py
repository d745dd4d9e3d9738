"""FlatModel -> TFLite, by litert-torch and ai-edge-quantizer (extra "tflite")."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeprune.errors import ExportError, UsageError
from edgeprune.exporting.converter import Converter
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.exporting.running import fitted
from edgeprune.exporting.storage import scratch_folder
from edgeprune.exporting.tflite_file import TfliteFile
from edgeprune.exporting.thirdparty import failing_as, require
from edgeprune.values.spec import ExportSpec

SIGNATURE = "serving_default"
"""The name that litert-torch gives to the one signature of a model."""

SMALLEST_RANGE = 1e-6
"""Activations within this of zero, over all calibration data, count as dead."""

_UNSUPPORTED = "Replace the operator in the model, or export to ONNX."
_UNQUANTIZED = "Export it as fp32, or to ONNX."


class TfliteConverter(Converter):
    """TFLite with a fixed batch, float32 at both ends."""

    def check(self, spec: ExportSpec, input_names: Sequence[str]) -> None:
        """Refuse what TFLite cannot have, and a converter that is not there.

        Args:
            spec: What is asked for.
            input_names: One per input.

        Raises:
            UsageError: An opset, an open batch dimension, or names that are no identifiers were asked for.
        """
        if spec.opset is not None:
            raise UsageError(f"TFLite has no operator set {spec.opset}.", "Leave out opset, or export to ONNX.")
        if spec.dynamic_batch:
            raise UsageError("A TFLite model has a fixed batch size.", "Leave out dynamic_batch, or export to ONNX.")
        bad = [name for name in input_names if not name.isidentifier() or keyword.iskeyword(name)]
        if bad:
            raise UsageError(
                f"{bad[0]!r} cannot name a TFLite input.",
                "Use letters, digits and underscores, not starting with a digit.",
            )
        require("ai_edge_litert.interpreter", "ai-edge-litert", "tflite")
        if spec.precision != "fp32":
            require("ai_edge_quantizer", "ai-edge-quantizer", "tflite")
        require("litert_torch", "litert-torch", "tflite")

    def convert(self, model: FlatModel, spec: ExportSpec, input_names: Sequence[str]) -> bytes:
        """Convert a model to float TFLite.

        Args:
            model: What to convert.
            spec: Nothing of it matters here.
            input_names: One per input.

        Returns:
            The file.

        Raises:
            ExportError: An operator has no TFLite form.
        """
        litert_torch = require("litert_torch", "litert-torch", "tflite")
        named = dict(zip(input_names, model.example_inputs, strict=True))
        with (
            scratch_folder() as folder,
            torch.no_grad(),
            failing_as(ExportError, "The TFLite converter failed", _UNSUPPORTED),
        ):
            path = folder / "model.tflite"
            litert_torch.convert(_Named(model).eval(), (), sample_kwargs=named).export(str(path))
            return path.read_bytes()

    def to_fp16(self, content: bytes) -> bytes:
        """Store the weights in half precision; the runtime computes in float32, or in fp16 where it has such kernels.

        Args:
            content: The float file.

        Returns:
            A file of about half the size.

        Raises:
            ExportError: The quantizer failed.
        """
        types, quantizer = _part("qtyping"), _part("quantizer")
        with failing_as(ExportError, "The TFLite fp16 converter failed", _UNQUANTIZED):
            half = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
            config = types.OpQuantizationConfig(
                weight_tensor_config=half, compute_precision=types.ComputePrecision.FLOAT, explicit_dequantize=True
            )
            work = quantizer.Quantizer(content)
            casting = quantizer.AlgorithmName.FLOAT_CASTING
            work.update_quantization_recipe(".*", types.TFLOperationName.ALL_SUPPORTED, config, casting)
            return bytes(work.quantize(enable_progress_report=False).quantized_model)

    def to_int8(self, content: bytes, batches: Iterable[Sequence[np.ndarray]]) -> bytes:
        """Quantize weights per channel and activations per tensor, scales from the calibrated minimum and maximum.

        The quantizer's own default is a moving average of the extremes; it clips (measured on a Fashion-MNIST CNN: max
        |Δ| 5.4 against 0.38, mean 0.16 against 0.043, on logits). Statistics are gathered by LiteRT's profiler, which
        finds the same extremes as reading every tensor from Python, in a fifteenth of the time.

        Args:
            content: The float file.
            batches: Calibration inputs.

        Returns:
            The quantized file.

        Raises:
            ExportError: The quantizer failed.
        """
        calibrator, quantizer = _part("calibrator"), _part("quantizer")
        extremes = _part("utils.qsv_utils").min_max_update
        inputs = TfliteFile(content, "The float model").inputs
        names = [spec.name for spec in inputs]
        feeds = [dict(zip(names, fitted(inputs, batch), strict=True)) for batch in batches]
        with failing_as(ExportError, "The TFLite quantizer failed", _UNQUANTIZED):
            recipes = _static_recipe()
            mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
            statistics = calibrator.Calibrator(content, num_threads=1, mode=mode, qsv_update_func=extremes)
            statistics.calibrate({SIGNATURE: feeds}, recipes)
            work = quantizer.Quantizer(content, recipes.get_quantization_recipe())
            result = work.quantize(
                _widened(statistics.get_model_qsvs()), enable_progress_bar=False, enable_progress_report=False
            )
            return bytes(result.quantized_model)


class _Named(nn.Module):
    """Takes its inputs by name: litert-torch writes the names of keyword arguments into the file."""

    def __init__(self, model: FlatModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = self.model(*inputs.values())
        return outputs


def _part(name: str) -> Any:
    return require(f"ai_edge_quantizer.{name}", "ai-edge-quantizer", "tflite")


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


def _static_recipe() -> Any:
    """Return int8 everywhere but at the ends of the graph: every precision takes and gives the same float32."""
    types, quantizer = _part("qtyping"), _part("quantizer")
    recipes = _part("recipe_manager").RecipeManager()
    recipes.load_quantization_recipe(_part("recipe").static_wi8_ai8())
    for end in (types.TFLOperationName.INPUT, types.TFLOperationName.OUTPUT):
        recipes.add_quantization_config(".*", end, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
    return recipes
