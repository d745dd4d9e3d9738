"""Candidate -> Variant: prune, fine-tune, export; each step made once and kept in the workspace."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from torch import nn

from edgeprune import exporting, pruning
from edgeprune.errors import ArtifactError, EdgePruneError, ExportError, PruneError
from edgeprune.flow.project import Project, load_weights
from edgeprune.flow.workspace import Workspace, disk_errors, whole_folder, write_json
from edgeprune.searching import Candidate
from edgeprune.values.artifact import Artifact
from edgeprune.values.event import Event, Listener
from edgeprune.values.json import content_id, from_data, to_data
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import ExportSpec, FinetuneSpec, PruneSpec
from edgeprune.values.variant import Variant


@dataclass(frozen=True, slots=True)
class PrunedModel:
    """A network ready to be exported.

    Attributes:
        identity: Content hash of what it was made from.
        model: In eval mode; None for a model file.
        params: Parameters; None for a model file, whose network is not known.
        macs: Multiply-accumulates at batch 1; None likewise.
        proof_max_relative: Of the proof of its prune; None where nothing was pruned.
    """

    identity: str
    model: nn.Module | None
    params: int | None
    macs: int | None
    proof_max_relative: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A candidate that came to nothing.

    Attributes:
        label: What it was.
        error: Why.
    """

    label: str
    error: EdgePruneError


def prepare(
    project: Project, workspace: Workspace, candidates: Sequence[Candidate], listener: Listener
) -> Iterator[tuple[Candidate, Variant | Failure]]:
    """Make the variants of some candidates, one model at a time.

    Args:
        project: The user's.
        workspace: Where results are kept and found again.
        candidates: Neighbours with the same prune share one model.
        listener: Told of every step.

    Yields:
        Each candidate with its variant (accuracy not yet known), or with the failure of its prune or export.

    Raises:
        ExportError: The first candidate, the dense network as it is, cannot be exported: without a baseline there is
            nothing to compare.
    """
    done = 0
    for prune, same in groupby(candidates, key=lambda candidate: candidate.prune):
        members = list(same)
        listener(Event("prune", _label(prune), done, len(candidates), "variants"))
        try:
            made = make_model(project, workspace, prune, listener)
            artifacts = make_artifacts(project, workspace, made, [c.export for c in members], listener)
        except PruneError as error:
            yield from ((member, _failure(member, error)) for member in members)
        else:
            for member in members:
                artifact = artifacts[member.export]
                if isinstance(artifact, Artifact):
                    yield member, Variant(prune, member.export, artifact, made.params, made.macs)
                elif member is candidates[0]:
                    raise artifact
                else:
                    yield member, _failure(member, artifact)
        done += len(members)
    listener(Event("prune", "", done, len(candidates), "variants"))


def make_model(project: Project, workspace: Workspace, prune: PruneSpec | None, listener: Listener) -> PrunedModel:
    """Prune and fine-tune, or find what an earlier call made.

    Args:
        project: The user's.
        workspace: Where it is kept.
        prune: How; None for the dense network.
        listener: Told of every step.

    Returns:
        The model.
    """
    identity = content_id(project.fingerprint, prune)
    if project.file is not None:
        return PrunedModel(identity, None, None, None)
    if prune is None:
        return counted(project, identity, project.model)
    folder = workspace.model(identity)
    if (folder / "recipe.json").exists():
        return kept_model(project, identity, folder)
    result = pruned(project, prune, finetune=True, listener=listener)
    save_pruned(folder, prune, result)
    return counted(project, identity, result.model, result.proof.max_relative)


def pruned(project: Project, prune: PruneSpec, *, finetune: bool, listener: Listener) -> pruning.PruneResult:
    """Prune a project's network, and win back accuracy between the steps and after the last one.

    Args:
        project: The user's.
        prune: How.
        finetune: Whether to win back accuracy; if so, network slimming's training comes before the first cut where
            batch norm's scales decide and [finetune] gives them a sparsity_weight.
        listener: Told of every step.

    Returns:
        What came out.
    """
    calibration = project.train if project.config.data.train else None
    model = _slimmed(project, listener) if finetune and prune.criterion == "bn_scale" else project.model

    def between(model: nn.Module, recipe: PruneRecipe) -> None:
        recover(project, model, recipe, replace(project.finetune_spec, quantization_aware_epochs=0), listener)

    result = pruning.prune(
        model, prune, example_inputs=project.example_inputs, calibration=calibration,
        recover=between if finetune else None, listener=listener,
    )  # fmt: skip
    if finetune:  # nothing is cut after this, so nothing needs to be drawn towards zero
        recover(project, result.model, result.recipe, replace(project.finetune_spec, sparsity_weight=0.0), listener)
    return result


def _slimmed(project: Project, listener: Listener) -> nn.Module:
    spec = replace(project.finetune_spec, quantization_aware_epochs=0)
    if not spec.sparsity_weight or project.trainer is not None:
        return project.model
    model = deepcopy(project.model)
    pruning.finetune(model, project.model, project.train, spec, listener=listener)
    return model.eval()


def recover(project: Project, model: nn.Module, recipe: PruneRecipe, spec: FinetuneSpec, listener: Listener) -> None:
    """Win back accuracy by the user's trainer, or by the built-in loop; what the recipe zeroed stays zero."""
    if project.trainer is not None:
        with pruning.zeros_kept(model, recipe):
            project.trainer(model, project.model, project.train)
    else:
        pruning.finetune(model, project.model, project.train, spec, listener=listener, recipe=recipe)
    model.eval()


