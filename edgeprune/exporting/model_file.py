"""The bytes of a model file: what they declare, and how the host runs them. One subclass a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeprune.errors import ArtifactError
from edgeprune.registry import Registry
from edgeprune.values.artifact import TensorSpec

if TYPE_CHECKING:
    import numpy as np

Run = Callable[[Sequence["np.ndarray"]], list["np.ndarray"]]
"""One batch of inputs -> outputs, both in the order that the file declares."""

SUFFIXES = {".onnx": "onnx", ".tflite": "tflite"}
MODEL_FILES = Registry(
    "artifact format",
    {
        "onnx": "edgeprune.exporting.onnx_file:OnnxFile",
        "tflite": "edgeprune.exporting.tflite_file:TfliteFile",
    },
    extra="tflite",
)


class ModelFile(ABC):
    """A parsed model.

    Attributes:
        inputs: In the order in which the runtime takes them.
        outputs: In the order in which it gives them.
        precision: As in `ExportSpec`, or "unknown" where the file does not tell it.
        opset: ONNX operator set; None for other formats.
        ir_version: Of ONNX's file format; None for other formats.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str
    opset: int | None = None
    ir_version: int | None = None

    @abstractmethod
    def __init__(self, content: bytes, name: str) -> None:
        """Parse a model.

        Args:
            content: The whole file.
            name: What to call it in messages.

        Raises:
            ArtifactError: The bytes are no model of this format.
        """

    @abstractmethod
    def open(self) -> Run:
        """Load the model into its runtime, on one thread.

        Returns:
            A callable that runs one batch.

        Raises:
            ArtifactError: The runtime of this host does not take the model.
        """


def format_of(path: Path) -> str:
    """Return the format that a path's suffix stands for.

    Args:
        path: Of a model file; it need not exist.

    Returns:
        "onnx" or "tflite".

    Raises:
        ArtifactError: The suffix is neither's.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ArtifactError(f"{path} is neither .onnx nor .tflite.", "Give a model file with one of these suffixes.")
    return SUFFIXES[path.suffix.lower()]


def parse(content: bytes, format_name: str, name: str) -> ModelFile:
    """Parse a model file.

    Args:
        content: The whole file.
        format_name: A name of `MODEL_FILES`.
        name: What to call it in messages.

    Returns:
        The parsed model.

    Raises:
        ArtifactError: The bytes are no model of this format.
    """
    if not content:
        raise ArtifactError(f"{name} is empty.", "Export or copy it again.")
    return cast("ModelFile", MODEL_FILES.load(format_name)(content, name))
