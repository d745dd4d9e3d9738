"""What each release of onnxruntime loads, and what is written for it."""

import dataclasses
import itertools

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from edgeprune.devices.profiles import board_types
from edgeprune.errors import ArtifactError, ExportError, UnknownName, UsageError
from edgeprune.exporting import Exporter
from edgeprune.exporting.onnx_opset import lowered
from edgeprune.exporting.runtimes import DEFAULT_OPSET, RELEASES, ir_version_for, release_of, suited, unmet
from edgeprune.flow.targets import runtime_of_target, spec_for_target
from edgeprune.values.spec import ExportSpec

PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")


class Small(nn.Module):
    """The operators of a small CNN: convolution, norm, hard swish, sums, pooling, softmax."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.SiLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.first(x)
        return self.head((x + self.second(x)).mean((2, 3))).softmax(1)


@pytest.fixture(scope="module")
def exporter():
    torch.manual_seed(0)
    rows = [(torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1)), None)]
    return Exporter(Small(), example_inputs=(torch.zeros(1, 1, 8, 8),), calibration=rows)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("package", ["onnxruntime==1.10.0", "onnxruntime==1.19.2"])
def test_file_for_a_release_needs_no_more_than_it_has(exporter, tmp_path, package, precision):
    release = release_of(package)
    artifact = exporter.export(suited(ExportSpec(precision=precision), package), tmp_path / "m.onnx")
    model = onnx.load(artifact.path)
    assert artifact.opset <= release.opset
    assert model.ir_version <= release.ir_version
    assert unmet(artifact.opset, model.ir_version, package) == ""
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    for node in model.graph.node:
        schema = onnx.defs.get_schema(node.op_type, artifact.opset, node.domain)
        assert schema.since_version <= release.opset
        assert {attribute.name for attribute in node.attribute} <= set(schema.attributes)


def test_releases_are_known_by_the_newest_that_is_not_newer():
    assert release_of("onnxruntime==1.10.0").opset == 15
    assert release_of("1.14.1") == release_of("onnxruntime==1.10.0")
    assert release_of("onnxruntime-gpu==1.19.2").opset == 21
    assert release_of("2.0").opset == RELEASES[-1].opset
    for name in ("onnxruntime==1.5.0", "tensorrt==8.6", "onnxruntime", ""):
        with pytest.raises(UsageError, match="no release of onnxruntime"):
            release_of(name)


def test_releases_rise_in_everything():
    for old, new in itertools.pairwise(RELEASES):
        assert old.version < new.version
        assert (old.opset, old.ir_version) <= (new.opset, new.ir_version)


def test_every_runtime_that_a_profile_names_is_known():
    facts = [fact.value for board in board_types().values() for fact in board.facts.values()]
    packages = {value for value in facts if str(value).startswith("onnxruntime==")}
    assert len(packages) >= 4
    assert all(release_of(package).opset >= 15 for package in packages)


def test_spec_changes_only_where_it_must():
    assert suited(ExportSpec(), "onnxruntime==1.32.0") == ExportSpec()
    assert suited(ExportSpec(), "onnxruntime==1.19.2") == ExportSpec()
    assert suited(ExportSpec(opset=13), "onnxruntime==1.10.0").opset == 13
    assert suited(ExportSpec(), "onnxruntime==1.10.0").opset == 15
    assert suited(ExportSpec("tflite"), "onnxruntime==1.10.0") == ExportSpec("tflite")
    assert DEFAULT_OPSET > 15


def test_operator_set_that_the_target_cannot_have_is_refused():
    with pytest.raises(UsageError, match=r"onnxruntime==1\.10\.0 has no operator set 17") as caught:
        suited(ExportSpec(opset=17), "onnxruntime==1.10.0")
    assert "15" in caught.value.next_step


def test_target_is_a_release_or_a_board_type():
    assert runtime_of_target("onnxruntime==1.19.2") == "onnxruntime==1.19.2"
    assert runtime_of_target("jetson-nano") == "onnxruntime==1.10.0"
    assert runtime_of_target("jetson-orin-nano") == "onnxruntime==1.19.2"
    assert runtime_of_target("raspberry-pi-5") == "onnxruntime==1.32.0"
    assert spec_for_target(ExportSpec(), "jetson-nano").opset == 15
    with pytest.raises(UnknownName, match="jetson-nano"):
        runtime_of_target("jetson-nono")
    with pytest.raises(UsageError, match="does not say which onnxruntime"):
        runtime_of_target("android-termux")


def test_what_a_file_lacks_is_said():
    assert unmet(15, 7, "onnxruntime==1.10.0") == ""
    assert "needs operator set 20" in unmet(20, 9, "onnxruntime==1.10.0")
    assert "IR version 10" in unmet(15, 10, "onnxruntime==1.10.0")
    assert ir_version_for(15) == 7
    assert ir_version_for(99) == RELEASES[-1].ir_version


def test_operator_younger_than_the_operator_set_is_named_with_its_birth():
    node = helper.make_node("Mish", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(ExportError, match=r"operator set 15: its operator Mish first came in 18") as caught:
        lowered(model, 15)
    assert "opset from 18" in caught.value.next_step


def test_constant_activations_are_quantized(tmp_path):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(x * 0 + 3)

    rows = [(torch.randn(8, 4), None)]
    exporter = Exporter(Constant(), example_inputs=(torch.ones(1, 4),), calibration=rows)
    for spec in (ExportSpec(precision="int8"), ExportSpec(precision="int8", calibration="percentile")):
        report = exporter.export(spec, tmp_path / "m.onnx").parity
        assert np.isfinite(report.quantization_max_abs)
        assert report.quantization_max_abs < 0.1


def test_board_that_is_too_old_for_a_file_is_told_before_it_is_sent(exporter, tmp_path):
    from edgeprune.devices import connect, resolve
    from edgeprune.flow.targets import refuse_unmet, suited_to_board

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPRUNE_AGENT_ROOT", str(tmp_path / "board"))
        with connect(resolve("local", None), exclusive=False) as session:
            info = session.info
    artifact = exporter.export(ExportSpec(), tmp_path / "m.onnx")
    refuse_unmet(artifact, info)
    assert suited_to_board(ExportSpec(), info) == ExportSpec()
    old = dataclasses.replace(
        info, runtimes=tuple(dataclasses.replace(r, version="1.10.0") for r in info.runtimes if r.name == "onnxruntime")
    )
    assert suited_to_board(ExportSpec(), old).opset == 15
    with pytest.raises(ArtifactError, match=r"operator set 20, onnxruntime==1\.10\.0 has 15") as caught:
        refuse_unmet(artifact, old)
    assert "--target onnxruntime==1.10.0" in caught.value.next_step
