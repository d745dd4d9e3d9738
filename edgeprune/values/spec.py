"""What the user asks of the stages that change a model: how to prune, how to fine-tune, how to export."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from edgeprune.errors import UnknownName, UsageError
from edgeprune.values.json import ELIDED, content_id

METHODS = ("weight", "channel", "layer", "connection", "hybrid")
AMOUNTS = ("ratio", "sparsity", "threshold", "relative_threshold", "nm", "target")
SCOPES = ("global", "local", "isomorphic")
HEADS = ("width", "whole")
SCHEDULES = ("linear", "cubic", "exponential")
TARGETS = ("params", "latency", "energy", "size", "memory")
WEIGHT_CRITERIA = ("l1", "l2", "taylor", "hessian", "lamp", "random")
"""Criteria that rank single weights."""
OWN_CRITERIA = {"layer": "layer_loss", "connection": "connection"}
"""Methods that have one criterion of their own; the others rank by `l1` unless told otherwise."""
FORMATS = ("onnx", "tflite")
PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic", "int8-mixed")
CALIBRATED = ("int8", "int8-mixed")
"""Precisions whose activations have fixed scales, found from calibration data."""
CALIBRATIONS = ("minmax", "entropy", "percentile")
MIXED_AGREEMENT_RATIO = 0.99
"""What int8-mixed holds where no floor is given."""


@dataclass(frozen=True, slots=True)
class PruneSpec:
    """How to prune; never what came out of it.

    Attributes:
        method: One of `METHODS`.
        criterion: Name of the importance score; larger scores are kept. Empty stands for the method's usual one.
        ratio: Share of channels or layers to remove, in [0, 1).
        sparsity: Share of weights to set to zero, in [0, 1).
        threshold: Absolute threshold θ: weights with |w| < θ go.
        relative_threshold: α: weights with |w| < α·max|w| of their tensor go.
        nm: Pattern "N:M": of every M weights in a row, N stay.
        target: Bound on a quantity as a share of the dense network's, such as "params <= 0.25x".
        scope: "global" ranks all groups together, "local" takes the same share from each, "isomorphic" takes the same
            share from each set of groups of equal structure and ranks within it.
        steps: Number of prunes in which the amount is reached; fine-tuning may run between them.
        schedule: How the amount grows over the steps, one of `SCHEDULES`.
        round_to: Kept widths are rounded to the nearest multiple of this.
        exclude: Patterns (`fnmatch`) of module names that keep their width.
        seed: Of every random choice.
        heads: What goes from attention: "width" takes the same channels from every head, "whole" takes whole heads.
        rewrite: Whether a model whose code holds a width as a number may become its exported graph, written again;
            if not, or where that is not proved, these channels stay.

    Exactly one of the six amounts is given.
    """

    method: str = "channel"
    criterion: str = ""
    ratio: float | None = None
    sparsity: float | None = None
    threshold: float | None = None
    relative_threshold: float | None = None
    nm: str | None = None
    target: str | None = None
    scope: str = "global"
    steps: int = 1
    round_to: int = 1
    exclude: tuple[str, ...] = ()
    seed: int = 0
    schedule: str = "linear"
    heads: str = "width"
    rewrite: bool = True

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("pruning method", self.method, METHODS),
            ("scope", self.scope, SCOPES),
            ("schedule", self.schedule, SCHEDULES),
            ("kind of head pruning", self.heads, HEADS),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        if not self.criterion:
            object.__setattr__(self, "criterion", OWN_CRITERIA.get(self.method, "l1"))
        given = [name for name in AMOUNTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise UsageError(
                f"A PruneSpec takes exactly one amount; {' and '.join(given) or 'none'} given.",
                f"Give one of {', '.join(AMOUNTS)}.",
            )
        for name in ("ratio", "sparsity"):
            share = getattr(self, name)
            if share is not None and not 0 <= share < 1:
                raise UsageError(f"{name} {share} is outside [0, 1).", "Give the share to remove, such as 0.5.")
        for name in ("steps", "round_to"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is less than 1.", "Give a whole number from 1.")
        self._check_thresholds()

    def _check_thresholds(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise UsageError(f"threshold {self.threshold} is no magnitude.", "Give a number above 0, such as 0.01.")
        if self.relative_threshold is not None and not 0 < self.relative_threshold <= 1:
            step = "Give a share of the largest weight, such as 0.1."
            raise UsageError(f"relative_threshold {self.relative_threshold} is outside (0, 1].", step)
        if self.nm is not None:
            parse_nm(self.nm)
        if self.target is not None:
            parse_target(self.target)
        unbounded = self.threshold is not None or self.relative_threshold is not None
        if unbounded and self.steps > 1 and self.schedule == "exponential":
            raise UsageError(
                "The exponential schedule needs a share, and a threshold is none.", "Take 'linear' or 'cubic'."
            )

    @property
    def amount(self) -> tuple[str, float | str]:
        """Name and value of the one amount that is given."""
        name = next(name for name in AMOUNTS if getattr(self, name) is not None)
        return name, getattr(self, name)

    @property
    def label(self) -> str:
        """A short name for tables and messages: "channel-taylor 50 %", "weight-l1 threshold 0.01"."""
        name, value = self.amount
        if name in ("ratio", "sparsity"):
            return f"{self.method}-{self.criterion} {100 * float(value):.0f} %"
        text = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{self.method}-{self.criterion} {name.replace('_', ' ')} {text}"


def parse_nm(pattern: str) -> tuple[int, int]:
    """Read a pattern such as "2:4".

    Args:
        pattern: "N:M".

    Returns:
        N and M, 1 <= N < M.

    Raises:
        UsageError: It is no such pattern.
    """
    found = re.fullmatch(r"(\d+):(\d+)", pattern)
    kept, block = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= kept < block:
        raise UsageError(f"{pattern!r} is no N:M pattern.", 'Give one such as "2:4": of every 4 weights, 2 stay.')
    return kept, block


def parse_target(text: str) -> tuple[str, float]:
    """Read a target such as "params <= 0.25x".

    Args:
        text: "QUANTITY <= SHAREx".

    Returns:
        The quantity, one of `TARGETS`, and the share of the dense network's, in (0, 1).

    Raises:
        UsageError: It is no target.
        UnknownName: There is no such quantity.
    """
    found = re.fullmatch(r"\s*(\w+)\s*<=\s*(\d*\.?\d+)x\s*", text)
    if found is None or not 0 < float(found[2]) < 1:
        raise UsageError(f"{text!r} is no target.", 'Give a share of the dense network\'s, such as "params <= 0.25x".')
    if found[1] not in TARGETS:
        raise UnknownName("quantity of a target", found[1], TARGETS)
    return found[1], float(found[2])


def _later(default: Any) -> Any:
    # What the first specs did not have: left out of the content hash while it holds its default.
    return field(default=default, metadata=ELIDED)


@dataclass(frozen=True, slots=True)
class FinetuneSpec:
    """How the built-in loop wins back accuracy.

    Attributes:
        epochs: Passes over the training data; 0 only refits and recalibrates batch norm.
        optimizer: "sgd" (momentum 0.9) or "adamw"; the learning rate falls by half a cosine, unless weights are
            averaged.
        learning_rate: At the start.
        distillation_ratio: Share of the loss that comes from the dense teacher's soft targets, in [0, 1].
        temperature: Of the soft targets.
        recalibration_batches: Training batches from which batch norm's running statistics are re-estimated.
        seed: Of the loop.
        sparsity_weight: Of the L1 norm of batch norm's scales in the loss (network slimming); 0 leaves it out.
        refit_batches: Training batches from which the layers after a cut are refit before the first epoch; 0 leaves
            that out.
        quantization_aware_epochs: How many of the epochs, the last ones, compute with int8 weights and activations.
        averaging_ratio: Share of the steps, the last ones, whose weights are averaged in the end, in [0, 1]; the
            learning rate then stays what it is at the start. 0 leaves it out.
    """

    epochs: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    distillation_ratio: float = 0.5
    temperature: float = 2.0
    recalibration_batches: int = 16
    seed: int = 0
    sparsity_weight: float = 0.0
    refit_batches: int = 16
    quantization_aware_epochs: int = _later(0)
    averaging_ratio: float = _later(0.0)

    def __post_init__(self) -> None:
        if not 0 <= self.quantization_aware_epochs <= self.epochs:
            given = f"quantization_aware_epochs {self.quantization_aware_epochs}"
            raise UsageError(f"{given} is not within the {self.epochs} epochs.", "They are the last ones of these.")
        if not 0 <= self.averaging_ratio <= 1:
            raise UsageError(
                f"averaging_ratio {self.averaging_ratio} is not a share.", "Give 0, or 0.75 for most steps."
            )
        if not 0 <= self.sparsity_weight < math.inf:
            raise UsageError(f"sparsity_weight {self.sparsity_weight} is negative.", "Give 0 or, say, 1e-4.")
        if self.optimizer not in ("sgd", "adamw"):
            raise UnknownName("optimizer", self.optimizer, ("sgd", "adamw"))
        if self.epochs < 0 or not 0 <= self.distillation_ratio <= 1 or self.learning_rate <= 0 or self.temperature <= 0:
            raise UsageError(
                "A fine-tuning value is out of range.",
                "epochs >= 0, learning_rate > 0, temperature > 0, distillation_ratio in [0, 1].",
            )


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """Which artifact to make of a model; no word about a device.

    Attributes:
        format: "onnx" or "tflite".
        precision: "fp32"; "fp16" (weights, and in ONNX what is computed, in half precision); "int8" (weights and
            activations with fixed scales); "int8-dynamic" (weights only; a runtime scales activations as they come);
            "int8-mixed" (as int8, the layers that cost most left in float until the floor below holds).
        opset: ONNX operator set, or None for the exporter's default.
        input_names: Names of the inputs, in order; empty means input_0, input_1, …
        dynamic_batch: Leave the batch dimension open; ONNX only.
        calibration_batches: How many batches the quantizer sees.
        calibration: How a fixed range is read from the batches: "minmax" takes the extremes, "entropy" and
            "percentile" cut rare ones off; the latter two for ONNX only.
        integer_io: Inputs and outputs in int8 as well, by the scales of their `TensorSpec`s; static int8 TFLite only.
        channels_last: Inputs and outputs of four dimensions as (N, height, width, channels); TFLite only.
        min_agreement_ratio: Least share of examples whose largest output is torch's, in [0, 1]; None for no floor.
            Accuracy on these examples cannot fall by more than what is missing to 1.
        max_error_ratio: Largest distance from torch, as a share of its largest output; None for no bound.
    """

    format: str = "onnx"
    precision: str = "fp32"
    opset: int | None = None
    input_names: tuple[str, ...] = ()
    dynamic_batch: bool = False
    calibration_batches: int = 8
    calibration: str = _later("minmax")
    integer_io: bool = _later(False)
    channels_last: bool = _later(False)
    min_agreement_ratio: float | None = _later(None)
    max_error_ratio: float | None = _later(None)

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("export format", self.format, FORMATS),
            ("precision", self.precision, PRECISIONS),
            ("calibration", self.calibration, CALIBRATIONS),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        if self.calibration_batches < 1:
            raise UsageError("calibration_batches is less than 1.", "Give a whole number from 1.")
        self._check_floor()

    def _check_floor(self) -> None:
        if self.min_agreement_ratio is not None and not 0 <= self.min_agreement_ratio <= 1:
            raise UsageError(f"min_agreement_ratio {self.min_agreement_ratio} is outside [0, 1].", "Give, say, 0.99.")
        if self.max_error_ratio is not None and not 0 < self.max_error_ratio < math.inf:
            raise UsageError(f"max_error_ratio {self.max_error_ratio} is no share above 0.", "Give, say, 0.05.")

    @property
    def agreement_floor_ratio(self) -> float | None:
        """The floor that holds: int8-mixed has one even where none is given, since it decides what stays float."""
        if self.precision == "int8-mixed" and self.min_agreement_ratio is None and self.max_error_ratio is None:
            return MIXED_AGREEMENT_RATIO
        return self.min_agreement_ratio


def spec_id(*specs: object) -> str:
    """Return the content hash of some specs: equal specs, equal id."""
    return content_id(*specs)
