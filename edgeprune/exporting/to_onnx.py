"""FlatModel -> ONNX, by torch.onnx (dynamo)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgeprune.errors import ExportError, UsageError
from edgeprune.exporting.converter import Converter, output_names
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.exporting.onnx_bytes import to_bytes
from edgeprune.exporting.onnx_file import ONNX_FAILURES
from edgeprune.exporting.onnx_opset import lowered
from edgeprune.exporting.runtimes import DEFAULT_OPSET
from edgeprune.exporting.thirdparty import failing_as, quiet
from edgeprune.values.spec import ExportSpec

with quiet():
    import onnx

OLDEST_OPSET = 7
TORCH_OPSET = 18
"""torch writes no older operator set; older ones are reached by onnx's version converter."""

_UNSUPPORTED = "Replace the operator in the model, or export to the other format."


class OnnxConverter(Converter):
    """ONNX in one file, batch norm folded into its convolution, no trace of the machine that wrote it."""

    def check(self, spec: ExportSpec, input_names: Sequence[str]) -> None:
        """Refuse an operator set that the installed onnx does not know, and what only TFLite has.

        Args:
            spec: What is asked for.
            input_names: Any names will do.

        Raises:
            UsageError: The operator set does not exist, or the spec asks for integer or channel-last inputs.
        """
        if spec.integer_io or spec.channels_last:
            raise UsageError("ONNX artifacts take float inputs, channels first.", "Leave it out, or export to TFLite.")
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
                opset_version=max(spec.opset or DEFAULT_OPSET, TORCH_OPSET),
                dynamic_shapes=shapes,
            )
            proto = program.model_proto
        if spec.opset is not None and spec.opset < TORCH_OPSET:
            proto = lowered(proto, spec.opset)
        return to_bytes(proto)
