import board_models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_bench import EVENTS, PLAN, FakeSession
from test_verdict import steady

from edgeprune.errors import UsageError
from edgeprune.exporting.module_names import modules_of
from edgeprune.measuring import layer_times
from edgeprune.measuring.verdict import judge
from edgeprune.values.layer import LayerTime
from edgeprune.values.measurement import Footprint
from edgeprune.values.plan import BenchPlan


def two_layers(path, prefix="model."):
    """A convolution with an activation, then a product whose weight is stored as int8: as our exporter names them."""
    nodes = [
        helper.make_node("Conv", ["x", prefix + "stem.0.weight"], ["conv"], name="node_conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], name="node_relu"),
        helper.make_node("Flatten", ["relu"], ["flat"], name="node_flat"),
        helper.make_node("DequantizeLinear", [prefix + "head.weight_quantized", "scale"], ["w"], name="node_dq"),
        helper.make_node("MatMul", ["flat", "w"], ["y"], name="node_mm"),
    ]
    constants = [
        numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), prefix + "stem.0.weight"),
        numpy_helper.from_array(np.ones((32, 3), np.int8), prefix + "head.weight_quantized"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
    ]
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, [1, 1, 4, 4])], [value("y", TensorProto.FLOAT, [1, 3])]
    graph = helper.make_graph(nodes, "test", *ends, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("prefix", ["model.", ""])
def test_a_node_belongs_to_the_module_of_its_weights_or_of_what_it_goes_on_with(tmp_path, prefix):
    modules = modules_of(two_layers(tmp_path / "m.onnx", prefix))
    assert [modules[name] for name in ("node_conv", "node_relu", "node_flat")] == ["stem.0"] * 3
    assert [modules[name] for name in ("node_dq", "node_mm", "y")] == ["head"] * 3


def test_a_file_that_names_no_modules_has_none(tmp_path):
    assert modules_of(board_models.linear(tmp_path / "m.onnx")) == {}


def test_the_true_agent_times_every_node_and_names_its_module(session, tmp_path):
    layers = layer_times(session, board_models.artifact(two_layers(tmp_path / "m.onnx")), PLAN)
    by_module = {layer.module for layer in layers}
    assert {"stem.0", "head"} <= by_module
    assert {layer.provider for layer in layers} == {"CPU"}
    assert all(layer.time_s >= 0 for layer in layers)


def test_litert_cannot_be_profiled(session):
    with pytest.raises(UsageError, match="cannot profile"):
        layer_times(session, board_models.artifact(board_models.TFLITE), PLAN)


CUDA = BenchPlan(min_runs=12, repeats=2, provider="CUDA")


def on_cuda(repeat, cpu_s=0.0, providers=("CUDA", "CPU")):
    layers = LayerTime("a", "Conv", "CUDA", 1.0 - cpu_s), LayerTime("b", "Resize", "CPU", cpu_s)
    first = repeat(steady(0), 0, providers=providers, footprint=Footprint(1, 1, None, None, layers))
    return [first, repeat(steady(1), 1, providers=providers)]


def test_nodes_that_ran_on_the_cpu_instead_are_a_fallback(repeat):
    verdict = judge(CUDA, on_cuda(repeat, cpu_s=0.37))
    assert verdict.name == "fallback_cpu"
    assert "1 of 2 nodes ran on the CPU instead of CUDA, 37 % of the time" in verdict.reason
    assert judge(CUDA, on_cuda(repeat, cpu_s=0.005)).name == "ok"


def test_a_session_without_the_provider_is_a_fallback(repeat):
    verdict = judge(CUDA, on_cuda(repeat, providers=("CPU",)))
    assert verdict.name == "fallback_cpu"
    assert "CUDA was asked for, but the session runs on CPU" in verdict.reason


def test_what_was_not_asked_for_is_no_fallback(repeat):
    assert judge(BenchPlan(min_runs=12, repeats=2), on_cuda(repeat, cpu_s=0.9, providers=("CPU",))).name == "ok"


def test_the_plan_says_by_what_a_model_shall_run(tmp_path):
    from edgeprune.measuring import measure_repeat

    session = FakeSession(EVENTS)
    plan = BenchPlan(provider="XNNPACK", strict=True)
    measure_repeat(session, board_models.artifact(board_models.linear(tmp_path / "m.onnx")), plan, 1)
    assert (session.specs[0]["provider"], session.specs[0]["strict"]) == ("XNNPACK", True)
