"""Golden inputs and outputs: what a release must give on its board, and how closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from edgeprune.errors import DataError, ModelError
from edgeprune.measuring.inference import fit_inputs, infer
from edgeprune.values.artifact import Artifact, TensorSpec

if TYPE_CHECKING:
    from edgeprune.devices.session import Session
    from edgeprune.values.plan import BenchPlan

Array = NDArray[Any]
TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2, "int8": 5e-2}
"""Precision to the share of the largest golden output by which another machine's output may differ.

Kernels of different processors round differently: float32 sums in another order differ by 1e-5 or so, and one step of
an 8-bit output is 1/128 of its range; each bound leaves room for several such differences in a row.
"""
_LOOSEST, _SAME_BOARD = 5e-2, 1e-3
_EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class Golden:
    """What a release is checked with.

    Attributes:
        data: A safetensors file with `input_0`, …, `output_0`, ….
        tolerance: Largest |Δ| allowed, in units of the outputs.
        source: "host" for outputs that the host computed, "device" for those that the board itself gave.
    """

    data: bytes
    tolerance: float
    source: str


def make_golden(
    session: Session,
    artifact: Artifact,
    runtime: str,
    plan: BenchPlan,
    given: tuple[Sequence[Array], Sequence[Array]] | None,
) -> Golden:
    """Pack golden inputs and outputs; without given ones, ask the board what it makes of random inputs.

    Args:
        session: Of the board.
        artifact: The model.
        runtime: On the board.
        plan: How it was measured: threads and provider.
        given: Inputs and outputs, one array each, examples first; None to ask the board, which proves that the release
            computes what it computed before, not that it computes what the host does.

    Returns:
        The golden data.

    Raises:
        DataError: The given arrays do not fit the artifact.
        ModelError: An output is not finite.
    """
    if given is None:
        inputs = _random_inputs(artifact.inputs)
        outputs: Sequence[Array] = infer(
            session, artifact, inputs, threads=plan.threads, runtime=runtime, provider=plan.provider
        )
    else:
        inputs, outputs = fit_inputs(artifact, given[0]), [np.asarray(array) for array in given[1]]
    if len(outputs) != len(artifact.outputs):
        raise DataError(
            f"{len(outputs)} golden outputs were given; {artifact.path.name} has {len(artifact.outputs)}.",
            "Give one array per output.",
        )
    if not all(np.isfinite(output).all() for output in outputs if output.dtype.kind == "f"):
        raise ModelError(
            f"{artifact.path.name} gives NaN or infinity for its golden inputs.",
            "See whether the weights are whole and whether the precision suits the model.",
        )
    share = _SAME_BOARD if given is None else TOLERANCES.get(artifact.precision, _LOOSEST)
    largest = max((float(np.abs(output.astype(np.float64)).max()) for output in outputs if output.size), default=0.0)
    tensors = {f"input_{n}": array for n, array in enumerate(inputs)}
    tensors |= {f"output_{n}": array for n, array in enumerate(outputs)}
    data = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    return Golden(data, share * max(largest, 1e-3), "device" if given is None else "host")


def _random_inputs(specs: Sequence[TensorSpec]) -> list[Array]:
    # Standard normal, the whole range for 8-bit integers, 0 and 1 for other types: valid as index and as mask.
    source = np.random.default_rng(0)
    batch = max([spec.shape[0] for spec in specs if spec.shape and spec.shape[0] > 0], default=_EXAMPLES)
    arrays = []
    for spec in specs:
        shape = (batch, *(abs(size) for size in spec.shape[1:]))
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            array: Array = source.standard_normal(shape)
        elif dtype.itemsize == 1 and dtype.kind in "iu":
            limits = np.iinfo(dtype)
            array = source.integers(limits.min, limits.max + 1, size=shape)
        else:
            array = source.integers(0, 2, size=shape)
        arrays.append(array.astype(dtype))
    return arrays
