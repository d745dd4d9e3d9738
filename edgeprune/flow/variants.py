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
from edgeprune.errors import EdgePruneError, ExportError, PruneError
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
        model: In eval mode.
        params: Parameters.
        macs: Multiply-accumulates at batch 1.
    """

    identity: str
    model: nn.Module
    params: int
    macs: int


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
        PruneError: Never for a candidate that is pruned;
        ExportError: only for the dense network: without a baseline there is nothing to compare.
    """
    done = 0
    for prune, same in groupby(candidates, key=lambda candidate: candidate.prune):
        members = list(same)
        listener(Event("prune", _label(prune), done, len(candidates), "variants"))
        try:
            made = make_model(project, workspace, prune, listener)
            artifacts = make_artifacts(project, workspace, made, [c.export for c in members], listener)
        except (PruneError, ExportError) as error:
            if prune is None:
                raise
            failures = ((c, Failure(f"{_label(prune)} {c.export.format} {c.export.precision}", error)) for c in members)
            yield from failures
        else:
            for member in members:
                yield member, Variant(prune, member.export, artifacts[member.export], made.params, made.macs)
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
    if prune is None:
        return _counted(project, identity, project.model)
    folder = workspace.model(identity)
    if (folder / "recipe.json").exists():
        return _counted(project, identity, load_pruned(project, folder))
    result = pruned(project, prune, finetune=True, listener=listener)
    save_pruned(folder, prune, result)
    return _counted(project, identity, result.model)


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
        recover(project, model, recipe, project.finetune_spec, listener)

    result = pruning.prune(
        model, prune, example_inputs=project.example_inputs, calibration=calibration,
        recover=between if finetune else None, listener=listener,
    )  # fmt: skip
    if finetune:  # nothing is cut after this, so nothing needs to be drawn towards zero
        recover(project, result.model, result.recipe, replace(project.finetune_spec, sparsity_weight=0.0), listener)
    return result


def _slimmed(project: Project, listener: Listener) -> nn.Module:
    spec = project.finetune_spec
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


def make_artifacts(
    project: Project, workspace: Workspace, made: PrunedModel, specs: Iterable[ExportSpec], listener: Listener
) -> dict[ExportSpec, Artifact]:
    """Export a model, or find what an earlier call exported.

    Args:
        project: Gives inputs and calibration data.
        workspace: Where artifacts are kept.
        made: The model.
        specs: How; repeated ones are made once.
        listener: Told of every step.

    Returns:
        One artifact per spec.
    """
    wanted = list(dict.fromkeys(specs))
    folders = {spec: workspace.artifact(content_id(made.identity, spec)) for spec in wanted}
    missing = [spec for spec in wanted if not (folders[spec] / "artifact.json").exists()]
    if missing:
        _export(project, made, {spec: folders[spec] for spec in missing}, listener)
    return {spec: _read_artifact(folders[spec]) for spec in wanted}


def _export(project: Project, made: PrunedModel, folders: dict[ExportSpec, Path], listener: Listener) -> None:
    parent = next(iter(folders.values())).parent
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=parent) as temporary:
        artifacts = exporting.export_all(
            made.model, list(folders), example_inputs=project.example_inputs, calibration=project.train,
            folder=Path(temporary), listener=listener,
        )  # fmt: skip
        for spec, artifact in zip(folders, artifacts, strict=True):
            _keep_artifact(folders[spec], artifact)


def _keep_artifact(folder: Path, artifact: Artifact) -> None:
    with whole_folder(folder) as temporary, disk_errors(folder):
        artifact.path.replace(temporary / f"model.{artifact.format}")
        write_json(temporary / "artifact.json", to_data(artifact))


def _read_artifact(folder: Path) -> Artifact:
    data = json.loads((folder / "artifact.json").read_text("utf-8"))
    return from_data(Artifact, {**data, "path": str(folder / f"model.{data['format']}")})


def _counted(project: Project, identity: str, model: nn.Module) -> PrunedModel:
    single = tuple(x[:1] for x in project.example_inputs)
    return PrunedModel(identity, model, pruning.count_params(model), pruning.count_macs(model, single))


def _label(prune: PruneSpec | None) -> str:
    return prune.label if prune else "dense"
