"""FlatModel -> ONNX, by torch.onnx (dynamo) and onnxruntime's quantizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from edgeprune.errors import ExportError, UsageError
from edgeprune.exporting.converter import Converter, output_names
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.exporting.onnx_file import ONNX_FAILURES, ORT_FAILURES
from edgeprune.exporting.storage import scratch_folder
from edgeprune.exporting.thirdparty import failing_as, quiet
from edgeprune.values.spec import ExportSpec

with quiet():
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

OLDEST_OPSET = 7
TORCH_OPSET = 18
"""torch writes no older operator set; older ones are reached by onnx's version converter."""

FP16_MAX = float(np.finfo(np.float16).max)

_UNSUPPORTED = "Replace the operator in the model, or export to the other format."
_UNQUANTIZED = "Export it as fp32, or report the model with the message."


class OnnxConverter(Converter):
    """ONNX in one file, batch norm folded into its convolution, no trace of the machine that wrote it."""

    def check(self, spec: ExportSpec, input_names: Sequence[str]) -> None:
        """Refuse an operator set that the installed onnx does not know.

        Args:
            spec: What is asked for.
            input_names: Any names will do.

        Raises:
            UsageError: The operator set does not exist.
        """
        newest = onnx.defs.onnx_opset_version()
        if spec.opset is not None and not OLDEST_OPSET <= spec.opset <= newest:
            raise UsageError(
                f"There is no ONNX operator set {spec.opset} here.", f"Give one from {OLDEST_OPSET} to {newest}."
            )

    def convert(self, model: FlatModel, spec: ExportSpec, input_names: Sequence[str]) -> bytes:
        """Convert a model to float ONNX.

        Args:
            model: What to convert.
            spec: Opset and dynamic batch.
            input_names: One per input.

        Returns:
            The file.

        Raises:
            ExportError: An operator has no ONNX form, or none in the operator set.
        """
        inputs = model.example_inputs
        shapes: Any = None
        if spec.dynamic_batch:
            # torch.export takes a batch of one for a constant, so the open dimension is shown a batch of two or more.
            inputs = tuple(torch.cat([tensor, tensor]) for tensor in inputs)
            shapes = (tuple({0: "batch"} for _ in inputs),)
        with torch.no_grad(), failing_as(ExportError, "The ONNX converter failed", _UNSUPPORTED, *ONNX_FAILURES):
            program: Any = torch.onnx.export(
                model,
                inputs,
                dynamo=True,
                verbose=False,
                input_names=list(input_names),
                output_names=output_names(model),
                opset_version=None if spec.opset is None else max(spec.opset, TORCH_OPSET),
                dynamic_shapes=shapes,
            )
            proto = program.model_proto
        if spec.opset is not None and spec.opset < TORCH_OPSET:
            proto = _down(proto, spec.opset)
        return _clean(proto)

    def to_fp16(self, content: bytes) -> bytes:
        """Compute in half precision between float32 inputs and outputs.

        onnxruntime computes fp16 in float32 on most CPUs, so that activations which overflow do so on the board only;
        weights that do not fit are found here.

        Args:
            content: The float file.

        Returns:
            A file of about half the size.

        Raises:
            ExportError: The converter failed, or a weight is too large.
        """
        with failing_as(ExportError, "The fp16 converter failed", _UNQUANTIZED, *ONNX_FAILURES):
            model = onnx.ModelProto.FromString(content)
            _refuse_large_weights(model)
            half = OnnxModel(convert_float_to_float16(model, keep_io_types=True, max_finite_val=FP16_MAX))
            half.topological_sort()  # the converter appends its casts behind the nodes that read them
            return _clean(half.model)

    def to_int8(self, content: bytes, batches: Iterable[Sequence[np.ndarray]]) -> bytes:
        """Insert QuantizeLinear and DequantizeLinear pairs, scales from the calibrated minimum and maximum.

        Weights are int8 per channel; activations are uint8, because onnxruntime's x86 kernels fuse ReLU, depthwise
        convolutions and sums only for those (measured, a CNN of 38 k parameters on AVX-512 VNNI: fp32 133 µs, uint8
        activations 64 µs, int8 activations 192 µs, equal accuracy). Minimum and maximum were chosen over entropy (same
        figures) and percentile 99.999 (top-1 agreement 99.4 % against 99.35 %, within noise, and less predictable).

        Args:
            content: The float file.
            batches: Calibration inputs.

        Returns:
            The quantized file.

        Raises:
            ExportError: The quantizer failed.
        """
        model = onnx.ModelProto.FromString(content)
        reader = _Reader([value.name for value in model.graph.input], batches)
        failures = (*ONNX_FAILURES, *ORT_FAILURES)
        with scratch_folder() as folder, failing_as(ExportError, "The ONNX quantizer failed", _UNQUANTIZED, *failures):
            prepared, quantized = folder / "prepared.onnx", folder / "int8.onnx"
            quant_pre_process(model, prepared)
            quantize_static(
                prepared,
                quantized,
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=False,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            return _clean(onnx.load(quantized))


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands batches to onnxruntime's calibrator, by name."""

    def __init__(self, names: Sequence[str], batches: Iterable[Sequence[np.ndarray]]) -> None:
        self._feeds = (dict(zip(names, batch, strict=True)) for batch in batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _refuse_large_weights(model: Any) -> None:
    # The converter itself would clip such a weight, with a warning at most.
    for tensor in model.graph.initializer:
        largest = np.abs(onnx.numpy_helper.to_array(tensor).astype(np.float64)).max(initial=0.0)
        if tensor.data_type == onnx.TensorProto.FLOAT and largest > FP16_MAX:
            raise OverflowError(f"{tensor.name} holds {largest:.3g}, fp16 ends at {FP16_MAX:g}")


def _clean(model: Any) -> bytes:
    """Return the bytes without stack traces and doc strings, which name the machine that made them.

    The optimizer declares every operator domain that it knows; those that no node uses go too, since a runtime may
    refuse a domain that it does not know.
    """
    for value in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
    ):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    used = {"", "ai.onnx", *(node.domain for node in model.graph.node)}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _down(model: Any, opset: int) -> Any:
    """Return the model in an older operator set."""
    step = f"Give an opset from {TORCH_OPSET}, or replace the operator that the message names."
    with failing_as(ExportError, f"The model cannot be written in operator set {opset}", step, *ONNX_FAILURES):
        older = onnx.version_converter.convert_version(model, opset)
        for node in older.graph.node:
            known = onnx.defs.get_schema(node.op_type, opset, node.domain).attributes
            # The version converter leaves attributes that the older operator does not have; dropping one is sound only
            # where it holds its default, which the parity check proves.
            kept = [attribute for attribute in node.attribute if attribute.name in known]
            del node.attribute[:]
            node.attribute.extend(kept)
        onnx.checker.check_model(older)
    return older
