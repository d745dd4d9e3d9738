"""A model file that a runtime can load, and how well it agrees with the model it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgeprune.values.json import ELIDED
from edgeprune.values.packing import Packed


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: As the runtime knows it.
        shape: Batch first; -1 where the dimension is open.
        dtype: numpy's name: "float32", "int8", "int64", "bool".
        scale: Of an integer that stands for a real number, real = scale·(integer − zero_point); None for any other.
        zero_point: The integer that stands for 0; None for any other.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = field(default=None, metadata=ELIDED)
    zero_point: int | None = field(default=None, metadata=ELIDED)


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far an artifact is from the model it was made of, on the same inputs.

    The error is split: the proof of a prune shows what cutting did beyond removing channels, a float artifact of the
    same format what conversion alone does, and the quantized one is compared with that float artifact.

    Attributes:
        n_inputs: Examples compared.
        conversion_max_abs: max |Δ| between torch and the float artifact, over all outputs.
        conversion_max_relative: The same, divided by the largest magnitude of torch's output; of the worst output.
        quantization_max_abs: max |Δ| between float and quantized artifact; None when nothing was quantized.
        quantization_mean_abs: mean |Δ| between them; None when nothing was quantized.
        top1_agreement_ratio: Share of examples whose largest output is the same as torch's, in [0, 1]; None where no
            output has classes.
        conversion_mean_abs: mean |Δ| between torch and the float artifact; None in reports from before it was kept.
        whole_max_relative: max |Δ| between torch and the artifact itself, divided by the largest magnitude of torch's
            output; of the worst output. None likewise.
        random: The same on seeded random inputs of the data's mean and deviation; None where there is no calibration
            data (the report is then on random inputs), or where the model gives no finite output on them.
        pruning_max_relative: max |Δ| between the pruned network before any training and the dense one with the removed
            channels masked, divided by the largest magnitude of the output; None where nothing was pruned, or where
            the export knows nothing of it.
    """

    n_inputs: int
    conversion_max_abs: float
    conversion_max_relative: float
    quantization_max_abs: float | None
    quantization_mean_abs: float | None
    top1_agreement_ratio: float | None
    conversion_mean_abs: float | None = None
    whole_max_relative: float | None = None
    random: ParityReport | None = None
    pruning_max_relative: float | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file: what it is, not what it was made from.

    Attributes:
        path: Where it lies on the host.
        format: "onnx" or "tflite".
        precision: As in `ExportSpec`; "unknown" for a file that does not tell it.
        sha256: Of its bytes, 64 hex digits; its name on every board.
        size_bytes: Of the file.
        inputs: In order.
        outputs: In order.
        opset: ONNX operator set; None for TFLite.
        parity: None for a file that we did not make.
        ir_version: Of ONNX's file format; None for TFLite.
        float_layers: Layers that int8-mixed left in float, the costliest first.
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
    ir_version: int | None = field(default=None, metadata=ELIDED)
    float_layers: tuple[str, ...] = field(default=(), metadata=ELIDED)
    packed: Packed | None = None
