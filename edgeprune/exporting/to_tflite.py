"""FlatModel -> TFLite, by litert-torch (extra "tflite")."""

from __future__ import annotations

import keyword
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeprune.errors import ExportError, UsageError
from edgeprune.exporting.arrays import IMAGE_DIMENSIONS
from edgeprune.exporting.converter import Converter
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.exporting.storage import scratch_folder
from edgeprune.exporting.thirdparty import failing_as, require
from edgeprune.values.spec import ExportSpec

_UNSUPPORTED = "Replace the operator in the model, or export to ONNX."


class TfliteConverter(Converter):
    """TFLite with a fixed batch, float32 at both ends."""

    def check(self, spec: ExportSpec, input_names: Sequence[str]) -> None:
        """Refuse what TFLite cannot have, and a converter that is not there.

        Args:
            spec: What is asked for.
            input_names: One per input.

        Raises:
            UsageError: An opset, an open batch dimension, another calibration than by the extremes, integer inputs of a
                precision that is not int8, or names that are no identifiers were asked for.
        """
        if spec.opset is not None:
            raise UsageError(f"TFLite has no operator set {spec.opset}.", "Leave out opset, or export to ONNX.")
        if spec.dynamic_batch:
            raise UsageError("A TFLite model has a fixed batch size.", "Leave out dynamic_batch, or export to ONNX.")
        if spec.calibration != "minmax":
            raise UsageError(
                f"The TFLite quantizer has no calibration by {spec.calibration}.", "Take minmax, or export to ONNX."
            )
        if spec.integer_io and spec.precision != "int8":
            raise UsageError(
                f"A {spec.precision} model takes and gives floats.", "Ask for integer inputs with precision int8."
            )
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
            spec: Of it, the layout of inputs and outputs matters here.
            input_names: One per input.

        Returns:
            The file.

        Raises:
            ExportError: An operator has no TFLite form.
        """
        litert_torch = require("litert_torch", "litert-torch", "tflite")
        wrapped: nn.Module = _Named(model)
        inputs = list(model.example_inputs)
        if spec.channels_last:
            wrapped, inputs = _ChannelsLast(wrapped), [_last(tensor) for tensor in inputs]
        named = dict(zip(input_names, inputs, strict=True))
        with (
            scratch_folder() as folder,
            torch.no_grad(),
            failing_as(ExportError, "The TFLite converter failed", _UNSUPPORTED),
        ):
            path = folder / "model.tflite"
            litert_torch.convert(wrapped.eval(), (), sample_kwargs=named).export(str(path))
            return path.read_bytes()


class _Named(nn.Module):
    """Takes its inputs by name: litert-torch writes the names of keyword arguments into the file."""

    def __init__(self, model: FlatModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = self.model(*inputs.values())
        return outputs


class _ChannelsLast(nn.Module):
    """Takes and gives images as (N, height, width, channels), as TFLite's own operators want them.

    litert-torch has a wrapper for this, which takes positional arguments only and so loses the inputs' names.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(**{name: _first(tensor) for name, tensor in inputs.items()})
        return tuple(_last(output) for output in outputs)


def _first(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == IMAGE_DIMENSIONS else tensor


def _last(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == IMAGE_DIMENSIONS else tensor
