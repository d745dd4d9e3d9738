"""A project's network with weights that share few values, and its artifact as a packed file."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from edgeprune.exporting.packing import pack_artifact
from edgeprune.flow.project import Project
from edgeprune.pruning.sharing import share
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Listener
from edgeprune.values.packing import SharingReport, SharingSpec
from edgeprune.values.spec import ExportSpec


def shared(
    project: Project, model: nn.Module, sharing: SharingSpec | None, export: ExportSpec, listener: Listener
) -> tuple[nn.Module, SharingReport | None]:
    """Let a network's weights share few values.

    Args:
        project: Its training data trains the values; its own network is the teacher.
        model: Dense or pruned; left as it is.
        sharing: How; None to leave the weights.
        export: What will be made of it; integers are few values already.
        listener: Hears of each epoch.

    Returns:
        The network, and how it came to share; the model itself and None where there is no training data, where the
        export makes integers of the weights, or where nothing was asked.
    """
    if sharing is None or export.precision == "int8" or not project.config.data.train:
        return model, None
    found = share(
        model, sharing, example_inputs=project.example_inputs, train=project.train, teacher=project.model,
        listener=listener,
    )  # fmt: skip
    return found.model, found.report


def with_packed_file(artifact: Artifact, report: SharingReport | None) -> Artifact:
    """Pack an artifact's file beside it.

    Args:
        artifact: As exported.
        report: How its weights came to share values, if they do.

    Returns:
        The artifact, its packed file noted.
    """
    return replace(artifact, packed=replace(pack_artifact(artifact), sharing=report))
