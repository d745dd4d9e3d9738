"""Arrays -> what an artifact makes of them on the board."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from edgeprune.errors import DataError, ProtocolError
from edgeprune.measuring.runtime import START_S, choose_runtime, run_worker
from edgeprune.measuring.sending import send
from edgeprune.values.artifact import Artifact, TensorSpec
from edgeprune.values.event import Event, Listener, ignore

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

Array = NDArray[Any]
_PORTION_BYTES = 32 << 20
"""Inputs and outputs of one process: boards have little memory, and the agent refuses files over 256 MiB."""
_SECONDS_PER_EXAMPLE = 20.0


def infer(
    session: Session,
    artifact: Artifact,
    inputs: Sequence[Array],
    *,
    threads: int = 1,
    runtime: str = "auto",
    provider: str = "auto",
    listener: Listener = ignore,
) -> list[Array]:
    """Run an artifact over many examples on the board.

    Inputs are sent once and known by their content: a second call with the same ones sends nothing.

    Args:
        session: Of the board.
        artifact: The model; it is sent if the board does not have it.
        inputs: One array per input of the model, examples along the first dimension; cast to the model's dtypes where
            that keeps the kind. A model with a fixed batch gets the examples in batches of that size.
        threads: Of the runtime.
        runtime: "onnxruntime", "litert", "tensorrt", or "auto".
        provider: What shall run the nodes; "auto" for the runtime's own.
        listener: Hears of the progress.

    Returns:
        One array per output, a row per example.
    """
    name = choose_runtime(session, artifact.format, runtime)
    arrays = fit_inputs(artifact, inputs)
    send(session, artifact, listener)
    total, rows = len(arrays[0]), _rows_per_portion(artifact)
    how = {"runtime": name, "threads": threads, "provider": provider}
    spec = {"kind": "infer", "sha": artifact.sha256, "format": artifact.format, **how}
    parts = []
    for start in range(0, total, rows):
        portion = {f"input_{n}": array[start : start + rows] for n, array in enumerate(arrays)}
        progress = _Progress(artifact.path.name, start, total, listener)
        parts.append(_infer_portion(session, dict(spec), portion, progress))
    return [np.concatenate(pieces) if len(pieces) > 1 else pieces[0] for pieces in zip(*parts, strict=True)]


class _Progress:
    """Tells how many examples are done, and notes the run's id."""

    def __init__(self, subject: str, offset: int, total: int, listener: Listener) -> None:
        self.subject, self.run = subject, ""
        self._offset, self._total, self._listener = offset, total, listener

    def hear(self, event: Mapping[str, Any]) -> None:
        self.run = str(event["run"])
        if event["kind"] == "progress":
            done = self._offset + event["done"]
            self._listener(Event("measure", self.subject, done, self._total, "examples"))


def _infer_portion(
    session: Session, spec: dict[str, Any], portion: Mapping[str, Array], progress: _Progress
) -> list[Array]:
    spec["inputs"] = session.push_bytes(save({name: np.ascontiguousarray(array) for name, array in portion.items()}))
    deadline_s = START_S + _SECONDS_PER_EXAMPLE * len(portion["input_0"])
    run_worker(session, spec, progress.hear, deadline_s, progress.subject)
    data = session.fetch_output(progress.run)
    try:
        outputs = load(data)
        return [np.asarray(outputs[f"output_{number}"]) for number in range(len(outputs))]
    except (SafetensorError, KeyError) as error:
        raise ProtocolError(
            f"{session.profile.name}: the outputs of {progress.subject} cannot be read ({error}).",
            "Let host and agent be of the same version.",
        ) from error


def fit_inputs(artifact: Artifact, inputs: Sequence[Array]) -> list[Array]:
    """Return inputs in the model's dtypes, checked against its shapes.

    Args:
        artifact: The model.
        inputs: One array per input, examples first.

    Returns:
        Arrays ready to send.

    Raises:
        DataError: Number, shape or kind of an input does not fit, or there are no examples.
    """
    if len(inputs) != len(artifact.inputs):
        raise DataError(
            f"{artifact.path.name} takes {len(artifact.inputs)} inputs, {len(inputs)} were given.",
            f"It takes: {', '.join(spec.name for spec in artifact.inputs)}.",
        )
    arrays = [_fit(spec, np.asarray(array)) for spec, array in zip(artifact.inputs, inputs, strict=True)]
    if len({len(array) for array in arrays}) != 1 or not len(arrays[0]):
        raise DataError("The inputs hold no examples, or different numbers of them.", "Give every input a row each.")
    return arrays


def _fit(spec: TensorSpec, array: Array) -> Array:
    fits = array.ndim == len(spec.shape) >= 1 and all(
        size in (-1, given) for size, given in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits or not np.can_cast(array.dtype, np.dtype(spec.dtype), casting="same_kind"):
        given, taken = f"{array.dtype} {list(array.shape)}", f"{spec.dtype} {list(spec.shape)}"
        raise DataError(
            f"Input {spec.name!r} is {given}; the model takes {taken}.",
            "Give examples along the first dimension, in the shape and kind that the model was exported for.",
        )
    return array.astype(spec.dtype, copy=False)


def _rows_per_portion(artifact: Artifact) -> int:
    # A multiple of the model's batch whose inputs and outputs stay under the limit.
    batch = max(1, *(spec.shape[0] for spec in artifact.inputs if spec.shape))
    per_row = sum(_row_bytes(spec) for spec in (*artifact.inputs, *artifact.outputs))
    return max(1, _PORTION_BYTES // max(per_row, 1) // batch) * batch


def _row_bytes(spec: TensorSpec) -> int:
    return math.prod(abs(size) for size in spec.shape[1:]) * np.dtype(spec.dtype).itemsize
