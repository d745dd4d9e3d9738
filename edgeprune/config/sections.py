"""The sections of `edgeprune.toml` as frozen dataclasses: fields, types, defaults and rules are the whole schema.

The names that a rule lists are those of `edgeprune.values`, which lies above this layer; a test holds them equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from edgeprune.config import rules
from edgeprune.config.rules import OneOf, Within, Written
from edgeprune.errors import UsageError

Count = Annotated[int, Within(low=1)]
CallablePath = Annotated[str, rules.callable_path]
Method = Annotated[str, OneOf("pruning method", ("weight", "channel", "layer", "connection", "hybrid"))]
Format = Annotated[str, OneOf("export format", ("onnx", "tflite"))]
Precision = Annotated[str, OneOf("precision", ("fp32", "fp16", "int8", "int8-dynamic", "int8-mixed"))]
Plan = Annotated[str, OneOf("bench plan", ("quick", "default", "strict", "sustained", "duty", "tiny"))]
Quantity = Annotated[str, OneOf("quantity to minimize", ("latency", "energy", "size", "memory"))]
Dtype = Annotated[
    str, OneOf("dtype", ("float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"))
]


@dataclass(frozen=True, slots=True)
class InputConfig:
    """One input of the model.

    Attributes:
        name: As the exported artifact calls it.
        shape: Batch first, every dimension at least 1.
        dtype: numpy's name.
    """

    name: Annotated[str, rules.not_empty]
    shape: Annotated[tuple[Count, ...], rules.not_empty]
    dtype: Dtype = "float32"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """[model]: the trained network, as Python that builds it or as a file of another tool.

    Attributes:
        factory: "module:callable" that takes nothing and returns the network; importable from the file's folder.
        inputs: In the order of the network's forward method.
        weights: File, relative to the file's folder; None if the factory loads them itself.
        file: A float .onnx or .tflite file, relative to the file's folder, in place of all the others.
    """

    factory: CallablePath = ""
    inputs: Annotated[tuple[InputConfig, ...], rules.listed] = ()
    weights: Annotated[str | None, rules.not_empty] = None
    file: Annotated[str | None, rules.not_empty] = field(default=None, metadata={"elided": True})

    def __post_init__(self) -> None:
        given = [name for name in ("factory", "inputs", "weights") if getattr(self, name)]
        if self.file is not None and given:
            raise UsageError(f"A model file stands beside {given[0]!r}.", "Give the file alone; it names its inputs.")
        missing = next((name for name in ("factory", "inputs") if not getattr(self, name)), None)
        if self.file is None and missing:
            raise UsageError(f"[model] has no {missing!r}.", f'Add {missing} = … there, or file = "model.onnx" alone.')


@dataclass(frozen=True, slots=True)
class DataConfig:
    """[data]: loaders, each an iterable of (inputs, targets).

    Attributes:
        train: "module:callable" that takes nothing and returns a loader; None if there is none.
        test: Likewise.
        metric: "accuracy" or "module:callable" (predict, loader) -> float, larger is better.
        calibration_batches: Training batches that the quantizer and the criteria see.
    """

    train: CallablePath | None = None
    test: CallablePath | None = None
    metric: Annotated[str, rules.metric] = "accuracy"
    calibration_batches: Count = 8


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """[finetune]: how accuracy is won back after a prune.

    Attributes:
        epochs: Passes over the training data; 0 only refits and recalibrates batch norm.
        trainer: "module:callable" (model, teacher, data) -> None in place of the built-in loop; None for the latter.
        optimizer: "sgd" or "adamw".
        learning_rate: At the start; it falls by half a cosine, unless weights are averaged.
        distillation_ratio: Share of the loss that comes from the dense teacher, in [0, 1].
        temperature: Of the teacher's soft targets.
        recalibration_batches: Batches from which batch norm's statistics are re-estimated.
        seed: Of the loop.
        sparsity_weight: Of the L1 norm of batch norm's scales in the loss (network slimming), in training before a
            cut; 0 leaves it out.
        refit_batches: Batches from which the layers after a cut are refit before the first epoch; 0 leaves that out.
        quantization_aware_epochs: How many of the epochs, the last ones after the last cut, compute with int8 weights
            and activations.
        averaging_ratio: Share of the steps, the last ones, whose weights are averaged in the end, at a steady learning
            rate; 0 leaves it out.
    """

    epochs: Annotated[int, Within(low=0)] = 1
    trainer: CallablePath | None = None
    optimizer: Annotated[str, OneOf("optimizer", ("sgd", "adamw"))] = "adamw"
    learning_rate: Annotated[float, Within(above=0)] = 1e-3
    distillation_ratio: Annotated[float, Within(low=0, high=1)] = 0.5
    temperature: Annotated[float, Within(above=0)] = 2.0
    recalibration_batches: Annotated[int, Within(low=0)] = 16
    seed: Annotated[int, Within(low=0)] = 0
    sparsity_weight: Annotated[float, Within(low=0)] = 0.0
    refit_batches: Annotated[int, Within(low=0)] = 16
    quantization_aware_epochs: Annotated[int, Within(low=0)] = 0
    averaging_ratio: Annotated[float, Within(low=0, high=1)] = 0.0


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """[export]: what holds for every artifact.

    Attributes:
        calibration: How int8 finds its ranges in ONNX: "minmax", "entropy" or "percentile".
        min_agreement_ratio: Least share of inputs on which an artifact's largest output is the network's, text such as
            "99%" under the key min_agreement; None for no floor.
        max_error_ratio: Largest error of an output as a share of the largest, text such as "5%" under the key
            max_error; None for no bound.
    """

    calibration: Annotated[str, OneOf("calibration", ("minmax", "entropy", "percentile"))] = "minmax"
    min_agreement_ratio: Annotated[float | None, Written(rules.share, "99%")] = field(
        default=None, metadata={"key": "min_agreement"}
    )
    max_error_ratio: Annotated[float | None, Written(rules.share, "5%")] = field(
        default=None, metadata={"key": "max_error"}
    )


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """[search]: which variants are tried, and how they are measured.

    Attributes:
        methods: Pruning methods.
        formats: "onnx", "tflite".
        precisions: "fp32", "fp16", "int8", "int8-dynamic", "int8-mixed".
        threads: Of the runtime.
        criteria: Importance scores.
        ratios: Shares of channels or layers removed, in (0, 1); the dense network is always tried.
        round_to: Kept widths become multiples of this; CPU runtimes compute channels in blocks of 8 or 16.
        plan: Name of the bench plan.
        seed: Of the search.
        trials: At most so many variants; None for no limit.
        device_time_s: At most so long on the board, text such as "10m" under the key device_time; None for no limit.
    """

    methods: Annotated[tuple[Method, ...], rules.listed] = ("channel",)
    formats: Annotated[tuple[Format, ...], rules.listed] = ("onnx", "tflite")
    precisions: Annotated[tuple[Precision, ...], rules.listed] = ("fp32", "int8")
    threads: Annotated[tuple[Count, ...], rules.listed] = (1,)
    criteria: Annotated[tuple[Annotated[str, rules.not_empty], ...], rules.listed] = ("taylor",)
    ratios: Annotated[tuple[Annotated[float, Within(above=0, below=1)], ...], rules.listed] = (0.25, 0.5, 0.7)
    round_to: Count = 8
    plan: Plan = "default"
    seed: Annotated[int, Within(low=0)] = 0
    trials: Count | None = None
    device_time_s: Annotated[float | None, Written(rules.duration, "10m")] = field(
        default=None, metadata={"key": "device_time"}
    )


@dataclass(frozen=True, slots=True)
class GoalConfig:
    """[goal]: what makes one variant better than another.

    Attributes:
        minimize: Quantities, the most important first.
        constraints: Bounds such as "accuracy_drop <= 0.5pt".
    """

    minimize: Annotated[tuple[Quantity, ...], rules.listed] = ("latency", "energy", "size")
    constraints: tuple[Annotated[str, rules.comparison], ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """[devices.NAME]: one board.

    Attributes:
        name: NAME.
        address: local://, ssh://user@host:port, serial:///dev/ttyUSB0?baud=921600.
        profile: Name of the board type, or "" if none fits.
        meter: Power source: "onboard", "none", "replay:FILE" or a URI.
        tags: For selecting boards.
        device_id: What the board must say of itself, or "" for any board at the address.
    """

    name: str
    address: Annotated[str, rules.uri]
    profile: str = ""
    meter: Annotated[str, rules.meter] = "none"
    tags: Mapping[str, str] = field(default_factory=dict)
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """[store]: where results are kept.

    Attributes:
        url: SQLAlchemy's; a relative SQLite path starts at the file's folder.
    """

    url: Annotated[str, rules.uri] = "sqlite:///.edgeprune/runs.db"


@dataclass(frozen=True, slots=True)
class Config:
    """A project's `edgeprune.toml`.

    Attributes:
        path: The file,
        folder: and the folder that its relative paths start from; both absolute.
        model: See `ModelConfig`.
        data: See `DataConfig`.
        finetune: See `FinetuneConfig`.
        export: See `ExportConfig`.
        search: See `SearchConfig`.
        goal: See `GoalConfig`.
        devices: By name, in the file's order.
        store: See `StoreConfig`.
    """

    path: Path
    folder: Path
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    goal: GoalConfig = field(default_factory=GoalConfig)
    devices: Mapping[str, DeviceConfig] = field(default_factory=dict)
    store: StoreConfig = field(default_factory=StoreConfig)

    @property
    def model_name(self) -> str:
        """What the model is called on a board: the folder's or the file's name, as the wire allows (docs/wire.md)."""
        name = Path(self.model.file).stem if self.model.file else self.folder.name
        return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64] or "model"
