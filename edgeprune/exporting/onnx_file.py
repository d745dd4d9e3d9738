"""ONNX files: parsed by onnx, run by onnxruntime."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeprune.errors import ArtifactError
from edgeprune.exporting.model_file import ModelFile, Run
from edgeprune.exporting.thirdparty import failing_as, quiet
from edgeprune.values.artifact import TensorSpec

with quiet():
    import onnx
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

ONNX_FAILURES: tuple[type[Exception], ...] = (
    importlib.import_module("google.protobuf.message").Error,  # untyped; onnx depends on it
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)
ORT_FAILURES: tuple[type[Exception], ...] = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
_SEVERITY_FATAL = 4
_INTEGER_WEIGHTS = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
_WITH_WEIGHTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_STATIC_QUANTIZERS = {"QuantizeLinear", "QLinearConv", "QLinearMatMul"}


class OnnxFile(ModelFile):
    """An ONNX model in one file."""

    def __init__(self, content: bytes, name: str) -> None:
        step = "Export or copy it again; an ONNX file starts with its IR version and holds one graph."
        with failing_as(ArtifactError, f"{name} is not a whole ONNX model", step, *ONNX_FAILURES):
            model = onnx.ModelProto.FromString(content)
            _check(model)
        self._content, self._name = content, name
        weights = {tensor.name for tensor in model.graph.initializer}
        self.inputs = tuple(_spec(value) for value in model.graph.input if value.name not in weights)
        self.outputs = tuple(_spec(value) for value in model.graph.output)
        self.opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self.ir_version = int(model.ir_version)
        self.precision = _precision(model)

    def open(self) -> Run:
        """Load the model into onnxruntime, on one thread.

        Returns:
            A callable that runs one batch.

        Raises:
            ArtifactError: This onnxruntime does not take the model.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _SEVERITY_FATAL
        step = f"onnxruntime {onnxruntime.__version__} is installed here; export for an operator set that it knows."
        with failing_as(ArtifactError, f"onnxruntime cannot load {self._name}", step, *ORT_FAILURES):
            session = onnxruntime.InferenceSession(self._content, options, providers=["CPUExecutionProvider"])
        names = [spec.name for spec in self.inputs]

        def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            with failing_as(ArtifactError, f"onnxruntime cannot run {self._name}", step, *ORT_FAILURES):
                return [np.asarray(output) for output in session.run(None, dict(zip(names, inputs, strict=True)))]

        return run


def _check(model: Any) -> None:
    # protobuf takes many a byte string for a model, and finds nothing missing when weights lie in another file.
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ValueError("its weights are in another file; save it with external_data=False")
    onnx.checker.check_model(model)
    if not model.graph.output:
        raise ValueError("its graph has no output")


def _spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return TensorSpec(value.name, shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name)


def _precision(model: Any) -> str:
    """Return the precision as its weights tell it; a file that mixes them otherwise is "unknown"."""
    types = {tensor.data_type for tensor in model.graph.initializer}
    if types & _INTEGER_WEIGHTS:
        operators = {node.op_type for node in model.graph.node}
        dynamic = "int8-dynamic" if "DynamicQuantizeLinear" in operators else "unknown"
        return dynamic if operators.isdisjoint(_STATIC_QUANTIZERS) else "int8-mixed" if _has_float(model) else "int8"
    if onnx.TensorProto.FLOAT16 in types:
        return "fp16"
    return "fp32" if onnx.TensorProto.FLOAT in types else "unknown"


def _has_float(model: Any) -> bool:
    """Return whether an operator with weights still computes in float."""
    floats = {t.name for t in model.graph.initializer if len(t.dims) >= 2 and t.data_type == onnx.TensorProto.FLOAT}
    return any(node.op_type in _WITH_WEIGHTS and not floats.isdisjoint(node.input) for node in model.graph.node)
