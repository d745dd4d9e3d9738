"""Exports of a project: found again, made again where a file was changed, and each by itself where one fails."""

from dataclasses import replace

import pytest

from edgeprune import config, exporting, flow
from edgeprune.errors import ArtifactError, ExportError, UsageError
from edgeprune.exporting.to_onnx import OnnxConverter
from edgeprune.flow import Goal, candidates
from edgeprune.flow.project import Project
from edgeprune.flow.variants import Failure, prepare
from edgeprune.flow.workspace import Workspace
from edgeprune.values.spec import ExportSpec
from edgeprune.values.variant import Variant


def settings(folder, **export):
    loaded = config.load(folder / "edgeprune.toml")
    return replace(loaded, export=replace(loaded.export, **export))


def test_second_export_is_found_and_a_changed_one_is_made_again(project, monkeypatch):
    loaded, conversions, convert = settings(project), [], OnnxConverter.convert

    def counted(self, *arguments):
        conversions.append(1)
        return convert(self, *arguments)

    monkeypatch.setattr(OnnxConverter, "convert", counted)
    first = flow.export_project(loaded, ExportSpec(), project / "a.onnx")
    again = flow.export_project(loaded, ExportSpec(), project / "b.onnx")
    assert len(conversions) == 1
    assert (again.sha256, again.parity) == (first.sha256, first.parity)
    assert (project / "a.onnx").read_bytes() == (project / "b.onnx").read_bytes()
    (kept,) = (project / ".edgeprune" / "artifacts").glob("*/model.onnx")
    kept.write_bytes(kept.read_bytes() + b"\0")
    assert flow.export_project(loaded, ExportSpec(), project / "c.onnx").sha256 == first.sha256
    assert len(conversions) == 2


def test_file_that_was_changed_after_its_export_is_refused(project):
    artifact = flow.export_project(settings(project), ExportSpec(), project / "a.onnx")
    artifact.path.write_bytes(artifact.path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactError, match=r"a\.onnx has changed: its SHA-256 is"):
        exporting.copied(artifact, project / "b.onnx")
    with pytest.raises(UsageError, match=r"does not end in \.onnx"):
        exporting.copied(artifact, project / "b.tflite")


def test_variant_below_its_floor_does_not_take_the_others_with_it(project):
    loaded = settings(project, max_error_ratio=1e-9)
    loaded = replace(loaded, search=replace(loaded.search, formats=("onnx",), precisions=("fp32", "int8")))
    wanted = [candidate for candidate in candidates(loaded, Goal.of(loaded)) if candidate.prune is None]
    made = dict(prepare(Project(loaded), Workspace(project / ".edgeprune"), wanted, lambda event: None))
    outcomes = {candidate.export.precision: result for candidate, result in made.items()}
    assert isinstance(outcomes["fp32"], Variant)
    assert isinstance(outcomes["int8"], Failure)
    assert "misses its floor" in outcomes["int8"].error.message
    with pytest.raises(ExportError, match="misses its floor"):
        flow.export_project(loaded, ExportSpec(precision="int8"), project / "m.onnx")
    assert not (project / "m.onnx").exists()


def test_file_is_calibrated_by_the_projects_data(project):
    loaded = settings(project)
    source = flow.export_project(loaded, ExportSpec(), project / "a.onnx").path
    artifact = flow.export_file(source, ExportSpec(precision="int8"), project / "b.onnx", config=loaded)
    assert artifact.parity.n_inputs == 256
    assert artifact.parity.top1_agreement_ratio > 0.95
    with pytest.raises(UsageError, match="overwrite its own source"):
        flow.export_file(source, ExportSpec(precision="fp16"), source)
