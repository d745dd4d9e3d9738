"""Artifact + arrays -> arrays, on the host, one thread: for accuracy, parity and golden outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edgeprune.errors import ArtifactError, DataError
from edgeprune.exporting.loading import read_verified
from edgeprune.exporting.model_file import ModelFile, Run, parse
from edgeprune.values.artifact import Artifact, TensorSpec

OPEN_BATCH = 32
"""Examples per run where the artifact leaves its batch dimension open."""


class HostRunner:
    """An artifact, loaded into its runtime.

    Args:
        artifact: Of a file that has not changed since.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._run = opened(parse(read_verified(artifact), artifact.format, str(artifact.path)))

    @property
    def batch_size(self) -> int:
        """Examples per run; -1 where the artifact leaves it open."""
        return self.artifact.inputs[0].shape[0]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run one batch.

        Args:
            inputs: One array per input, in the artifact's order and of its shapes.

        Returns:
            One array per output.

        Raises:
            DataError: Number, shape or type of the inputs is not the artifact's.
        """
        return self._run(inputs)


def predict(artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run any number of examples, batch by batch.

    Args:
        artifact: Of a file that has not changed since.
        inputs: One array per input, N examples along dim 0.

    Returns:
        One array per output, N examples along dim 0.

    Raises:
        DataError: The inputs do not fit the artifact or each other, or there are none.
        ArtifactError: An output has no batch dimension.
    """
    runner = HostRunner(artifact)
    inputs = fitted([replace(spec, shape=(-1, *spec.shape[1:])) for spec in artifact.inputs], inputs)
    parts: list[list[np.ndarray]] = []
    for chunk, n_valid in chunks(inputs, runner.batch_size if runner.batch_size > 0 else OPEN_BATCH):
        outputs = runner.run(chunk)
        for spec, output in zip(artifact.outputs, outputs, strict=True):
            if output.ndim == 0 or len(output) != len(chunk[0]):
                raise ArtifactError(
                    f"Output {spec.name!r} of {artifact.path} has shape {output.shape}: no batch dimension.",
                    "Run it batch by batch with HostRunner.",
                )
        parts.append([output[:n_valid] for output in outputs])
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def opened(file: ModelFile) -> Run:
    """Load a model file into its runtime, with its inputs checked and cast.

    Args:
        file: Of either format.

    Returns:
        A callable that runs one batch; see `fitted` for what it refuses.
    """
    run = file.open()
    return lambda inputs: _real(file.outputs, run(fitted(file.inputs, inputs)))


def chunks(arrays: Sequence[np.ndarray], size: int) -> Iterator[tuple[list[np.ndarray], int]]:
    """Split examples into batches of one size; the last is filled up with examples from the start.

    Args:
        arrays: One per input, examples along dim 0.
        size: Of each batch.

    Yields:
        A batch, and how many of its examples are not fill.

    Raises:
        DataError: The arrays hold different numbers of examples, or none.
    """
    counts = {len(array) if array.ndim else 0 for array in arrays}
    if len(counts) != 1 or 0 in counts:
        raise DataError(
            f"The inputs hold {sorted(counts) or 'no'} examples along dim 0.",
            "Give each input the same number, at least one.",
        )
    n = counts.pop()
    for start in range(0, n, size):
        indices = np.arange(start, start + size) % n
        yield [array[indices] for array in arrays], min(size, n - start)


def fitted(specs: Sequence[TensorSpec], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Check inputs against their specs and cast them where the kind of number stays the same.

    Args:
        specs: Of the inputs.
        inputs: As many arrays.

    Returns:
        Contiguous arrays of the specs' types; int64 becomes int32 where a format has no int64, and floats become the
        integers that stand for them.

    Raises:
        DataError: Number, shape or type does not fit.
    """
    if len(inputs) != len(specs):
        raise DataError(f"{len(inputs)} inputs given, the model takes {len(specs)}.", "Give one array per input.")
    arrays = [_integers(spec, np.asarray(array)) for spec, array in zip(specs, inputs, strict=True)]
    for spec, array in zip(specs, arrays, strict=True):
        fits = len(spec.shape) == array.ndim and all(a in (-1, b) for a, b in zip(spec.shape, array.shape, strict=True))
        if not fits or not np.can_cast(array.dtype, np.dtype(spec.dtype), "same_kind"):
            raise DataError(
                f"Input {spec.name!r} takes {spec.dtype} {spec.shape}; {array.dtype} {array.shape} given.",
                "Give it arrays of its own shape and type.",
            )
    return [np.ascontiguousarray(array, dtype=spec.dtype) for spec, array in zip(specs, arrays, strict=True)]


def _integers(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    if spec.scale is None or spec.zero_point is None or array.dtype.kind != "f":
        return array
    bounds = np.iinfo(spec.dtype)
    integers = np.clip(np.rint(array / spec.scale) + spec.zero_point, bounds.min, bounds.max)
    return np.asarray(integers, dtype=spec.dtype)


def _real(specs: Sequence[TensorSpec], outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [
        output
        if spec.scale is None or spec.zero_point is None
        else (np.float32(spec.scale) * (output.astype(np.float32) - spec.zero_point)).astype(np.float32)
        for spec, output in zip(specs, outputs, strict=True)
    ]
