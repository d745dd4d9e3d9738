"""Candidate -> Variant: prune, fine-tune, export; each step made once and kept in the workspace."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from edgeprune.values.spec import ExportSpec, PruneSpec
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
    result = pruning.prune(
        project.model, prune, example_inputs=project.example_inputs, calibration=project.train, listener=listener
    )
    recover(project, result.model, listener)
    save_pruned(folder, prune, result)
    return _counted(project, identity, result.model)


def recover(project: Project, model: nn.Module, listener: Listener) -> None:
    """Win back accuracy by the user's trainer, or by the built-in loop."""
    if project.trainer is not None:
        project.trainer(model, project.model, project.train)
    else:
        pruning.finetune(model, project.model, project.train, project.finetune_spec, listener=listener)
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
        report = {"spec": prune, "groups": result.report, "proof": result.proof}
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
    return f"{prune.method}-{prune.criterion} {100 * (prune.ratio or 0):.0f} %" if prune else "dense"
