"""Single stages of the story, for those who want one of them by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeprune import exporting, pruning
from edgeprune.config import Config
from edgeprune.errors import ExportError, UsageError
from edgeprune.flow.goal import configured
from edgeprune.flow.packing import shared, with_packed_file
from edgeprune.flow.project import Project
from edgeprune.flow.variants import counted, kept_artifact, kept_model, load_pruned, make_artifacts, pruned, save_pruned
from edgeprune.flow.workspace import Workspace, folder_digest
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Listener, ignore
from edgeprune.values.json import content_id
from edgeprune.values.packing import SharingSpec
from edgeprune.values.spec import ExportSpec, PruneSpec


@dataclass(frozen=True, slots=True)
class PruneSummary:
    """What `prune_project` did.

    Attributes:
        folder: Where recipe.json, weights.safetensors and report.json lie.
        spec: How it was pruned.
        groups: One row per channel group, tensor, layer or connection.
        proof: That the cut network equals the masked dense one.
        params_before: Parameters of the dense network.
        params_after: Parameters left.
        macs_before: Multiply-accumulates of the dense network at batch 1.
        macs_after: Multiply-accumulates left.
        finetuned: Whether accuracy was won back.
        size: Bytes of the weights, where zeros make a difference; None where only the shapes count.
        notes: What the user has to know besides.
    """

    folder: Path
    spec: PruneSpec
    groups: tuple[pruning.GroupReport, ...]
    proof: pruning.ProofReport
    params_before: int
    params_after: int
    macs_before: int
    macs_after: int
    finetuned: bool
    size: pruning.SizeReport | None
    notes: tuple[str, ...]


def prune_project(
    config: Config, spec: PruneSpec, folder: Path, *, finetune: bool = True, listener: Listener = ignore
) -> PruneSummary:
    """Prune a project's network and write recipe, weights and report.

    Args:
        config: The project's.
        spec: How.
        folder: Where to write; it must not exist yet, or hold an earlier result.
        finetune: Whether to win back accuracy by the project's training data.
        listener: Told of every step.

    Returns:
        What was done.

    Raises:
        UsageError: `folder` holds something else.
    """
    if folder.exists() and not (folder / "recipe.json").exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no earlier prune.", "Give a new folder with -o.")
    project = Project(config)
    inputs = project.example_inputs
    result = pruned(project, spec, finetune=finetune, listener=listener)
    save_pruned(folder, spec, result)
    single = tuple(x[:1] for x in inputs)
    return PruneSummary(
        folder, spec, tuple(result.report), result.proof,
        pruning.count_params(project.model), pruning.count_params(result.model),
        pruning.count_macs(project.model, single), pruning.count_macs(result.model, single), finetune,
        result.size, result.notes,
    )  # fmt: skip


def export_project(
    config: Config,
    spec: ExportSpec,
    path: Path,
    *,
    source: Path | None = None,
    sharing: SharingSpec | None = None,
    listener: Listener = ignore,
) -> Artifact:
    """Export a project's network, dense or pruned; what was exported before is found again.

    Args:
        config: The project's.
        spec: How.
        path: The file to write.
        source: A folder of `prune_project`; None for the dense network.
        sharing: Let weights share few values, and pack the file; None for the file alone.
        listener: Told of every step.

    Returns:
        The artifact, with its parity report.

    Raises:
        UsageError: `source` is no such folder.
        ExportError: It cannot be exported, or misses its floor.
    """
    if source is not None and not (source / "recipe.json").exists():
        raise UsageError(f"{source} holds no recipe.json.", "Give the folder that `edgeprune prune -o` wrote.")
    project, spec = Project(config), configured(spec, config)
    if sharing is not None:
        return _export_shared(project, spec, path, source, sharing, listener)
    workspace = Workspace(config.folder / ".edgeprune")
    identity = content_id(project.fingerprint, None if source is None else folder_digest(source))
    artifact = kept_artifact(workspace, identity, spec)
    if artifact is None:
        made = kept_model(project, identity, source) if source else counted(project, identity, project.model)
        made_now = make_artifacts(project, workspace, made, [spec], listener)[spec]
        if isinstance(made_now, ExportError):
            raise made_now
        artifact = made_now
    return exporting.copied(artifact, path)


def _export_shared(
    project: Project, spec: ExportSpec, path: Path, source: Path | None, sharing: SharingSpec, listener: Listener
) -> Artifact:
    model = load_pruned(project, source) if source else project.model
    calibration = project.train if project.config.data.train else None
    model, report = shared(project, model, sharing, spec, listener)
    artifact = exporting.export(
        model, spec, example_inputs=project.example_inputs, calibration=calibration, path=path, listener=listener
    )
    return with_packed_file(artifact, report)