def save_pruned(folder: Path, prune: PruneSpec, result: pruning.PruneResult) -> None:
    """Write recipe, weights and report into a folder that appears all at once.

    Args:
        folder: Its final name.
        prune: How it was pruned.
        result: What came out, fine-tuned or not.
    """
    from safetensors.torch import save_model

    with whole_folder(folder) as temporary, disk_errors(folder):
        save_model(result.model, str(temporary / "weights.safetensors"))
        report = {
            "spec": prune, "groups": result.report, "proof": result.proof, "size": result.size, "notes": result.notes,
        }  # fmt: skip
        write_json(temporary / "report.json", to_data(report))
        (temporary / "recipe.json").write_text(result.recipe.to_json() + "\n", "utf-8")


def load_pruned(project: Project, folder: Path) -> nn.Module:
    """Rebuild a pruned model from its folder.

    Args:
        project: Builds the dense network.
        folder: With recipe.json and weights.safetensors.

    Returns:
        The model, in eval mode.
    """
    recipe = PruneRecipe.from_json((folder / "recipe.json").read_text("utf-8"))
    model = pruning.replay(project.model, recipe)
    load_weights(model, folder / "weights.safetensors")
    return model.eval()


def kept_model(project: Project, identity: str, folder: Path) -> PrunedModel:
    """Return the model of a folder that `save_pruned` wrote.

    Args:
        project: Builds the dense network.
        identity: Content hash of what it was made from.
        folder: Where it lies.
    """
    return counted(project, identity, load_pruned(project, folder), _proved(folder))


def _proved(folder: Path) -> float | None:
    try:
        report = json.loads((folder / "report.json").read_text("utf-8"))
        return float(report["proof"]["max_relative"])
    except (OSError, ValueError, LookupError, TypeError):
        return None  # the network is none the worse for a report that somebody took away


def make_artifacts(
    project: Project, workspace: Workspace, made: PrunedModel, specs: Iterable[ExportSpec], listener: Listener
) -> dict[ExportSpec, Artifact | ExportError]:
    """Export a model, or find what an earlier call exported.

    Args:
        project: Gives inputs and calibration data.
        workspace: Where artifacts are kept.
        made: The model.
        specs: How; repeated ones are made once.
        listener: Told of every step.

    Returns:
        One artifact per spec, or why there is none.
    """
    found = {spec: kept_artifact(workspace, made.identity, spec) for spec in specs}
    missing = [spec for spec, artifact in found.items() if artifact is None]
    exported = _export(project, workspace, made, missing, listener) if missing else {}
    return exported | {spec: artifact for spec, artifact in found.items() if artifact is not None}


def kept_artifact(workspace: Workspace, identity: str, spec: ExportSpec) -> Artifact | None:
    """Find what an earlier call exported.

    Args:
        workspace: Where artifacts are kept.
        identity: Of the model.
        spec: How it was exported.

    Returns:
        The artifact; None where there is none, or where its file is no longer what was exported.
    """
    folder = workspace.artifact(content_id(identity, spec))
    if not (folder / "artifact.json").exists():
        return None
    artifact = _read_artifact(folder)
    try:
        exporting.verify_artifact(artifact)
    except ArtifactError:
        return None  # it can be made again, and must be
    return artifact


def _export(
    project: Project, workspace: Workspace, made: PrunedModel, specs: Sequence[ExportSpec], listener: Listener
) -> dict[ExportSpec, Artifact | ExportError]:
    exporter = _exporter(project, made, listener)
    return {spec: _exported(exporter, workspace, made, spec) for spec in specs}


def _exporter(project: Project, made: PrunedModel, listener: Listener) -> exporting.Pipeline:
    if made.model is None:
        return exporting.FileExporter(str(project.file), calibration=project.calibration, listener=listener)
    return exporting.Exporter(
        made.model, example_inputs=project.example_inputs, calibration=project.calibration, listener=listener
    )


def _exported(
    exporter: exporting.Pipeline, workspace: Workspace, made: PrunedModel, spec: ExportSpec
) -> Artifact | ExportError:
    folder = workspace.artifact(content_id(made.identity, spec))
    with disk_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as temporary:
        try:
            artifact = exporter.export(spec, Path(temporary) / f"{spec.precision}.{spec.format}")
        except ExportError as error:  # the other artifacts of this model are none the worse for it
            return error
        parity = artifact.parity and replace(artifact.parity, pruning_max_relative=made.proof_max_relative)
        _keep_artifact(folder, replace(artifact, parity=parity))
    return _read_artifact(folder)


def _keep_artifact(folder: Path, artifact: Artifact) -> None:
    with whole_folder(folder) as temporary, disk_errors(folder):
        artifact.path.replace(temporary / f"model.{artifact.format}")
        write_json(temporary / "artifact.json", to_data(artifact))


def _read_artifact(folder: Path) -> Artifact:
    data = json.loads((folder / "artifact.json").read_text("utf-8"))
    return from_data(Artifact, {**data, "path": str(folder / f"model.{data['format']}")})


def _failure(candidate: Candidate, error: EdgePruneError) -> Failure:
    export = candidate.export
    return Failure(f"{_label(candidate.prune)} {export.format} {export.precision}", error)


def counted(project: Project, identity: str, model: nn.Module, proof: float | None = None) -> PrunedModel:
    """Return a model with its identity, its size and what its prune was proved to."""
    single = tuple(x[:1] for x in project.example_inputs)
    return PrunedModel(identity, model, pruning.count_params(model), pruning.count_macs(model, single), proof)


def _label(prune: PruneSpec | None) -> str:
    return prune.label if prune else "dense"
