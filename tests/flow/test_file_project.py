"""Projects that are a model file alone."""

import sys
from pathlib import Path

import pytest

from edgeprune import config, flow
from edgeprune.errors import ConfigError, ModelError
from edgeprune.flow import Goal, candidates
from edgeprune.flow.project import Project

sys.path.append(str(Path(__file__).parents[1] / "measuring"))
import board_models

FILE = '[model]\nfile = "model.onnx"\n'
DATA = '[data]\ntrain = "data:train"\ntest = "data:test"\n'


def loaded(folder, text=FILE):
    (folder / "edgeprune.toml").write_text(text)
    return config.load(folder / "edgeprune.toml")


def tried(settings):
    return [candidate.export for candidate in candidates(settings, Goal.of(settings))]


def test_file_alone_is_tried_without_pruning_and_without_calibration(tmp_path):
    settings = loaded(tmp_path)
    assert [spec.precision for spec in tried(settings)] == ["fp32", "fp16", "int8-dynamic"]
    assert {spec.format for spec in tried(settings)} == {"onnx"}
    assert [spec.min_agreement_ratio for spec in tried(settings)] == [None, 0.99, 0.99]
    assert {candidate.prune for candidate in candidates(settings, Goal.of(settings))} == {None}


def test_file_with_data_is_tried_in_the_precisions_asked_for(tmp_path):
    settings = loaded(tmp_path, FILE + DATA + '[search]\nprecisions = ["int8", "int8-mixed"]\n')
    assert [spec.precision for spec in tried(settings)] == ["fp32", "int8", "int8-mixed"]
    assert tried(settings)[1].min_agreement_ratio is None


def test_section_export_reaches_the_specs(tmp_path):
    settings = loaded(
        tmp_path, FILE + DATA + '[export]\ncalibration = "entropy"\nmin_agreement = "98%"\nmax_error = "5%"\n'
    )
    plain, int8 = tried(settings)
    assert (plain.calibration, plain.min_agreement_ratio, plain.max_error_ratio) == ("minmax", None, None)
    assert (int8.calibration, int8.min_agreement_ratio, int8.max_error_ratio) == ("entropy", 0.98, 0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[model]\nfile = "m.onnx"\nfactory = "m:f"\n', "A model file stands beside 'factory'"),
        ("[model]\n", "has no 'factory'"),
        ('[model]\nfactory = "m:f"\n', "has no 'inputs'"),
        (FILE + '[export]\nmin_agreement = "101%"\n', "more than 1"),
        (FILE + '[export]\ncalibration = "kl"\n', "Unknown calibration 'kl'"),
    ],
)
def test_what_a_project_cannot_be_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        loaded(tmp_path, text)
    assert caught.value.line >= 1


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"There is no .*model\.onnx"):
        _ = Project(loaded(tmp_path)).fingerprint


def test_file_in_place_of_a_projects_network_keeps_its_devices(tmp_path):
    given = loaded(tmp_path, FILE + '[devices.bench]\naddress = "local://"\n')
    settings = config.for_file(tmp_path / "other.onnx", given)
    assert settings.model.file == str(tmp_path / "other.onnx")
    assert list(settings.devices) == ["bench"]
    assert settings.model_name == "other"


@pytest.mark.slow
def test_file_is_measured_chosen_and_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_AGENT_ROOT", str(tmp_path / "board"))
    board_models.linear(tmp_path / "model.onnx", batch=1, size=64)
    settings = loaded(tmp_path, FILE + '[search]\nplan = "quick"\n')
    result = flow.run(settings, "local", Goal.of(settings), install=True)
    assert len(result.measurements) >= 2
    assert all(m.variant.accuracy is None and m.variant.params is None for m in result.measurements)
    assert Path(result.release.path).is_dir()
