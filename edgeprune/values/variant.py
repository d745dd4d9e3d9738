"""One way to prune and export a model: what is measured and chosen among, independent of any device."""

from __future__ import annotations

from dataclasses import dataclass

from edgeprune.values.artifact import Artifact
from edgeprune.values.json import content_id
from edgeprune.values.spec import ExportSpec, PruneSpec


@dataclass(frozen=True, slots=True)
class Variant:
    """A pruned and exported model.

    Attributes:
        prune: How it was pruned; None for the dense network.
        export: How it was exported.
        artifact: The file.
        params: Parameters left; None for a model file, whose network is not known.
        macs: Multiply-accumulates of one forward pass at batch 1; None likewise.
        accuracy: The metric of the artifact on the host over the test set, larger is better; None if not evaluated.
    """

    prune: PruneSpec | None
    export: ExportSpec
    artifact: Artifact
    params: int | None
    macs: int | None
    accuracy: float | None = None

    @property
    def id(self) -> str:
        """Content hash over both specs and the artifact's bytes, 16 hex digits."""
        return content_id(self.prune, self.export, self.artifact.sha256)

    @property
    def method(self) -> str:
        """The pruning method, or "dense"."""
        return self.prune.method if self.prune else "dense"

    @property
    def criterion(self) -> str | None:
        """The pruning criterion; None for the dense network."""
        return self.prune.criterion if self.prune else None

    @property
    def ratio(self) -> float:
        """Share of channels, layers, connections or weights removed; 0 for the dense network and under a threshold."""
        return (self.prune.ratio or self.prune.sparsity or 0.0) if self.prune else 0.0

    @property
    def label(self) -> str:
        """A short name for tables and messages: "channel-taylor 50 % onnx int8"."""
        pruned = self.prune.label if self.prune else "dense"
        return f"{pruned} {self.export.format} {self.export.precision}"
