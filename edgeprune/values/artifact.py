"""A model file that a runtime can load, and how well it agrees with the model it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeprune.values.packing import Packed


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: As the runtime knows it.
        shape: Batch first; -1 where the dimension is open.
        dtype: numpy's name: "float32", "int8", "int64", "bool".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far an artifact is from its torch model, on the same inputs.

    The error is split: a float artifact of the same format shows what conversion alone does, and the quantized
    one is compared with that float artifact.

    Attributes:
        n_inputs: Examples compared.
        conversion_max_abs: max |Δ| between torch and the float artifact, over all outputs.
        conversion_max_relative: The same, divided by the largest magnitude of torch's output; of the worst output.
        quantization_max_abs: max |Δ| between float and quantized artifact; None when nothing was quantized.
        quantization_mean_abs: mean |Δ| between them; None when nothing was quantized.
        top1_agreement_ratio: Share of examples whose largest output is the same as torch's, in [0, 1]; None where no
            output has classes.
    """

    n_inputs: int
    conversion_max_abs: float
    conversion_max_relative: float
    quantization_max_abs: float | None
    quantization_mean_abs: float | None
    top1_agreement_ratio: float | None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file: what it is, not what it was made from.

    Attributes:
        path: Where it lies on the host.
        format: "onnx" or "tflite".
        precision: "fp32", "fp16" or "int8"; "unknown" for a file that we did not make.
        sha256: Of its bytes, 64 hex digits; its name on every board.
        size_bytes: Of the file.
        inputs: In order.
        outputs: In order.
        opset: ONNX operator set; None for TFLite.
        parity: None for a file that we did not make.
        packed: The same file as it travels, if it was packed; None else.
    """

    path: Path
    format: str
    precision: str
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int | None = None
    parity: ParityReport | None = None
    packed: Packed | None = None
