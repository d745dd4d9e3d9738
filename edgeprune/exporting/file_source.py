"""A float .onnx or .tflite file -> a source of artifacts: for those who have the file and no torch model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeprune.errors import ArtifactError, UsageError
from edgeprune.exporting.loading import read_verified
from edgeprune.exporting.model_file import parse
from edgeprune.exporting.running import OPEN_BATCH, opened
from edgeprune.values.artifact import Artifact, TensorSpec
from edgeprune.values.spec import ExportSpec


class FileSource:
    """A float file of any origin.

    Args:
        artifact: As loaded; its file is read at once.
    """

    def __init__(self, artifact: Artifact) -> None:
        if artifact.precision != "fp32":
            raise ArtifactError(
                f"{artifact.path} is not a float32 model: its precision is {artifact.precision}.",
                "Give the float file that it was made from.",
            )
        self._artifact = artifact
        self._content = read_verified(artifact)
        self._run = opened(parse(self._content, artifact.format, str(artifact.path)))

    @property
    def batch_size(self) -> int:
        """That of the file; 32 where it leaves the batch open."""
        given = self._artifact.inputs[0].shape[0] if self._artifact.inputs[0].shape else 1
        return given if given > 0 else OPEN_BATCH

    @property
    def example_arrays(self) -> list[np.ndarray]:
        """Seeded noise of the declared shapes; integers are 0 and 1, which every table has."""
        generator = np.random.default_rng(0)
        return [_noise(self._artifact.path, spec, self.batch_size, generator) for spec in self._artifact.inputs]

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run the file.

        Args:
            inputs: One array per input.

        Returns:
            One array per output.
        """
        return self._run(inputs)

    def check(self, spec: ExportSpec) -> None:
        """Refuse what only a model can become.

        Args:
            spec: What is asked for.

        Raises:
            UsageError: Another format, or other inputs than the file has.
        """
        path = self._artifact.path
        if spec.format != self._artifact.format:
            raise UsageError(f"{path} is {self._artifact.format}, not {spec.format}.", "Ask for the file's own format.")
        if spec.dynamic_batch or spec.channels_last or spec.input_names:
            raise UsageError(
                f"The inputs of {path} stay as they are.", "Leave out dynamic_batch, channels_last and input_names."
            )
        if spec.format == "tflite" and (spec.opset is not None or spec.calibration != "minmax"):
            raise UsageError("TFLite has no opset, and its ranges are the extremes.", "Leave these options out.")

    def float_file(self, spec: ExportSpec) -> bytes:
        """Return the file; where an operator set is asked for, in that one if the file's is newer, and no newer IR.

        Args:
            spec: Its opset counts here.

        Returns:
            The bytes.

        Raises:
            ExportError: An operator is younger than the operator set.
        """
        if spec.opset is None:
            return self._content
        from edgeprune.exporting.onnx_opset import lowered_file

        return lowered_file(self._content, spec.opset)


def _noise(path: Path, spec: TensorSpec, batch_size: int, generator: np.random.Generator) -> np.ndarray:
    shape = (batch_size, *spec.shape[1:])
    if not spec.shape or min(shape) < 1:
        raise ArtifactError(
            f"Input {spec.name!r} of {path} has the open shape {spec.shape}.",
            "Fix every dimension but the first one, then export.",
        )
    if np.dtype(spec.dtype).kind == "f":
        return generator.standard_normal(shape).astype(spec.dtype)
    return generator.integers(0, 2, shape).astype(spec.dtype)
