"""Model + data + metric -> accuracy, on the board or wherever else the model runs."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import DataError, ModelError, UnknownName
from edgeprune.measuring.inference import infer
from edgeprune.values.artifact import Artifact
from edgeprune.values.batch import batches
from edgeprune.values.event import Listener, ignore

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

Array = NDArray[Any]
Compute = Callable[[Sequence[Array]], Sequence[Array]]
"""Arrays, one per input, examples first -> arrays, one per output, a row per example."""
Metric = Callable[[Callable[..., Any], Iterable[Any]], float]


def evaluate(
    session: Session,
    artifact: Artifact,
    loader: Iterable[Any],
    metric: str | Metric = "accuracy",
    *,
    threads: int = 1,
    runtime: str = "auto",
    provider: str = "auto",
    listener: Listener = ignore,
) -> float:
    """Return a metric of an artifact as it runs on the board.

    Args:
        session: Of the board.
        artifact: The model.
        loader: See `score`.
        metric: See `score`.
        threads: Of the runtime.
        runtime: "onnxruntime", "litert", "tensorrt", or "auto".
        provider: What shall run the nodes; "auto" for the runtime's own.
        listener: Hears of the progress.

    Returns:
        The metric.
    """

    def compute(inputs: Sequence[Array]) -> Sequence[Array]:
        how: dict[str, Any] = {"threads": threads, "runtime": runtime, "provider": provider}
        return infer(session, artifact, inputs, listener=listener, **how)

    return score(compute, loader, metric, subject=f"{artifact.path.name} on {session.profile.name}")


def score(
    compute: Compute, loader: Iterable[Any], metric: str | Metric = "accuracy", *, subject: str = "The model"
) -> float:
    """Return a metric of a model over a loader's data.

    All examples are computed at once; the metric then gets its predictions from what came out.

    Args:
        compute: The model: arrays in, arrays out.
        loader: Iterable of (inputs, targets), numpy or torch; read once, so a generator will do.
        metric: "accuracy", or a callable (predict, loader) -> number, larger is better. `predict` takes the inputs of
            a batch and gives its outputs, in torch if the inputs were.
        subject: What is scored, as named in messages.

    Returns:
        The metric.

    Raises:
        UnknownName: The metric is a name that nobody knows.
    """
    if isinstance(metric, str) and metric != "accuracy":
        raise UnknownName("metric", metric, ("accuracy",), " Or give 'module:callable'.")
    pairs = list(batches(loader))
    predict = Predictions(compute, [inputs for inputs, _ in pairs], subject)
    held = [(inputs if len(inputs) > 1 else inputs[0], targets) for inputs, targets in pairs]
    value = accuracy(predict, held) if isinstance(metric, str) else metric(predict, held)
    return _finite_number(value, metric)


def _finite_number(value: Any, metric: str | Metric) -> float:
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "The metric")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{name} returned {value!r}.", "Let it return one finite number, larger is better.")
    return number


def accuracy(predict: Callable[..., Any], loader: Iterable[Any]) -> float:
    """Return the share of examples whose largest output is at the target's index.

    Args:
        predict: Gives outputs of shape (N, classes, …) for inputs.
        loader: Iterable of (inputs, targets); targets of shape (N, …), integers.

    Returns:
        In [0, 1].

    Raises:
        DataError: Outputs and targets do not fit together, or there are no examples.
    """
    hits = total = 0
    for inputs, targets in loader:
        outputs, truth = np.asarray(predict(inputs)), np.asarray(targets)
        if outputs.ndim < 2 or outputs.shape[:1] + outputs.shape[2:] != truth.shape or truth.dtype.kind not in "iu":
            raise DataError(
                f"Accuracy needs a class index per example; outputs are {list(outputs.shape)}, "
                f"targets {truth.dtype} {list(truth.shape)}.",
                "Let the loader yield integer targets, or give a metric of your own as 'module:callable'.",
            )
        hits += int(np.count_nonzero(outputs.argmax(axis=1) == truth))
        total += truth.size
    if not total:
        raise DataError("The loader's batches hold no examples.", "Let it yield at least one.")
    return hits / total


class Predictions:
    """A model's outputs, computed all at once and looked up by what the inputs hold.

    Args:
        compute: The model.
        batches: The inputs of every batch, one tuple each.
        subject: What it is, as named in messages.
    """

    def __init__(self, compute: Compute, batches: Sequence[tuple[Any, ...]], subject: str) -> None:
        self._compute, self._subject = compute, subject
        self._rows: dict[bytes, tuple[Array, ...]] = {}
        self._learn(_joined([[np.asarray(tensor) for tensor in inputs] for inputs in batches]))

    def __call__(self, *inputs: Any) -> Any:
        """Return the outputs of a batch.

        Args:
            inputs: One tensor per input, or one tuple of them.

        Returns:
            One array, or a tuple for a model of several outputs; torch tensors if the inputs were.
        """
        tensors = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)) else inputs
        arrays = [np.asarray(tensor) for tensor in tensors]
        keys = _keys(arrays)
        if any(key not in self._rows for key in keys):
            self._learn(arrays)  # the metric changed its inputs
        outputs = [np.stack(column) for column in zip(*(self._rows[key] for key in keys), strict=True)]
        alike = tuple(_like(tensors[0], output) for output in outputs)
        return alike if len(alike) > 1 else alike[0]

    def _learn(self, arrays: Sequence[Array]) -> None:
        outputs = self._compute(arrays)
        for number, output in enumerate(outputs):
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                raise ModelError(
                    f"{self._subject} gives NaN or infinity in output {number}.",
                    "See whether the weights are whole and whether the precision suits the model.",
                )
        for row, key in enumerate(_keys(arrays)):
            self._rows[key] = tuple(output[row] for output in outputs)


def _joined(batches: Sequence[Sequence[Array]]) -> list[Array]:
    try:
        return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    except ValueError as error:
        raise DataError(
            f"The loader's batches do not fit together ({error}).",
            "Let it yield batches of the same number and shape of inputs, examples along the first dimension.",
        ) from error


def _keys(arrays: Sequence[Array]) -> list[bytes]:
    # A digest per example over all inputs.
    if len({array.shape[:1] for array in arrays}) != 1 or not arrays[0].shape[:1] or not len(arrays[0]):
        raise DataError(
            "A batch holds no examples, or inputs of different numbers of them.", "Give every input a row each."
        )
    return [
        hashlib.blake2b(b"".join(array[row].tobytes() for array in arrays), digest_size=16).digest()
        for row in range(len(arrays[0]))
    ]


def _like(tensor: Any, array: Array) -> Any:
    # A metric that was written for torch compares with torch; whoever made the tensor has imported it already.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor):
        return torch.from_numpy(np.ascontiguousarray(array))
    return array
